//! How well garments are cut out, by the rules, by the network and by both, on sixty pictures whose masks are known;
//! and what the network takes: time of one core, memory.
//!
//! Needs the network's file (`scripts/fetch-models`). `cargo bench --bench cutouts -- --sheet DIRECTORY` also writes
//! what was cut out beside its originals, twelve pictures to a sheet, for people to look at.

#![expect(clippy::unwrap_used, reason = "a benchmark that panics has failed")]
#![expect(clippy::print_stdout, reason = "this is what benchmarks are for")]

#[path = "../tests/unit/support/cutouts.rs"]
mod cutouts;
mod support;

use std::path::{Path, PathBuf};
use std::time::Instant;

use cutouts::{Fit, Sample, samples};
use pluckit::imaging::network::Network;
use pluckit::imaging::picture::{Layout, Picture};
use pluckit::imaging::remove::{Found, Removal, remove_background, remove_by_network, remove_surely_plain};
use pluckit::imaging::segment::CutoutOptions;
use pluckit::imaging::transform::to_jpeg;
use support::load::{self, Connection};
use support::service::Launch;
use support::{BINARY, Goal, print_figure, print_head, processor_microseconds, quantile, runtime};

/// Pictures, after the first, that the service cuts out by the network while its memory is watched.
const MORE_PICTURES: usize = 9;

/// What became of a sample.
struct Outcome {
    sample: Sample,
    /// How well the rules' cut fits, and the picture; `None` if they kept it whole.
    rules: Option<(Fit, Picture)>,
    /// Whether the rules are sure of it.
    is_plain: bool,
    /// How well the network's cut fits, whatever its confidence.
    network: Option<(Fit, Picture)>,
    confidence: f32,
}

impl Outcome {
    fn of(sample: Sample, rules: Removal, found: Found) -> Self {
        let fit = |removal| match removal {
            Removal::Cut { picture, .. } => Some((sample.fit(&picture), picture)),
            Removal::KeptWhole { .. } => None,
        };
        let (rules, network) = (fit(rules), fit(found.removal));
        let is_plain = matches!(remove_surely_plain(sample.picture.clone()), Removal::Cut { .. });
        Self { rules, is_plain, network, confidence: found.confidence.unwrap_or_default(), sample }
    }

    /// What the service shows.
    fn both(&self) -> Option<&(Fit, Picture)> {
        let is_sure = self.confidence >= CutoutOptions::THRESHOLD;
        if self.is_plain { self.rules.as_ref() } else { self.network.as_ref().filter(|_| is_sure) }
    }
}

/// Times of the same work on all samples, in milliseconds.
struct Times {
    /// Of each sample, by the clock.
    each: Vec<f64>,
    /// Of one core, per sample.
    processor: f64,
}

/// Does the work on each sample, one after the other.
fn timed<T>(samples: &[Sample], mut work: impl FnMut(Picture) -> T) -> (Vec<T>, Times) {
    let used = || processor_microseconds(std::process::id()) / 1000.0;
    let (mut done, mut each, before) = (Vec::new(), Vec::new(), used());
    for sample in samples {
        let picture = sample.picture.clone();
        let begin = Instant::now();
        done.push(work(picture));
        each.push(1000.0 * begin.elapsed().as_secs_f64());
    }
    (done, Times { each, processor: (used() - before) / samples.len() as f64 })
}

