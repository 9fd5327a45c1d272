//! Pictures: hostile ones, and `pluckit process-image`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use pluckit::imaging::Error;
use pluckit::imaging::decode::{Limits, decode};

use crate::support::hostile::{self, Fate};

/// The most memory, of any kind, that the whole program may take for one hostile file. Its threads and libraries alone
/// map about half of it.
const MEMORY_KIB: u64 = 768 * 1024;
/// Time limit of a file.
const PATIENCE: Duration = Duration::from_secs(30);

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn hostile_files() -> Vec<hostile::Hostile> {
    hostile::files(|name| fs::read(data(name)).unwrap())
}

#[test]
fn hostile_files_are_refused() {
    let files = hostile_files();
    assert!(files.len() >= 40, "{}", files.len());
    for file in files {
        let begin = Instant::now();
        let outcome = decode(&file.bytes, &Limits::default());
        let took = begin.elapsed();
        let fits = match &outcome {
            Ok(_) => file.fate == Fate::Harmless,
            Err(Error::Unsupported(_) | Error::Corrupt(_)) => matches!(file.fate, Fate::Refused | Fate::Harmless),
            Err(Error::TooManyPixels { .. } | Error::TooLarge { .. }) => file.fate != Fate::Harmless,
            Err(_) => false,
        };
        assert!(fits, "{}: {:?}", file.name, outcome.err());
        assert!(
            file.fate != Fate::TooLarge || matches!(outcome, Err(Error::TooManyPixels { .. } | Error::TooLarge { .. })),
            "{}: {outcome:?}",
            file.name
        );
        assert!(took < PATIENCE, "{}: {took:?}", file.name);
    }
}

/// `pluckit process-image` with these arguments, in a folder.
fn process_image(folder: &Path, arguments: &[&str]) -> Output {
    // Little memory for whatever it does: above it the system refuses, and Rust aborts.
    let script = format!("ulimit -v {MEMORY_KIB}; exec \"$0\" process-image \"$@\"");
    Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_pluckit")])
        .args(arguments)
        .current_dir(folder)
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn hostile_files_are_reported_and_do_not_stop_the_good_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = Vec::new();
    let files = hostile_files();
    for (number, file) in files.iter().enumerate() {
        let name = format!("{number:03}.jpg");
        fs::write(folder.path().join(&name), &file.bytes).unwrap();
        arguments.push(name);
    }
    let good = data("shirt.jpg").display().to_string();
    arguments.insert(files.len() / 2, good.clone());
    arguments.extend(["-o".to_owned(), "out".to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = process_image(folder.path(), &arguments);
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{complained}");
    assert!(said.contains(&format!("{good} -> out/shirt.webp  1200 × 900")), "turned as its EXIF data say: {said}");
    for (number, file) in files.iter().enumerate() {
        let name = format!("{number:03}.jpg");
        let was_refused = complained.contains(&format!("{name}: the picture"));
        assert!(was_refused || file.fate == Fate::Harmless, "{}: {complained}", file.name);
        assert_ne!(was_refused, folder.path().join(format!("out/{number:03}.webp")).exists(), "{}", file.name);
    }
    let left: Vec<_> =
        fs::read_dir(folder.path().join("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().ends_with(".webp")), "{left:?}");
}

#[test]
fn real_pictures_of_every_kind_become_webp() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "shirt.jpg",
        "orientation-6.jpg",
        "cmyk.jpg",
        "alpha.png",
        "animated.gif",
        "plain.bmp",
        "lzw.tiff",
        "lossy.webp",
        "turned.heic",
    ];
    let mut arguments: Vec<String> = names.iter().map(|name| data(name).display().to_string()).collect();
    arguments.extend(["-o".to_owned(), "new/out".to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = process_image(folder.path(), &arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for name in names {
        let stem = Path::new(name).file_stem().unwrap().to_string_lossy();
        let bytes = fs::read(folder.path().join(format!("new/out/{stem}.webp"))).unwrap();
        let picture = decode(&bytes, &Limits::default()).unwrap();
        let is_cut_out = matches!(name, "shirt.jpg" | "alpha.png");
        assert_eq!(picture.transparent_share() > 0.3, is_cut_out, "{name}");
        assert!(picture.width() > picture.height(), "{name}");
    }
    assert!(text(&output.stdout).contains("background removed"), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("kept whole: it is transparent already"), "{}", text(&output.stdout));
}

#[test]
fn one_picture_goes_to_the_file_that_was_named_and_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let source = data("orientation-3.jpg").display().to_string();
    let target = folder.path().join("result.webp");
    assert!(process_image(folder.path(), &[&source, "-o", "result.webp"]).status.success());
    let first = fs::read(&target).unwrap();

    let other = data("shirt.jpg").display().to_string();
    let refused = process_image(folder.path(), &[&other, "-o", "result.webp"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("result.webp exists already; --force replaces it"));
    assert_eq!(fs::read(&target).unwrap(), first);

    assert!(process_image(folder.path(), &[&other, "-o", "result.webp", "--force"]).status.success());
    assert_ne!(fs::read(&target).unwrap(), first);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_read_or_written_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let missing = process_image(folder.path(), &["nothing.jpg", "-o", "x.webp"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("nothing.jpg: it cannot be read"), "{}", text(&missing.stderr));
    let source = data("grey.jpg").display().to_string();
    let nowhere = process_image(folder.path(), &[&source, "-o", "no/such/folder/x.webp"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("cannot be written"), "{}", text(&nowhere.stderr));
    let twice = data("grey.png").display().to_string();
    let same = process_image(folder.path(), &[&source, &twice, "-o", "out"]);
    assert!(text(&same.stderr).contains("two pictures would be written to out/grey.webp"), "{}", text(&same.stderr));
}
