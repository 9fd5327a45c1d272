//! Cut-outs by the rules and by the network, and the network's file.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use pluckit::imaging::decode::{Limits, decode};
use pluckit::imaging::network::Network;
use pluckit::imaging::pool::PixelPool;
use pluckit::imaging::segment::{BuiltIn, CutoutMode, CutoutOptions, Remover, Segmenter};
use pluckit::imaging::transform::{shrink, to_jpeg};

use crate::routes::media::{path_of, send_raw};
use crate::support::cutouts::{Sample, samples};
use crate::support::{TestApp, model_file, refusal};

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");

fn photograph(name: &str) -> Vec<u8> {
    fs::read(format!("{}/demo/photographs/{name}.jpg", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A photograph as small as tests like them.
fn small(name: &str) -> Vec<u8> {
    let picture = decode(&photograph(name), &Limits::default()).unwrap();
    to_jpeg(shrink(picture, 480), 90).unwrap()
}

/// A belt that is rolled up, which the network takes for a disc.
const BELT: &str = "brown-leather-belt";

/// Grounds of which a sample is tried. The benchmark tries all samples of all grounds.
const GROUNDS: [&str; 5] =
    ["plain wall", "wall in window light", "wooden boards", "checked blanket", "wood of nearly its colour"];

/// A sample of each of these grounds, and the belt.
fn some_samples() -> Vec<Sample> {
    let mut seen: Vec<String> = Vec::new();
    let is_wanted = |ground: &str, garment: &str| {
        let is_new = GROUNDS.contains(&ground) && !seen.iter().any(|seen| seen == ground);
        seen.push(ground.to_owned());
        is_new || garment == BELT
    };
    samples(is_wanted).collect()
}

#[tokio::test]
#[ignore = "needs the background-removal network: run scripts/test"]
async fn garments_on_any_ground_are_cut_out_well_or_kept_whole() {
    let pool = std::sync::Arc::new(PixelPool::default());
    let network = Network::open(&model_file()).unwrap();
    let removers = BuiltIn::new(pool, Some(network));
    let (mut overlaps, mut kept) = (Vec::new(), Vec::new());
    for sample in some_samples() {
        let name = format!("{} on {}", sample.garment, sample.ground);
        let cut = removers.cut_out(sample.picture.clone(), CutoutMode::Auto.into()).await.unwrap();
        if cut.kept_whole.is_some() {
            assert_eq!(cut.picture, sample.picture, "{name}");
            assert!(cut.confidence < Some(CutoutOptions::THRESHOLD), "{name}: {:?}", cut.confidence);
            kept.push(sample.garment);
            continue;
        }
        let expected = if sample.ground == "plain wall" { Remover::Plain } else { Remover::Network };
        assert_eq!(cut.by, Some(expected), "{name}");
        let fit = sample.fit(&cut.picture);
        overlaps.push((fit.overlap, fit.outline, name));
    }
    assert_eq!(kept, [BELT]);
    assert!(overlaps.iter().all(|(overlap, _, _)| *overlap >= 0.75), "{overlaps:#?}");
    let mean = overlaps.iter().map(|(overlap, _, _)| overlap).sum::<f64>() / overlaps.len() as f64;
    assert!(mean >= 0.93, "{mean}: {overlaps:#?}");
}

#[tokio::test]
#[ignore = "needs the background-removal network: run scripts/test"]
async fn a_ground_that_frays_the_outline_is_left_to_the_network() {
    let removers = BuiltIn::new(PixelPool::default().into(), Some(Network::open(&model_file()).unwrap()));
    for (name, by) in [("jeans-on-a-rug", Remover::Network), ("roll-neck-on-bed-linen", Remover::Plain)] {
        let picture = decode(&photograph(name), &Limits::default()).unwrap();
        let cut = removers.cut_out(picture, CutoutMode::Auto.into()).await.unwrap();
        assert_eq!((cut.by, cut.kept_whole), (Some(by), None), "{name}");
    }
}

#[tokio::test]
#[ignore = "needs the background-removal network: run scripts/test"]
async fn an_upload_on_a_busy_ground_is_cut_out_by_the_network() {
    let app = TestApp::builder().network().start();
    assert_eq!(app.nobody().get("/api/health/ready").await.json()["segmentation"], "network");
    let ada = app.user("ada").await;
    for (id, mode, is_cut) in
        [("by-default", "", true), ("by-network", "&mode=network", true), ("by-rules", "&mode=plain", false)]
    {
        let path = format!("/api/process-image?item_id={id}{mode}");
        let answer = send_raw(&ada, &path, small("sneakers-on-the-floor")).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let shown = app.nobody().get(&path_of(&answer)).await;
        let picture = decode(&shown.body, &Limits::default()).unwrap();
        assert_eq!(picture.transparent_share() > 0.3, is_cut, "{id}");
    }
}

#[tokio::test]
async fn a_mode_is_checked_and_belongs_to_the_picture() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let send = async |mode: &str| {
        let path = format!("/api/process-image?item_id=shirt&mode={mode}");
        send_raw(&ada, &path, photograph("oxford-shirt-on-a-wall")).await
    };
    let wrong = send("magic").await;
    assert_eq!(wrong.summary(), (400, refusal("mode must be auto, plain, network or none.")));
    let missing = send("network").await;
    assert_eq!(missing.summary(), (400, refusal("The background-removal network is not installed.")));
    let whole = send("none").await;
    assert_eq!(whole.status, 201);
    let shown = app.nobody().get(&path_of(&whole)).await;
    assert!(!decode(&shown.body, &Limits::default()).unwrap().has_alpha());
    assert_eq!(send("none").await.json(), whole.json(), "a repeat is free");
    assert_eq!(send("plain").await.status, 409, "it would be another picture");
}

fn process_image(directory: &Path, model: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("process-image").args(arguments).current_dir(directory).env("CUTOUT_MODEL", model);
    command.output().unwrap()
}

#[test]
fn a_picture_goes_to_standard_output_where_that_is_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let shirt = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/shirt.jpg");
    let done = process_image(place.path(), "off", &[shirt, "-o", "-"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!((&done.stdout[..4], &done.stdout[8..12]), (&b"RIFF"[..], &b"WEBP"[..]));
    assert!(text(&done.stderr).contains("shirt.jpg -> -  "), "{}", text(&done.stderr));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    let two = process_image(place.path(), "off", &[shirt, shirt, "-o", "-"]);
    assert!(!two.status.success() && text(&two.stderr).contains("standard output takes one picture"));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_damaged_or_foreign_model_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let models = directory.path().join("models");
    fs::create_dir(&models).unwrap();
    let damaged = models.join("u2netp.onnx");
    fs::write(&damaged, vec![7; 4_574_861]).unwrap();
    for setting in ["", damaged.to_str().unwrap(), "elsewhere.onnx"] {
        for command in ["serve", "process-image", "package"] {
            let mut process = Command::new(BINARY);
            process.arg(command).current_dir(directory.path()).env("CUTOUT_MODEL", setting).env("PORT", "0");
            process.env("PLUCKIT_DATA_DIR", &data).env("PLUCKIT_ALLOW_INSECURE_DEV", "1");
            if command == "process-image" {
                process.args(["a.jpg", "-o", "a.webp"]);
            }
            let output = process.output().unwrap();
            let said = text(&output.stderr);
            let expected = if setting == "elsewhere.onnx" {
                "elsewhere.onnx cannot be read"
            } else {
                "u2netp.onnx is damaged or is not u2netp.onnx (its SHA-256 is "
            };
            assert_eq!(output.status.code(), Some(1), "{command} {setting}: {said}");
            assert!(said.contains("CUTOUT_MODEL") && said.contains(expected), "{command} {setting}: {said}");
        }
    }
}

#[test]
fn without_the_model_rules_remove_plain_backgrounds_and_the_network_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    fs::write(folder.join("shirt.jpg"), photograph("oxford-shirt-on-a-wall")).unwrap();
    let plain = process_image(folder, "off", &["shirt.jpg", "-o", "plain.webp"]);
    assert!(text(&plain.stdout).contains("of the picture, by plain"), "{}", text(&plain.stdout));
    let none = process_image(folder, "off", &["shirt.jpg", "-o", "none.webp", "--cutout", "none"]);
    assert!(text(&none.stdout).trim_end().ends_with("kept whole: as asked"), "{}", text(&none.stdout));
    let network = process_image(folder, "off", &["shirt.jpg", "-o", "network.webp", "--cutout", "network"]);
    assert_eq!(network.status.code(), Some(1));
    assert!(
        text(&network.stderr).contains("is not installed: download it with scripts/fetch-models"),
        "{}",
        text(&network.stderr)
    );
    assert!(!folder.join("network.webp").exists());
    for wrong in [["--cutout", "magic"], ["--threshold", "2"]] {
        let wrong = [&["shirt.jpg", "-o", "wrong.webp"][..], &wrong].concat();
        assert_eq!(process_image(folder, "off", &wrong).status.code(), Some(2));
    }
}

#[test]
#[ignore = "needs the background-removal network: run scripts/test"]
fn the_command_line_cuts_out_by_the_network_and_says_how_sure_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    fs::write(folder.join("shoes.jpg"), small("sneakers-on-the-floor")).unwrap();
    let model = model_file().display().to_string();
    let cut = process_image(folder, &model, &["shoes.jpg", "-o", "shoes.webp"]);
    let said = text(&cut.stdout);
    assert!(said.contains("of the picture, by network, confidence 0."), "{said}{}", text(&cut.stderr));
    let unsure = process_image(folder, &model, &["shoes.jpg", "-o", "unsure.webp", "--threshold", "1"]);
    let said = text(&unsure.stdout);
    assert!(
        said.contains("kept whole: it is not clear what belongs to the garment, by network, confidence 0."),
        "{said}"
    );
    let cut = decode(&fs::read(folder.join("shoes.webp")).unwrap(), &Limits::default()).unwrap();
    assert!(cut.transparent_share() > 0.3);
}
