//! A pseudo-terminal running a program, for tests of interactive use.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use nix::pty::{Winsize, openpty};

/// Time limit of waiting for output.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program on a terminal.
pub struct Terminal {
    keyboard: File,
    process: Child,
    shown: Arc<Shown>,
    /// How much of what was shown has been looked at.
    seen: usize,
}

#[derive(Default)]
struct Shown {
    state: Mutex<(String, bool)>,
    changed: Condvar,
}

impl Terminal {
    /// Starts a program on a terminal with lines of `columns` columns.
    pub fn start(mut command: Command, columns: u16) -> Self {
        let size = Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).expect("a terminal");
        let end = |fd: &OwnedFd| fd.try_clone().expect("another descriptor");
        command.stdin(end(&pair.slave)).stdout(end(&pair.slave)).stderr(pair.slave);
        let process = command.spawn().expect("the program starts");
        // The descriptors of the program's side that this process has are closed.
        drop(command);
        let shown = Arc::new(Shown::default());
        let (mut screen, to) = (File::from(end(&pair.master)), shown.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut bytes = Vec::new();
            // Reading from a terminal whose program has ended is an error.
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..length]);
                to.state.lock().unwrap().0 = String::from_utf8_lossy(&bytes).into_owned();
                to.changed.notify_all();
            }
            to.state.lock().unwrap().1 = true;
            to.changed.notify_all();
        });
        Self { keyboard: pair.master.into(), process, shown, seen: 0 }
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal is there");
    }

    /// Waits until the terminal shows a text after what was waited for before, and returns what was shown up to it.
    pub fn wait_for(&mut self, text: &str) -> String {
        let state = self.shown.state.lock().unwrap();
        let seen = self.seen;
        let (state, _) = self
            .shown
            .changed
            .wait_timeout_while(state, PATIENCE, |(shown, ended)| !*ended && !shown[seen..].contains(text))
            .unwrap();
        let new = &state.0[seen..];
        let end = new.find(text).unwrap_or_else(|| panic!("{text:?} is not in {new:?}")) + text.len();
        self.seen = seen + end;
        new[..end].to_owned()
    }

    /// Waits for the end of the program; returns its status and all that it showed.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.process.wait().expect("the program is there");
        let state = self.shown.state.lock().unwrap();
        let (state, _) = self.shown.changed.wait_timeout_while(state, PATIENCE, |(_, ended)| !*ended).unwrap();
        (status, state.0.clone())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
