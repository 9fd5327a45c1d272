//! Tests with drawn garments, whose pixels are known.

use super::*;
use crate::decode::{self, Limits};
use crate::picture::Layout;
use crate::transform::to_jpeg;

const WIDTH: u32 = 560;
const HEIGHT: u32 = 720;

/// Noise, always the same.
struct Noise(u64);

impl Noise {
    /// Returns an approximately normally distributed value with standard deviation 1.
    fn next(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            sum += (self.0 >> 40) as f32 / (1_u64 << 24) as f32 - 0.5;
        }
        sum * 1.73
    }
}

/// A point in a picture of width 1.
type Point = (f32, f32);

fn is_in_polygon(points: &[Point], (x, y): Point) -> bool {
    let mut inside = false;
    for (one, other) in points.iter().zip(points.iter().cycle().skip(1)) {
        if (one.1 > y) != (other.1 > y) && x < (other.0 - one.0) * (y - one.1) / (other.1 - one.1) + one.0 {
            inside = !inside;
        }
    }
    inside
}

fn tee((x, y): Point) -> bool {
    const OUTLINE: [Point; 12] = [
        (0.36, 0.22),
        (0.64, 0.22),
        (0.76, 0.28),
        (0.90, 0.48),
        (0.79, 0.56),
        (0.72, 0.46),
        (0.72, 1.02),
        (0.28, 1.02),
        (0.28, 0.46),
        (0.21, 0.56),
        (0.10, 0.48),
        (0.24, 0.28),
    ];
    let neck = ((x - 0.5) / 0.11).powi(2) + ((y - 0.21) / 0.08).powi(2) < 1.0;
    is_in_polygon(&OUTLINE, (x, y)) && !neck
}

fn bag((x, y): Point) -> bool {
    ((x - 0.5) / 0.34).powi(2) + ((y - 0.66) / 0.42).powi(2) < 1.0
}

fn two_shoes((x, y): Point) -> bool {
    let shoe = |middle: f32| ((x - middle) / 0.13).powi(2) + ((y - 0.64) / 0.32).powi(2) < 1.0;
    shoe(0.3) || shoe(0.7)
}

/// How a picture is drawn.
struct Scene {
    garment: fn(Point) -> bool,
    cloth: fn(Point) -> [f32; 3],
    wall: fn(Point) -> [f32; 3],
    /// Darkness of the shadow, 0 to 1.
    shadow: f32,
    noise: f32,
    jpeg: Option<u8>,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            garment: tee,
            cloth: |_| [46.0, 70.0, 120.0],
            wall: |_| [225.0, 222.0, 216.0],
            shadow: 0.0,
            noise: 0.0,
            jpeg: None,
        }
    }
}

impl Scene {
    /// Draws the picture; returns it with a mask of the garment's pixels.
    fn draw(&self) -> (Picture, Vec<bool>) {
        let mut noise = Noise(88_172_645_463_325_252);
        let (mut bytes, mut truth) = (Vec::new(), Vec::new());
        let point = |x: f32, y: f32| (x / WIDTH as f32, y / WIDTH as f32);
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                // Four samples per pixel, to blur slightly like a camera.
                let samples = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)]
                    .map(|(right, down)| (self.garment)(point(x as f32 + right, y as f32 + down)));
                let part = samples.iter().filter(|inside| **inside).count() as f32 / 4.0;
                let place = point(x as f32 + 0.5, y as f32 + 0.5);
                let light = 1.0 - self.shadow * self.shade(place);
                let (cloth, wall) = ((self.cloth)(place), (self.wall)(place));
                let grain = noise.next() * self.noise;
                for channel in 0..3 {
                    let value = cloth[channel] * part + wall[channel] * light * (1.0 - part);
                    let value = value + grain + noise.next() * self.noise * 0.5;
                    bytes.push(value.round().clamp(0.0, 255.0) as u8);
                }
                truth.push(part >= 0.5);
            }
        }
        let mut picture = Picture::new(WIDTH, HEIGHT, Layout::Rgb, bytes).unwrap();
        if let Some(quality) = self.jpeg {
            let jpeg = to_jpeg(picture, quality).unwrap();
            picture = decode::decode(&jpeg, &Limits::default()).unwrap();
        }
        (picture, truth)
    }

    /// Returns the garment's soft shadow on the wall, to the lower right.
    fn shade(&self, (x, y): Point) -> f32 {
        if self.shadow == 0.0 {
            return 0.0;
        }
        let mut covered = 0;
        for down in -3_i16..=3 {
            for right in -3_i16..=3 {
                let sample = (x - 0.02 + f32::from(right) * 0.017, y - 0.025 + f32::from(down) * 0.017);
                covered += i32::from((self.garment)(sample));
            }
        }
        covered as f32 / 49.0
    }
}

