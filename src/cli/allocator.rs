//! Makes glibc give large buffers back.
//!
//! At first, what is larger than 128 KiB is a mapping of its own, which goes back to the system when it is freed. But with
//! each one that is freed, glibc raises that limit to its size, up to 32 MiB; from then on pictures come from heaps that
//! keep them, one heap per thread. Thirty pictures at once leave 160 MiB and more behind that way, and take 60 MiB more on
//! their way. A limit that is set stays as it is; but it is set in the environment, which glibc reads before `main`, or by
//! a call that is unsafe. So the program starts itself once more, as the same process.
//!
//! Eight heaps for each core are the default, and the threads that read, pack and write take turns on all of them: what one
//! has freed is then no use to the next. One for each core is enough for those that run at the same time.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn settle() {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::thread::available_parallelism;

    /// glibc's names for it and for the number of heaps; the last one holds many settings, these perhaps.
    const THRESHOLD: &str = "MALLOC_MMAP_THRESHOLD_";
    const HEAPS: &str = "MALLOC_ARENA_MAX";
    const TUNABLES: &str = "GLIBC_TUNABLES";
    /// Smaller buffers come from heaps: mapping each would cost more than keeping them.
    const BYTES: &str = "1048576";

    // Whoever set it knows why; perhaps it was us.
    #[expect(clippy::disallowed_methods, reason = "glibc's settings, not ours")]
    let is_set = |name| env::var_os(name).is_some();
    let Ok(program) = env::current_exe() else { return };
    if is_set(THRESHOLD) || is_set(TUNABLES) {
        return;
    }
    let mut arguments = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    if !is_set(HEAPS)
        && let Ok(cores) = available_parallelism()
    {
        command.env(HEAPS, cores.to_string());
    }
    // Comes back only when that is not possible; then all works as well, but for more memory.
    drop(command.args(arguments).env(THRESHOLD, BYTES).exec());
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn settle() {}
