//! Processing of a picture compared with its parts alone; scaling to a second core; memory; hostile files; and the
//! latency of other requests meanwhile.
//!
//! The parts are direct calls of the libraries. Memory is measured on the real binary, restarted for each figure; for
//! hostile files, on this program, started once per file.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]
#![expect(clippy::print_stdout, reason = "this is what benchmarks are for")]

#[path = "../tests/unit/support/hostile.rs"]
mod hostile;
mod support;

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use futures::future::join_all;
use heifer::encode::{EncodeOptions, encode_rgb8};
use pluckit::imaging::decode::{Limits, decode};
use pluckit::imaging::picture::{Layout, Picture};
use pluckit::imaging::pipeline::Pipeline;
use pluckit::imaging::pool::{PixelPool, PoolOptions, give_way};
use pluckit::imaging::remove::{Removal, remove_background};
use pluckit::imaging::segment::{BuiltIn, CutoutOptions};
use pluckit::imaging::transform::to_jpeg;
use pluckit::imaging::webp::encode;
use support::load::{self, Connection};
use support::service::Launch;
use support::{BINARY, processor_microseconds, quantile};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ScheduleParams, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use zune_core::bytestream::ZCursor;

/// A photograph of 12 megapixels in a phone's sensor orientation.
const WIDTH: u32 = 4000;
const HEIGHT: u32 = 3000;

/// Upload rate of a phone in bits per second. On loopback the data would arrive in one burst, which occupies a core for
/// a millisecond.
const UPLINK: f64 = 100e6;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    if let (Some("--hostile"), Some(number)) = (arguments.next().as_deref(), arguments.next()) {
        return hostile_one(number.parse().unwrap());
    }
    let photograph = Bytes::from(to_photograph(&pixels(WIDTH, HEIGHT)));
    println!("\nPictures: {} cores\n", std::thread::available_parallelism().unwrap());
    println!("| figure | value | baseline | ratio | target | met |\n|---|---:|---:|---:|---|---|");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if std::env::args().any(|argument| argument == "health") {
        return health_figures(&runtime, &photograph);
    }

    // Alternate the two, so that neither benefits from quieter moments.
    let one = pipeline(1);
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        parts.push(parts_alone(&photograph));
        let begin = Instant::now();
        black_box(runtime.block_on(one.process(photograph.clone(), CutoutOptions::default())).unwrap());
        whole.push(milliseconds(begin.elapsed()));
    }
    let sums: Vec<f64> = parts.iter().map(|(decode, resize, encode)| decode + resize + encode).collect();
    let part = |part: fn(&(f64, f64, f64)) -> f64| median(parts.iter().map(part).collect());
    let (whole, sum) = (median(whole), median(sums));
    figure("12-megapixel JPEG, whole step", "ms", whole, sum, "ratio ≤ 1.1", whole / sum <= 1.1);
    println!(
        "| of it: decode {:.0}, resize {:.0}, encode {:.0} ms | | | | | |",
        part(|p| p.0),
        part(|p| p.1),
        part(|p| p.2)
    );

    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..3 {
        for (threads, rates) in [1, 2].into_iter().zip(&mut rates) {
            let pipeline = pipeline(threads);
            let begin = Instant::now();
            let pictures = (0..16).map(|_| pipeline.process(photograph.clone(), CutoutOptions::default()));
            let results = runtime.block_on(join_all(pictures));
            assert!(results.iter().all(Result::is_ok));
            rates.push(16.0 / begin.elapsed().as_secs_f64());
        }
    }
    let [one, two] = rates.map(median);
    figure("pictures per second, two threads", "/s", two, one, "ratio ≥ 1.8", two / one >= 1.8);

    health_figures(&runtime, &photograph);

    let large = noise();
    let (jpeg, heic) = {
        let pixels = pixels(2 * WIDTH, 2 * HEIGHT);
        (Bytes::from(to_photograph(&pixels)), Bytes::from(to_heic(&pixels)))
    };
    for (pictures, file, name) in [
        (1, &jpeg, "memory above idle, a JPEG of 48 megapixels"),
        (1, &heic, "the same, a HEIC of as many"),
        (1, &photograph, "the same, one of 12 megapixels"),
        (2, &photograph, "the same per thread, 2 at once"),
        (10, &photograph, "the same, 10 at once"),
        (30, &photograph, "the same, 30 at once"),
        (30, &large, "the same, 30 of 19 MiB at once"),
    ] {
        let (idle, above) = runtime.block_on(memory_of(pictures, file));
        let threads = std::thread::available_parallelism().unwrap().get().min(pictures);
        let above = above / threads as f64;
        figure(name, "MiB", above, idle, "≤ 96 MiB", above <= 96.0);
    }

    let files = hostile::files(data);
    let (mut slowest, mut largest) = ((0.0, ""), (0.0, ""));
    for (number, file) in files.iter().enumerate() {
        let output = again(&["--hostile", &number.to_string()]);
        let (time, memory) = output.trim().split_once(' ').unwrap();
        let (time, memory): (f64, f64) = (time.parse().unwrap(), memory.parse().unwrap());
        if time > slowest.0 {
            slowest = (time, file.name);
        }
        if memory > largest.0 {
            largest = (memory, file.name);
        }
    }
    let name = format!("{} hostile files, slowest ({})", files.len(), slowest.1);
    figure(&name, "ms", slowest.0, 100.0, "≤ 100 ms", slowest.0 <= 100.0);
    let name = format!("their memory, largest ({})", largest.1);
    figure(&name, "MiB", largest.0, 96.0, "≤ 96 MiB", largest.0 <= 96.0);
}