/// Returns the intersection over union of the remainder and the garment.
fn overlap(picture: &Picture, truth: &[bool]) -> f64 {
    assert!(picture.has_alpha());
    let (mut both, mut either) = (0_u32, 0_u32);
    for (pixel, is_garment) in picture.pixels().zip(truth) {
        let remained = pixel[3] >= 128;
        both += u32::from(remained && *is_garment);
        either += u32::from(remained || *is_garment);
    }
    f64::from(both) / f64::from(either)
}

/// Returns the overlap for a scene that must be cut out.
fn overlap_of(name: &str, scene: &Scene) -> f64 {
    let (picture, truth) = scene.draw();
    match remove_background(picture) {
        Removal::Cut { picture, background_share } => {
            let expected = truth.iter().filter(|garment| !**garment).count() as f64 / truth.len() as f64;
            assert!((background_share - expected).abs() < 0.05, "{name}: {background_share}");
            let overlap = overlap(&picture, &truth);
            if let Some(directory) = option_env!("PLUCKIT_SHOW_REMOVED") {
                show(&picture, &format!("{directory}/{}.png", name.replace(' ', "-")));
            }
            overlap
        }
        Removal::KeptWhole { reason, .. } => panic!("{name}: kept whole: {reason}"),
    }
}

/// Writes a picture over a chequerboard, for visual inspection.
fn show(picture: &Picture, path: &str) {
    let width = picture.width() as usize;
    let pixels = picture.pixels().enumerate().flat_map(|(number, pixel)| {
        let (x, y) = (number % width, number / width);
        let ground = if (x / 16 + y / 16) % 2 == 0 { 255.0 } else { 60.0 };
        let alpha = f32::from(pixel[3]) / 255.0;
        [0, 1, 2].map(|channel| (f32::from(pixel[channel]) * alpha + ground * (1.0 - alpha)) as u8)
    });
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = png::Encoder::new(file, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&pixels.collect::<Vec<_>>()).unwrap();
}

fn reason_of(name: &str, scene: &Scene) -> Reason {
    let (picture, _) = scene.draw();
    match remove_background(picture.clone()) {
        Removal::KeptWhole { picture: kept, reason } => {
            assert_eq!(kept, picture, "{name}: what is kept whole is not touched");
            reason
        }
        Removal::Cut { picture, background_share } => {
            show(&picture, &format!("{}/cut-{}.png", std::env::temp_dir().display(), name.replace(' ', "-")));
            panic!("{name}: cut, {background_share} of it")
        }
    }
}

fn uneven([x, y, z]: [f32; 3], (right, down): Point) -> [f32; 3] {
    let light = 1.0 - 0.16 * right - 0.12 * down + 0.05 * right * down;
    [x * light, y * light, z * light]
}

/// Returns a value that differs between squares of a grid.
fn scatter(x: f32, y: f32) -> f32 {
    let (x, y) = (x.floor() as i32, y.floor() as i32);
    let mixed = (x.wrapping_mul(374_761_393) ^ y.wrapping_mul(668_265_263)).wrapping_mul(1_274_126_177);
    ((mixed >> 16) & 255) as f32
}

