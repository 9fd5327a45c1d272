//! Pictures through the service: real ones on both stores, hostile ones, kills, and a full pool.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use axum::http::StatusCode;
use futures::future::join_all;
use image::RgbaImage;
use pluckit::blob::azure::AzureBlobs;
use pluckit::blob::{BlobName, ContainerName, Span};
use pluckit::net;
use reqwest::Client;
use tokio::time::timeout;

use crate::blob::fresh_container;
use crate::routes::media::{BOUNDARY, form, path_of, send_form, send_raw};
use crate::support::hostile::{self, Fate};
use crate::support::service::Launch;
use crate::support::{TestApp, process, until};

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
/// The directories of users: the beginning of the SHA-256 of their ids, "ada" and "local-dev-user".
const ADA: &str = "fdee430d40bd57de";
const LOCAL_DEV_USER: &str = "b544b040654823d0";
const PATIENCE: Duration = Duration::from_secs(60);

fn data(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

// --- Real pictures --------------------------------------------------------------------------------------------------

/// What a picture must look like when it is finished.
#[derive(Debug, Clone, Copy)]
enum Look {
    /// Red, green, blue and white quarters, opaque.
    Scene,
    /// The same, seen through the ellipse of `alpha.png`.
    Ellipse,
    /// The shirt alone.
    Shirt,
}

const REAL: [(&str, (u32, u32), Look); 9] = [
    ("shirt.jpg", (1200, 900), Look::Shirt),
    ("orientation-6.jpg", (240, 180), Look::Scene),
    ("orientation-7.jpg", (240, 180), Look::Scene),
    ("plain.heic", (240, 180), Look::Scene),
    ("turned.heic", (240, 180), Look::Scene),
    ("alpha.heic", (240, 180), Look::Ellipse),
    ("alpha.png", (240, 180), Look::Ellipse),
    ("cmyk.jpg", (240, 180), Look::Scene),
    ("animated.gif", (240, 180), Look::Scene),
];

fn assert_scene(name: &str, picture: &RgbaImage) {
    let (width, height) = picture.dimensions();
    let quarters = [(1, 1, [200, 30, 30]), (3, 1, [30, 160, 40]), (1, 3, [30, 40, 190]), (3, 3, [240, 240, 240])];
    for (x, y, expected) in quarters {
        // Half way to the middle: within the ellipse, too.
        let place = (width / 2 + width * x / 8 - width / 4, height / 2 + height * y / 8 - height / 4);
        let found = picture.get_pixel(place.0, place.1).0;
        let is_near = (0..3).all(|channel| found[channel].abs_diff(expected[channel]) <= 20);
        assert!(is_near && found[3] == 255, "{name}: {found:?} is not {expected:?}");
    }
}

fn assert_looks(name: &str, look: Look, picture: &RgbaImage) {
    let alpha = |other: &RgbaImage| -> Vec<u8> { other.pixels().map(|pixel| pixel.0[3]).collect() };
    match look {
        Look::Scene => {
            assert_scene(name, picture);
            assert!(picture.pixels().all(|pixel| pixel.0[3] == 255), "{name}");
        }
        Look::Ellipse => {
            assert_scene(name, picture);
            let expected = image::load_from_memory(&data("alpha.png")).unwrap().to_rgba8();
            // The PNG's exactly; that of the HEIC is lossy itself.
            let most = if name.ends_with(".png") { 0 } else { 12 };
            let pairs = alpha(picture).into_iter().zip(alpha(&expected));
            let farthest = pairs.map(|(found, expected)| found.abs_diff(expected)).max().unwrap();
            assert!(farthest <= most, "{name}: {farthest}");
        }
        Look::Shirt => {
            let truth = image::load_from_memory(&data("shirt-mask.png")).unwrap().to_luma8();
            assert_eq!(truth.dimensions(), picture.dimensions());
            let pairs =
                || truth.pixels().zip(picture.pixels()).map(|(truth, pixel)| (truth.0[0] > 127, pixel.0[3] > 127));
            let both = pairs().filter(|(truth, found)| *truth && *found).count() as f64;
            let any = pairs().filter(|(truth, found)| *truth || *found).count() as f64;
            assert!(both / any > 0.97, "{name}: {}", both / any);
            // Nor is there wall in a corner, as under the arms.
            let is_far = |x: u32, y: u32| {
                let near = (y.max(3) - 3..=y + 3).flat_map(|y| (x.max(3) - 3..=x + 3).map(move |x| (x, y)));
                near.filter_map(|(x, y)| truth.get_pixel_checked(x, y)).all(|pixel| pixel.0[0] < 128)
            };
            let left = picture.enumerate_pixels().filter(|(x, y, pixel)| pixel.0[3] > 127 && is_far(*x, *y)).count();
            assert_eq!(left, 0, "{name}");
        }
    }
}

/// Sends every picture in both ways, and checks the stored results.
async fn finish_real_pictures(app: TestApp, archive: &ContainerName) {
    let ada = app.user("ada").await;
    for (name, size, look) in REAL {
        let stem = name.replace('.', "-");
        let (as_form, as_body) = (format!("form-{stem}"), format!("raw-{stem}"));
        let file = data(name);
        let formed = send_form(&ada, &[("item_id", as_form.as_bytes()), ("image", &file)]).await;
        let raw = send_raw(&ada, &format!("/api/process-image?item_id={as_body}"), file).await;
        let mut files = Vec::new();
        for (id, answer) in [(as_form, formed), (as_body, raw)] {
            assert_eq!(answer.status, StatusCode::CREATED, "{name}: {}", answer.text());
            let blob: BlobName = format!("{ADA}/{id}-transparent.webp").parse().unwrap();
            assert_eq!(answer.json()["imageUrl"], app.state.blobs.public_url(archive, &blob).as_str());
            let kept = app.state.blobs.get(archive, &blob, Span::Whole).await.unwrap().unwrap();
            assert_eq!(kept.properties.content_type, "image/webp");
            let kept = kept.bytes().await.unwrap();
            let picture = image::load_from_memory_with_format(&kept, image::ImageFormat::WebP).unwrap().to_rgba8();
            assert_eq!(picture.dimensions(), size, "{name}");
            assert_looks(name, look, &picture);
            files.push(kept);
        }
        assert_eq!(files[0], files[1], "{name}: the way it came makes no difference");
    }
}

#[tokio::test]
async fn real_pictures_are_finished_on_local_files() {
    let app = TestApp::new();
    let archive = app.state.config.storage.archive_container.clone();
    finish_real_pictures(app, &archive).await;
}

#[tokio::test]
async fn a_finished_picture_is_shown_as_it_is_kept() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let answer = send_raw(&ada, "/api/process-image?item_id=shirt", data("shirt.jpg")).await;
    let shown = app.nobody().get(&path_of(&answer)).await;
    let picture = image::load_from_memory_with_format(&shown.body, image::ImageFormat::WebP).unwrap().to_rgba8();
    assert_looks("shirt.jpg", Look::Shirt, &picture);
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn real_pictures_are_finished_on_azure() {
    let archive = fresh_container();
    let blobs = Arc::new(AzureBlobs::new(crate::queue::azure::account()));
    let app = TestApp::builder().blobs(blobs).setting("ARCHIVE_CONTAINER_NAME", &archive).start();
    finish_real_pictures(app, &archive).await;
}

// --- The process ----------------------------------------------------------------------------------------------------

/// Sends a picture to a process, as a form or raw, and returns the status; `None` when the process ended meanwhile.
async fn upload(client: &Client, base: &str, id: &str, file: Vec<u8>, is_form: bool) -> Option<u16> {
    let request = if is_form {
        let body = form(&[("item_id", id.as_bytes()), ("image", &file)]);
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        client.post(format!("{base}/api/process-image")).header("content-type", content_type).body(body)
    } else {
        let url = format!("{base}/api/process-image?item_id={id}");
        client.post(url).header("content-type", "image/jpeg").body(file)
    };
    let answer = timeout(PATIENCE, request.send()).await.expect("an answer within a minute").ok()?;
    let status = answer.status().as_u16();
    // A kill in the middle of the answer is one before it.
    answer.bytes().await.ok().map(|_| status)
}

fn expected(fate: Fate) -> &'static [u16] {
    match fate {
        Fate::Refused => &[400, 413],
        Fate::TooLarge => &[413],
        Fate::Harmless => &[201, 400, 413],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_uploads_are_refused_and_take_little_memory() {
    /// What one picture may take, its file and its share of those that wait included.
    const PER_PICTURE_KIB: u64 = 96 * 1024;
    let threads = std::thread::available_parallelism().unwrap().get() as u64;
    let (service, address) = Launch::development(BINARY).start();
    let (client, base) = (net::builder().no_proxy().build().unwrap(), format!("http://{address}"));
    let files = hostile::files(data);
    let idle = service.resident_kib();
    for (number, file) in files.iter().enumerate() {
        let found = upload(&client, &base, &format!("h{number}"), file.bytes.clone(), false).await;
        let found = found.unwrap_or_else(|| panic!("{}: no answer", file.name));
        let is_empty = file.bytes.is_empty() && found == 400;
        assert!(is_empty || expected(file.fate).contains(&found), "{}: {found}", file.name);
        let grown = service.peak_kib() - idle;
        assert!(grown <= PER_PICTURE_KIB, "{}: {grown} KiB", file.name);
    }
    // All of them at the same time, three times over.
    let all = (0..3).flat_map(|_| &files).enumerate().map(|(number, file)| {
        let (client, base) = (&client, &base);
        async move {
            let id = format!("x{number}");
            let found = loop {
                let found = upload(client, base, &id, file.bytes.clone(), number % 2 == 0).await;
                let found = found.unwrap_or_else(|| panic!("{}: no answer", file.name));
                // One user has only so much room for uploads: those for which there is none are told to come back.
                if found != 503 {
                    break found;
                }
            };
            assert!(expected(file.fate).contains(&found), "{}: {found}", file.name);
        }
    });
    join_all(all).await;
    let grown = service.peak_kib() - idle;
    assert!(grown <= threads * PER_PICTURE_KIB, "{grown} KiB");
    let good = upload(&client, &base, "good", data("shirt.jpg"), true).await;
    assert_eq!(good, Some(201), "it goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kills_during_uploads_leave_no_half_picture() {
    const KILLS: usize = 100;
    const UPLOADS: usize = 6;
    const LATEST_KILL: Duration = Duration::from_millis(120);
    let launch = Launch::development(BINARY);
    let client = net::builder().no_proxy().build().unwrap();
    let files = ["orientation-6.jpg", "alpha.png", "animated.gif"].map(data);
    let mut acknowledged = Vec::new();
    let mut tried = Vec::new();
    for kill in 0..KILLS {
        let (mut service, address) = launch.start();
        let base = format!("http://{address}");
        let uploads = (0..UPLOADS).map(|number| {
            let (client, base, file) = (&client, &base, files[number % files.len()].clone());
            let id = format!("k{kill}-{number}");
            async move { (upload(client, base, &id, file, number % 2 == 0).await, id) }
        });
        let moment = process::up_to(LATEST_KILL);
        let killer = async {
            tokio::time::sleep(moment).await;
            service.kill();
        };
        let (outcomes, ()) = futures::future::join(join_all(uploads), killer).await;
        for (status, id) in outcomes {
            assert!(matches!(status, None | Some(201)), "{id}: {status:?}");
            if status == Some(201) {
                acknowledged.push(id.clone());
            }
            tried.push(id);
        }
    }
    let (_service, address) = launch.start();
    let mut shown = 0;
    for id in &tried {
        let url = format!("http://{address}/api/media/archive/{LOCAL_DEV_USER}/{id}-transparent.webp");
        let answer = client.get(url).send().await.unwrap();
        match answer.status().as_u16() {
            200 => {
                let bytes = answer.bytes().await.unwrap();
                let picture = image::load_from_memory_with_format(&bytes, image::ImageFormat::WebP);
                let picture = picture.unwrap_or_else(|error| panic!("{id}: {error}"));
                assert_eq!((picture.width(), picture.height()), (240, 180), "{id}");
                shown += 1;
            }
            status => assert!(status == 404 && !acknowledged.contains(id), "{id}: {status}"),
        }
    }
    // Otherwise the kills came too early or too late to be meaningful.
    assert!(shown > 0 && shown < tried.len(), "{shown} of {}", tried.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_routes_answer_while_the_pool_is_full() {
    let app = TestApp::new();
    let ada = app.user("ada").await;
    let threads = app.pixels.threads();
    let (begun, working) = mpsc::channel();
    let mut releases = Vec::new();
    let mut blocked = Vec::new();
    for _ in 0..threads {
        let (release, wait) = mpsc::channel::<()>();
        let (pool, begun) = (app.pixels.clone(), begun.clone());
        releases.push(release);
        blocked.push(app.state.tasks.spawn(async move {
            let work = move || {
                begun.send(()).ok();
                wait.recv().ok();
                Ok(())
            };
            pool.run(work).await
        }));
    }
    for _ in 0..threads {
        working.recv_timeout(PATIENCE).unwrap();
    }
    let upload = app.state.tasks.spawn({
        let ada = ada.clone();
        async move { send_raw(&ada, "/api/process-image?item_id=a", data("orientation-1.jpg")).await }
    });
    for _ in 0..50 {
        assert_eq!(app.nobody().get("/api/health").await.status, StatusCode::OK);
        assert_eq!(ada.get("/api/chat/memory").await.status, StatusCode::OK);
    }
    assert!(!upload.is_finished(), "there is no thread for it yet");
    drop(releases);
    assert_eq!(upload.await.unwrap().status, StatusCode::CREATED);
    until("the pool is idle", async || blocked.iter().all(tokio::task::JoinHandle::is_finished)).await;
}