fn health_figures(runtime: &Runtime, photograph: &Bytes) {
    for (callers, name) in [(1, "one caller"), (16, "16 callers")] {
        let Health { rest, awake, full, busy_cores } = runtime.block_on(health_times(photograph, callers));
        for (part, percentile) in [(0.5, "p50"), (0.99, "p99")] {
            let [rest, awake, full] = [&rest, &awake, &full].map(|times| 1000.0 * quantile(times, part));
            let (target, is_met) = if part > 0.9 { ("ratio ≤ 2", full / rest <= 2.0) } else { ("", true) };
            let name = format!("/api/health while the pool is full, {name}, {percentile}");
            figure(&name, "µs", full, rest, target, is_met);
            figure("the same against cores kept awake", "µs", full, awake, "", true);
        }
        let cores = std::thread::available_parallelism().unwrap().get() as f64;
        figure("of it: cores that the service used meanwhile", "", busy_cores, cores, "", true);
    }
}

fn figure(name: &str, unit: &str, value: f64, baseline: f64, target: &str, is_met: bool) {
    let met = if is_met { "yes" } else { "**no**" };
    println!("| {name} | {value:.1} {unit} | {baseline:.1} {unit} | {:.2} | {target} | {met} |", value / baseline);
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn pipeline(threads: usize) -> Pipeline {
    let threads = NonZeroUsize::new(threads).unwrap();
    let patience = Duration::from_secs(600);
    let pool = Arc::new(PixelPool::new(PoolOptions { patience, ..PoolOptions::with_threads(threads) }));
    Pipeline::new(pool.clone(), Arc::new(BuiltIn::new(pool, None)), Limits::default())
}

/// Milliseconds that requests to `/api/health` of the real binary take.
struct Health {
    /// Idle, as the baseline. Cores sleep between requests, and waking them takes most of the time.
    rest: Vec<f64>,
    /// The same with cores kept awake by low-priority threads.
    awake: Vec<f64>,
    /// With more uploads in flight than the pool has threads.
    full: Vec<f64>,
    /// Processor time of the service per second of the last.
    busy_cores: f64,
}

async fn health_times(photograph: &Bytes, callers: usize) -> Health {
    const ROUNDS: usize = 5;
    const SPAN: Duration = Duration::from_secs(4);
    const UPLOADERS: usize = 8;
    let (service, address) = Launch::development(BINARY).start();
    let times = async |times: &mut Vec<f64>| {
        let asked = (0..callers).map(|_| {
            let (sender, receiver) = oneshot::channel();
            std::thread::spawn(move || sender.send(health_times_from(address, SPAN)));
            receiver
        });
        times.extend(join_all(asked).await.into_iter().flat_map(Result::unwrap));
    };
    let mut health = Health { rest: Vec::new(), awake: Vec::new(), full: Vec::new(), busy_cores: 0.0 };
    for round in 0..ROUNDS {
        times(&mut health.rest).await;
        let spinners = Spinners::start();
        times(&mut health.awake).await;
        drop(spinners);
        let uploaders = yielding_runtime();
        let finished = start_uploads(&uploaders, address, photograph, round, UPLOADERS);
        // From here on, as many wait as are worked on, or more.
        while finished.load(Ordering::Relaxed) < UPLOADERS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (begin, used) = (Instant::now(), processor_microseconds(service.id()));
        times(&mut health.full).await;
        let used = processor_microseconds(service.id()) - used;
        health.busy_cores += used / 1e6 / begin.elapsed().as_secs_f64() / ROUNDS as f64;
        uploaders.shutdown_background();
        // Started work completes even after its caller disconnects.
        let mut before = f64::MAX;
        while processor_microseconds(service.id()) - before > 0.0 || before == f64::MAX {
            before = processor_microseconds(service.id());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    health
}

/// Milliseconds that requests to `/api/health` take, asked for so long by one caller on this thread, which the uploads
/// of this program have nothing to do with.
fn health_times_from(address: SocketAddr, span: Duration) -> Vec<f64> {
    go_first();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_nodelay(true).unwrap();
    let (request, mut answer) = (load::get("/api/health", ""), [0; 4096]);
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < span {
        let begin = Instant::now();
        connection.write_all(&request).unwrap();
        // It comes in one piece: the service writes it at once.
        let length = connection.read(&mut answer).unwrap();
        times.push(milliseconds(begin.elapsed()));
        assert!(answer.starts_with(b"HTTP/1.1 200 ") && answer[..length].ends_with(b"}"));
        // At the rate of typical callers; a caller at full speed would keep a core busy by itself.
        std::thread::sleep(Duration::from_millis(1));
    }
    times
}

/// Makes this thread go before all others, if that is permitted: in life, whoever asks does not wait for the service's
/// cores to see that the answer is there.
fn go_first() {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let priority = ThreadPriority::from_posix(ScheduleParams { sched_priority: 1 });
    if set_thread_priority_and_policy(thread_native_id(), priority, policy).is_err() {
        println!("(the caller's thread may not go first: its own waiting is measured, too)");
    }
}

/// Creates a runtime with low-priority threads, because real uploaders have their own cores.
fn yielding_runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().on_thread_start(give_way).enable_all().build().unwrap()
}

/// Uploads the photograph again and again under ever new ids as long as the runtime lives. Counts those that are
/// finished.
fn start_uploads(
    runtime: &Runtime,
    address: SocketAddr,
    photograph: &Bytes,
    round: usize,
    uploaders: usize,
) -> Arc<AtomicUsize> {
    let finished = Arc::new(AtomicUsize::new(0));
    for uploader in 0..uploaders {
        let (photograph, finished) = (photograph.clone(), finished.clone());
        runtime.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            for number in 0.. {
                let request = upload(&format!("u{round}-{uploader}-{number}"), &photograph);
                assert_eq!(connection.ask_over(UPLINK, &request).await.unwrap(), 201);
                finished.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    finished
}

/// A lowest-priority loop per core, so that no core sleeps.
struct Spinners(Vec<Child>);

impl Spinners {
    fn start() -> Self {
        let cores = std::thread::available_parallelism().unwrap().get();
        let spin = || Command::new("chrt").args(["--idle", "0", "sh", "-c", "while :; do :; done"]).spawn();
        Self((0..cores).map(|_| spin().expect("chrt, of util-linux")).collect())
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// Measures the memory of the real binary, in MiB: idle, and the peak above that while this many pictures are sent
/// concurrently.
async fn memory_of(pictures: usize, file: &Bytes) -> (f64, f64) {
    let (service, address) = Launch::development(BINARY).start();
    // Load the code that answering needs.
    assert_eq!(Connection::open(address).await.unwrap().ask(&load::get("/api/health", "")).await.unwrap(), 200);
    let idle = service.resident_kib() as f64 / 1024.0;
    let uploads = (0..pictures).map(|number| async move {
        let mut connection = Connection::open(address).await.unwrap();
        assert_eq!(connection.ask(&upload(&format!("m{number}"), file)).await.unwrap(), 201);
    });
    join_all(uploads).await;
    (idle, service.peak_kib() as f64 / 1024.0 - idle)
}

fn upload(id: &str, file: &Bytes) -> Vec<u8> {
    let head = format!(
        "POST /api/process-image?item_id={id} HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/jpeg\r\ncontent-length: \
         {}\r\n\r\n",
        file.len()
    );
    [head.as_bytes(), file].concat()
}

fn data(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

/// A garment on a wall, with the grain that a camera has.
fn pixels(width: u32, height: u32) -> Picture {
    let mut grain = 1_u64;
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let (across, along) = (x as f32 / width as f32, y as f32 / height as f32);
            let is_garment =
                (0.2..0.8).contains(&across) && ((along - 0.5) / (0.2 + 0.15 * (across * 9.0).sin().abs())).abs() < 1.0;
            let light = 1.0 - 0.1 * across - 0.05 * along;
            let base = if is_garment {
                let fold = 1.0 + 0.15 * (across * 60.0 + along * 25.0).sin();
                [60.0 * fold, 80.0 * fold, 130.0 * fold]
            } else {
                [222.0 * light, 216.0 * light, 206.0 * light]
            };
            grain = grain.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (grain >> 61) as f32 - 3.5;
            pixels.extend(base.map(|value| (value + noise).clamp(0.0, 255.0) as u8));
        }
    }
    Picture::new(width, height, Layout::Rgb, pixels).unwrap()
}

/// A JPEG with an EXIF segment that says which way is up.
fn to_photograph(picture: &Picture) -> Vec<u8> {
    let jpeg = to_jpeg(picture.clone(), 92).unwrap();
    let exif = b"\xFF\xE1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    [&jpeg[..2], exif, &jpeg[2..]].concat()
}

/// A HEIC as phones write it, in tiles.
fn to_heic(picture: &Picture) -> Vec<u8> {
    let options = EncodeOptions { quality: 70, max_threads: 0 };
    encode_rgb8(picture.width(), picture.height(), picture.bytes(), &options).unwrap()
}

/// Creates a picture of noise, which JPEG cannot compress: a file at the size limit.
fn noise() -> Bytes {
    let mut grain = 1_u64;
    let pixels = std::iter::repeat_with(|| {
        grain = grain.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (grain >> 56) as u8
    });
    let picture = Picture::new(WIDTH, HEIGHT, Layout::Rgb, pixels.take((WIDTH * HEIGHT * 3) as usize).collect());
    let picture = picture.unwrap();
    let most = 20 << 20;
    let jpegs = (50..100).rev().map(|quality| to_jpeg(picture.clone(), quality).unwrap());
    jpegs.map(Bytes::from).find(|jpeg| jpeg.len() < most).unwrap()
}

/// Decode, resize and encode, each by the bare library: milliseconds.
fn parts_alone(photograph: &[u8]) -> (f64, f64, f64) {
    let begin = Instant::now();
    let pixels = zune_jpeg::JpegDecoder::new(ZCursor::new(photograph)).decode().unwrap();
    let decode = milliseconds(begin.elapsed());

    let begin = Instant::now();
    let source = ImageRef::new(WIDTH, HEIGHT, &pixels, PixelType::U8x3).unwrap();
    let mut small = Image::new(1536, 1152, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new().resize(&source, &mut small, &options).unwrap();
    let resize = milliseconds(begin.elapsed());

    // What is encoded is the result of the whole step: upright, and mostly transparent or not as the remover left it.
    let cut = cut_out(small.buffer());
    let begin = Instant::now();
    black_box(encode(&cut).unwrap());
    (decode, resize, milliseconds(begin.elapsed()))
}

fn cut_out(pixels: &[u8]) -> Picture {
    let turned = image::RgbImage::from_raw(1536, 1152, pixels.to_vec()).unwrap();
    let turned = image::imageops::rotate90(&turned);
    let picture = Picture::new(1152, 1536, Layout::Rgb, turned.into_raw()).unwrap();
    match remove_background(picture) {
        Removal::Cut { picture, .. } => picture,
        Removal::KeptWhole { reason, .. } => panic!("kept whole: {reason}"),
    }
}

// --- Run again ------------------------------------------------------------------------------------------------------

/// What this program prints when it is run with these arguments.
fn again(arguments: &[&str]) -> String {
    let output = Command::new(std::env::current_exe().unwrap()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn mib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Prints the time for one hostile file, and the most memory above what there was before.
fn hostile_one(number: usize) {
    let file = hostile::files(data).swap_remove(number);
    // Exclude the memory for creating the files.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let idle = mib("VmHWM:");
    let begin = Instant::now();
    let outcome = decode(&file.bytes, &Limits::default());
    let took = begin.elapsed();
    assert!(outcome.is_err() || file.fate == hostile::Fate::Harmless, "{}", file.name);
    println!("{} {}", milliseconds(took), mib("VmHWM:") - idle);
}