fn main() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/u2netp.onnx");
    let network = Network::open(&model).expect("scripts/fetch-models downloads the network");
    let samples: Vec<Sample> = samples(|_, _| true).collect();
    // The first picture reads the file.
    drop(remove_by_network(samples[0].picture.clone(), &network, 0.0).unwrap());
    let (rules, rules_times) = timed(&samples, remove_background);
    let (found, network_times) = timed(&samples, |picture| remove_by_network(picture, &network, 0.0).unwrap());
    let outcomes = samples.into_iter().zip(rules).zip(found);
    let outcomes: Vec<Outcome> = outcomes.map(|((sample, rules), found)| Outcome::of(sample, rules, found)).collect();
    if std::env::args().any(|argument| argument == "--each") {
        print_each(&outcomes);
    }
    print_grounds(&outcomes);
    if let Some(directory) = support::asked_for("--sheet") {
        for (number, outcomes) in outcomes.chunks(12).enumerate() {
            write_sheet(outcomes, &Path::new(&directory).join(format!("cut-outs-{number}.png")));
        }
    }
    print_head("Cut-outs; the baselines of time and memory are the rules alone");
    let fits: Vec<Fit> = outcomes.iter().filter_map(|outcome| Some(outcome.both()?.0)).collect();
    let mean = |of: fn(&Fit) -> f64| fits.iter().map(of).sum::<f64>() / fits.len() as f64;
    print_figure("mean overlap of what is cut out", "", mean(|fit| fit.overlap), 1.0, Goal::RatioAtLeast(0.93));
    let worst = fits.iter().map(|fit| fit.overlap).fold(1.0, f64::min);
    print_figure("worst overlap of what is cut out", "", worst, 1.0, Goal::RatioAtLeast(0.75));
    print_figure("mean F-score of its outline", "", mean(|fit| fit.outline), 1.0, Goal::None);
    print_figure("kept whole", "", (outcomes.len() - fits.len()) as f64, outcomes.len() as f64, Goal::None);
    let processor = (network_times.processor, rules_times.processor);
    print_figure("network, time of one core", "ms", processor.0, processor.1, Goal::AtMost(900.0));
    for (name, part) in [("by the clock, median", 0.5), ("the same, slowest of twenty", 0.95)] {
        print_figure(name, "ms", quantile(&network_times.each, part), quantile(&rules_times.each, part), Goal::None);
    }
    let file = large(&outcomes[10].sample.picture);
    let (rules, network) = runtime().block_on(async {
        (Memory::while_cutting(&model, &file, "plain").await, Memory::while_cutting(&model, &file, "network").await)
    });
    print_figure("idle memory", "MiB", network.idle, rules.idle, Goal::None);
    let name = "most above idle, one picture of 11 megapixels";
    print_figure(name, "MiB", network.first, rules.first, Goal::AtMost(120.0));
    print_figure("the same after ten, one after the other", "MiB", network.ten, rules.ten, Goal::None);
}

/// A line per picture.
fn print_each(outcomes: &[Outcome]) {
    println!("| ground | garment | rules | network | confidence |\n|---|---|---:|---:|---:|");
    for Outcome { sample, rules, network, confidence, .. } in outcomes {
        let [rules, network] = [rules, network].map(|cut| match cut {
            Some((Fit { overlap, outline }, _)) => format!("{overlap:.3}, {outline:.3}"),
            None => "whole".to_owned(),
        });
        println!("| {} | {} | {rules} | {network} | {confidence:.3} |", sample.ground, sample.garment);
    }
}

/// A line per ground: means of overlap and outline of what was cut out, and how many were.
fn print_grounds(outcomes: &[Outcome]) {
    let summary = |cuts: Vec<Option<Fit>>| {
        let cut: Vec<Fit> = cuts.iter().flatten().copied().collect();
        let mean = |of: fn(&Fit) -> f64| cut.iter().map(of).sum::<f64>() / cut.len() as f64;
        match cut.len() {
            0 => format!("0 of {} cut", cuts.len()),
            count => {
                format!("{:.3}, {:.3}, {count} of {} cut", mean(|fit| fit.overlap), mean(|fit| fit.outline), cuts.len())
            }
        }
    };
    let line = |name: &str, outcomes: &[Outcome]| {
        let rules = summary(outcomes.iter().map(|outcome| outcome.rules.as_ref().map(|cut| cut.0)).collect());
        let network = summary(outcomes.iter().map(|outcome| outcome.network.as_ref().map(|cut| cut.0)).collect());
        let both = summary(outcomes.iter().map(|outcome| outcome.both().map(|cut| cut.0)).collect());
        println!("| {name} | {rules} | {network} | {both} |");
    };
    println!("\nOverlap and outline (both 1 at best) of what is cut out\n");
    println!("| ground | rules | network, whatever its confidence | both |\n|---|---:|---:|---:|");
    for outcomes in outcomes.chunk_by(|one, other| one.sample.ground == other.sample.ground) {
        line(outcomes[0].sample.ground, outcomes);
    }
    line("all", outcomes);
}