#[test]
fn a_garment_on_a_plain_ground_is_cut_out() {
    let scenes = [
        ("blue tee on white", Scene::default()),
        ("noisy jpeg", Scene { noise: 4.0, jpeg: Some(70), ..Scene::default() }),
        (
            "uneven light",
            Scene {
                wall: |place| uneven([226.0, 220.0, 208.0], place),
                noise: 3.0,
                jpeg: Some(80),
                ..Scene::default()
            },
        ),
        ("soft shadow", Scene { shadow: 0.3, noise: 2.0, jpeg: Some(85), ..Scene::default() }),
        (
            "shadow in uneven light",
            Scene {
                wall: |place| uneven([214.0, 205.0, 190.0], place),
                shadow: 0.25,
                noise: 4.0,
                jpeg: Some(75),
                ..Scene::default()
            },
        ),
        (
            "black bag on grey",
            Scene {
                garment: bag,
                cloth: |_| [24.0, 23.0, 25.0],
                wall: |_| [150.0, 152.0, 155.0],
                shadow: 0.2,
                noise: 3.0,
                jpeg: Some(80),
            },
        ),
        (
            "white tee on blue",
            Scene {
                cloth: |_| [238.0, 238.0, 236.0],
                wall: |place| uneven([70.0, 110.0, 160.0], place),
                noise: 3.0,
                ..Scene::default()
            },
        ),
        (
            "two shoes",
            Scene {
                garment: two_shoes,
                cloth: |_| [120.0, 72.0, 44.0],
                shadow: 0.2,
                noise: 3.0,
                jpeg: Some(80),
                ..Scene::default()
            },
        ),
        (
            "white print",
            Scene {
                cloth: |(x, y)| {
                    if (x - 0.5).hypot(y - 0.65) < 0.12 { [226.0, 223.0, 217.0] } else { [30.0, 90.0, 60.0] }
                },
                noise: 2.0,
                jpeg: Some(80),
                ..Scene::default()
            },
        ),
        ("beige on white", Scene { cloth: |_| [200.0, 178.0, 148.0], noise: 2.0, jpeg: Some(85), ..Scene::default() }),
        ("grey on white", Scene { cloth: |_| [168.0, 168.0, 170.0], noise: 2.0, jpeg: Some(85), ..Scene::default() }),
    ];
    let results: Vec<(&str, f64)> = scenes.iter().map(|(name, scene)| (*name, overlap_of(name, scene))).collect();
    assert!(results.iter().all(|(_, overlap)| *overlap >= 0.95), "{results:#?}");
}

#[test]
fn stripes_in_the_colour_of_the_wall_are_never_cut_out_of_a_garment() {
    let stripes = Scene {
        cloth: |(x, y)| if (y * 18.0 + x) as i32 % 2 == 0 { [200.0, 40.0, 40.0] } else { [228.0, 225.0, 219.0] },
        noise: 2.0,
        ..Scene::default()
    };
    assert_eq!(reason_of("stripes like the wall", &stripes), Reason::UnclearEdge);
}

#[test]
fn a_busy_background_is_kept() {
    let scenes = [
        (
            "chequered",
            Scene {
                wall: |(x, y)| if ((x * 14.0) as i32 + (y * 14.0) as i32) % 2 == 0 { [230.0; 3] } else { [150.0; 3] },
                ..Scene::default()
            },
        ),
        (
            "bricks",
            Scene {
                wall: |(x, y)| {
                    let row = (y * 22.0).floor();
                    let is_joint = (y * 22.0).fract() < 0.15 || (x * 9.0 + row * 0.5).fract() < 0.08;
                    if is_joint {
                        [200.0, 195.0, 190.0]
                    } else {
                        [150.0 + scatter(x * 9.0 + row * 0.5, row) * 0.2, 80.0, 65.0]
                    }
                },
                ..Scene::default()
            },
        ),
        ("carpet", Scene { wall: |(x, y)| [110.0 + scatter(x * 160.0, y * 160.0) * 0.45; 3], ..Scene::default() }),
        (
            "dots",
            Scene {
                wall: |(x, y)| {
                    if ((x * 16.0).fract() - 0.5).hypot((y * 16.0).fract() - 0.5) < 0.25 {
                        [60.0, 60.0, 160.0]
                    } else {
                        [235.0; 3]
                    }
                },
                ..Scene::default()
            },
        ),
        (
            "stripes",
            Scene {
                wall: |(x, _)| if (x * 20.0) as i32 % 2 == 0 { [235.0, 230.0, 220.0] } else { [190.0, 200.0, 225.0] },
                ..Scene::default()
            },
        ),
        (
            "two halves",
            Scene {
                wall: |(x, _)| if x < 0.5 { [235.0, 230.0, 220.0] } else { [110.0, 90.0, 70.0] },
                ..Scene::default()
            },
        ),
        (
            "planks",
            Scene {
                wall: |(x, y)| {
                    let plank = (x * 8.0).floor();
                    let grain = (y * 40.0 + scatter(plank, 0.0)).sin() * 14.0;
                    [165.0 + scatter(plank, 3.0) * 0.25 + grain, 120.0 + grain, 80.0 + grain]
                },
                ..Scene::default()
            },
        ),
    ];
    for (name, scene) in &scenes {
        assert_eq!(reason_of(name, scene), Reason::BusyBackground, "{name}");
    }
}