/// Four times as wide and high: what a phone sends.
fn large(picture: &Picture) -> Vec<u8> {
    let width = picture.width() as usize;
    let rows = picture.bytes().chunks_exact(3 * width);
    let wide = rows.map(|row| row.chunks_exact(3).flat_map(|pixel| pixel.repeat(4)).collect::<Vec<u8>>());
    let bytes = wide.flat_map(|row| row.repeat(4)).collect();
    let picture = Picture::new(4 * picture.width(), 4 * picture.height(), Layout::Rgb, bytes).unwrap();
    to_jpeg(picture, 85).unwrap()
}

/// Memory of the real binary, in MiB.
struct Memory {
    idle: f64,
    /// The most above that, until one picture was cut out.
    first: f64,
    /// The most above that, until ten pictures were.
    ten: f64,
}

impl Memory {
    async fn while_cutting(model: &Path, file: &[u8], mode: &str) -> Self {
        let launch = Launch::development(BINARY).setting("CUTOUT_MODEL", model.to_str().unwrap());
        let (service, address) = launch.start();
        let mut connection = Connection::open(address).await.unwrap();
        assert_eq!(connection.ask(&load::get("/api/health", "")).await.unwrap(), 200);
        let idle = service.resident_kib() as f64 / 1024.0;
        let above = || service.peak_kib() as f64 / 1024.0 - idle;
        let mut first = None;
        for number in 0..=MORE_PICTURES {
            let head = format!(
                "POST /api/process-image?item_id=large-{number}&mode={mode} HTTP/1.1\r\nhost: localhost\r\n\
                 content-type: image/jpeg\r\ncontent-length: {}\r\n\r\n",
                file.len()
            );
            assert_eq!(connection.ask(&[head.as_bytes(), file].concat()).await.unwrap(), 201);
            first.get_or_insert_with(above);
        }
        Self { idle, first: first.unwrap_or_default(), ten: above() }
    }
}

/// Pictures, each with what the service shows of it beside, in rows of three pairs.
fn write_sheet(outcomes: &[Outcome], path: &PathBuf) {
    const SHRINK: usize = 3;
    const PAIRS: usize = 3;
    let tiles: Vec<(usize, usize, Vec<u8>)> = outcomes
        .iter()
        .flat_map(|outcome| [&outcome.sample.picture, outcome.both().map_or(&outcome.sample.picture, |cut| &cut.1)])
        .map(|picture| tile(picture, SHRINK))
        .collect();
    let (tile_width, tile_height, _) = tiles[0];
    let width = 2 * PAIRS * tile_width;
    let mut bytes = Vec::new();
    for row in tiles.chunks(2 * PAIRS) {
        for y in 0..tile_height {
            let start = bytes.len();
            for (_, _, tile) in row {
                bytes.extend_from_slice(&tile[3 * y * tile_width..3 * (y + 1) * tile_width]);
            }
            bytes.resize(start + 3 * width, 255);
        }
    }
    let file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut encoder = png::Encoder::new(file, width as u32, (bytes.len() / 3 / width) as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
    println!("\n{}", path.display());
}

/// A small copy of a picture, on magenta squares where it is transparent.
fn tile(picture: &Picture, shrink: usize) -> (usize, usize, Vec<u8>) {
    let (width, height) = (picture.width() as usize / shrink, picture.height() as usize / shrink);
    let channels = picture.layout().channels();
    let mut bytes = Vec::with_capacity(width * height * 3);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let behind = if (x / 8 + y / 8) % 2 == 0 { [255, 150, 255] } else { [255, 255, 255] };
        let mut sums = [0; 3];
        for (down, right) in (0..shrink).flat_map(|down| (0..shrink).map(move |right| (down, right))) {
            let at = ((y * shrink + down) * picture.width() as usize + x * shrink + right) * channels;
            let pixel = &picture.bytes()[at..at + channels];
            let alpha = pixel.get(3).copied().map_or(255, u32::from);
            for ((sum, value), behind) in sums.iter_mut().zip(pixel).zip(behind) {
                *sum += u32::from(*value) * alpha + behind * (255 - alpha);
            }
        }
        let count = (shrink * shrink) as u32;
        bytes.extend(sums.map(|sum| u8::try_from(sum / 255 / count).unwrap_or(u8::MAX)));
    }
    (width, height, bytes)
}