#[test]
fn what_would_be_nonsense_is_kept() {
    let empty = Scene { garment: |_| false, noise: 3.0, ..Scene::default() };
    assert_eq!(reason_of("an empty wall", &empty), Reason::NothingLeft);
    let speck = Scene { garment: |(x, y)| (x - 0.5).hypot(y - 0.6) < 0.01, noise: 3.0, ..Scene::default() };
    assert_eq!(reason_of("a speck", &speck), Reason::NothingLeft);
    let full = Scene { garment: |(x, y)| x > 0.005 && x < 0.995 && y > 0.005 && y < 1.28, ..Scene::default() };
    assert!(matches!(
        reason_of("all garment", &full),
        Reason::NoBackground | Reason::BusyBackground | Reason::NothingLeft
    ));
}

#[test]
fn a_garment_like_its_wall_is_kept_or_right() {
    // White on white, with only slight differences in light: the garment itself must never be cut.
    let like_it = |cloth| Scene { cloth, noise: 3.0, jpeg: Some(80), ..Scene::default() };
    for (name, scene) in [
        ("a shade darker", like_it(|_| [219.0, 216.0, 210.0])),
        ("a little darker", like_it(|_| [212.0, 208.0, 202.0])),
        ("darker", like_it(|_| [200.0, 197.0, 192.0])),
        ("warmer", like_it(|_| [226.0, 219.0, 205.0])),
        ("lit from one side", like_it(|(x, _)| [225.0 - 40.0 * x, 222.0 - 40.0 * x, 216.0 - 40.0 * x])),
    ] {
        let (picture, truth) = scene.draw();
        if let Removal::Cut { picture, .. } = remove_background(picture) {
            let overlap = overlap(&picture, &truth);
            assert!(overlap >= 0.95, "{name}: {overlap}");
        }
    }
}

#[test]
fn what_is_transparent_already_is_left_as_it_is() {
    let (picture, truth) = Scene::default().draw();
    let mut bytes = picture.into_rgba().into_bytes();
    for (pixel, is_garment) in bytes.chunks_exact_mut(4).zip(&truth) {
        pixel[3] = if *is_garment { 255 } else { 0 };
    }
    let picture = Picture::new(WIDTH, HEIGHT, Layout::Rgba, bytes).unwrap();
    let kept = Removal::KeptWhole { picture: picture.clone(), reason: Reason::AlreadyTransparent };
    assert_eq!(remove_background(picture), kept);
}

#[test]
fn pictures_of_any_shape_are_survived() {
    for (width, height) in [(1, 1), (24, 24), (2000, 25), (25, 2000), (3000, 60), (641, 24)] {
        let picture = Picture::new(width, height, Layout::Rgb, vec![128; (width * height * 3) as usize]).unwrap();
        assert!(matches!(remove_background(picture), Removal::KeptWhole { .. }), "{width} {height}");
    }
}

#[test]
fn a_photograph_from_a_phone_is_cut_out() {
    let read = |name: &str| std::fs::read(format!("{}/../../tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let photograph = decode::decode(&read("shirt.jpg"), &Limits::default()).unwrap();
    let truth = decode::decode(&read("shirt-mask.png"), &Limits::default()).unwrap();
    let truth: Vec<bool> = truth.pixels().map(|pixel| pixel[0] > 127).collect();
    let Removal::Cut { picture, .. } = remove_background(photograph) else { panic!("kept whole") };
    if let Some(directory) = option_env!("PLUCKIT_SHOW_REMOVED") {
        show(&picture, &format!("{directory}/shirt.png"));
    }
    let overlap = overlap(&picture, &truth);
    assert!(overlap >= 0.97, "{overlap}");
}
