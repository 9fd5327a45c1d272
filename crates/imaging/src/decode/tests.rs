//! Decodes pictures of other encoders (listed in tests/data/README.md) and checks their pixels.

use super::*;

const RED: [u8; 3] = [200, 30, 30];
const GREEN: [u8; 3] = [30, 160, 40];
const BLUE: [u8; 3] = [30, 40, 190];
const WHITE: [u8; 3] = [240, 240, 240];

fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/../../tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn decoded(name: &str) -> Picture {
    decode(&file(name), &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

/// Returns the pixel in the middle of each quarter: top left, top right, bottom left, bottom right.
fn quarters(picture: &Picture) -> [[u8; 3]; 4] {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    [(1, 1), (3, 1), (1, 3), (3, 3)].map(|(x, y)| {
        let pixel = picture.pixels().nth(y * height / 4 * width + x * width / 4).unwrap();
        [pixel[0], pixel[1], pixel[2]]
    })
}

fn assert_scene(name: &str, picture: &Picture, tolerance: u8) {
    let found = quarters(picture);
    for (found, expected) in found.iter().zip([RED, GREEN, BLUE, WHITE]) {
        let is_near = found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= tolerance);
        assert!(is_near, "{name}: {found:?} is not {expected:?}");
    }
}

#[test]
fn every_format_shows_the_same_scene() {
    for (name, format, tolerance) in [
        ("orientation-1.jpg", Format::Jpeg, 4),
        ("progressive.jpg", Format::Jpeg, 4),
        ("restarts.jpg", Format::Jpeg, 6),
        ("cmyk.jpg", Format::Jpeg, 8),
        ("palette.png", Format::Png, 2),
        ("sixteen-bit.png", Format::Png, 0),
        ("lossy.webp", Format::WebP, 6),
        ("animated.webp", Format::WebP, 10),
        ("animated.gif", Format::Gif, 4),
        ("plain.bmp", Format::Bmp, 0),
        ("lzw.tiff", Format::Tiff, 0),
        ("plain.heic", Format::Heic, 6),
        ("ten-bit.heic", Format::Heic, 12),
    ] {
        assert_eq!(Format::of(&file(name)), Some(format), "{name}");
        let picture = decoded(name);
        assert!(matches!((picture.width(), picture.height()), (240, 180) | (120, 90)), "{name}");
        assert!(picture.transparent_share() < 1e-9, "{name}");
        assert_scene(name, &picture, tolerance);
    }
}

#[test]
fn all_eight_orientations_come_out_upright() {
    for value in 1..=8 {
        let name = format!("orientation-{value}.jpg");
        let picture = decoded(&name);
        assert_eq!((picture.width(), picture.height()), (240, 180), "{name}");
        assert_scene(&name, &picture, 5);
        let small = decode_to_fit(&file(&name), &Limits::default(), 120).unwrap();
        assert_eq!((small.width(), small.height()), (120, 90), "{name}");
        assert_scene(&name, &small, 5);
    }
}

#[test]
fn a_heic_is_turned_once() {
    // Both its container and its EXIF contain the orientation.
    let picture = decoded("turned.heic");
    assert_eq!((picture.width(), picture.height()), (240, 180));
    assert_scene("turned.heic", &picture, 6);
}

#[test]
fn grey_pictures_become_rgb() {
    for name in ["grey.jpg", "grey.png"] {
        let picture = decoded(name);
        assert_eq!(picture.layout(), Layout::Rgb, "{name}");
        assert!(picture.pixels().all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]), "{name}");
        let [red, _, _, white] = quarters(&picture);
        assert!(red[0].abs_diff(81) < 4 && white[0].abs_diff(240) < 4, "{name}: {red:?} {white:?}");
    }
}

#[test]
fn alpha_is_kept() {
    for name in ["alpha.png", "alpha.webp", "alpha.heic"] {
        let picture = decoded(name);
        assert!(picture.has_alpha(), "{name}");
        let alpha = |x: usize, y: usize| picture.bytes()[(y * 240 + x) * 4 + 3];
        assert!(alpha(3, 3) < 3 && alpha(120, 90) > 252 && alpha(230, 170) < 3, "{name}");
        assert!((picture.transparent_share() - 0.68).abs() < 0.02, "{name}: {}", picture.transparent_share());
    }
}

#[test]
fn limits_hold_before_anything_is_decoded() {
    let bytes = file("orientation-1.jpg");
    let refuse = |limits: Limits| decode(&bytes, &limits).unwrap_err();
    let limits = Limits::default;
    assert!(matches!(refuse(Limits { bytes: 100, ..limits() }), Error::TooLarge { limit: 100, .. }));
    for limits in [
        Limits { pixels: 240 * 180 - 1, ..limits() },
        Limits { side: 239, ..limits() },
        Limits { decoder_bytes: bytes.len() as u64 + 240 * 180 * 3 - 1, ..limits() },
    ] {
        assert!(matches!(refuse(limits), Error::TooManyPixels { width: 240, height: 180 }));
    }
    // Coefficients of a progressive picture are held until its end.
    let enough = Limits { decoder_bytes: 3000 + 240 * 180 * 4, ..limits() };
    assert!(decode(&bytes, &enough).is_ok());
    assert!(matches!(decode(&file("progressive.jpg"), &enough), Err(Error::TooManyPixels { .. })));
    for name in ["sixteen-bit.png", "lossy.webp", "animated.gif", "lzw.tiff", "plain.heic"] {
        let limits = Limits { pixels: 1000, ..limits() };
        assert!(matches!(decode(&file(name), &limits), Err(Error::TooManyPixels { .. })), "{name}");
    }
}

#[test]
fn every_cut_off_file_is_refused() {
    for name in [
        "orientation-1.jpg",
        "progressive.jpg",
        "alpha.png",
        "sixteen-bit.png",
        "lossy.webp",
        "alpha.webp",
        "animated.gif",
        "plain.bmp",
        "lzw.tiff",
        "plain.heic",
    ] {
        let bytes = file(name);
        // All but the last frame's worth of a GIF or TIFF directory: half of the file is never a whole picture.
        for length in [bytes.len() / 4, bytes.len() / 3, bytes.len() / 8, 16, 3] {
            let refused = decode(&bytes[..length], &Limits::default());
            assert!(matches!(refused, Err(Error::Corrupt(_) | Error::Unsupported(_))), "{name}, {length} bytes");
        }
    }
}

#[test]
fn damaged_files_never_panic() {
    // Feed every decoder a few thousand corrupted files, always the same ones.
    let mut state = 1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    for name in [
        "orientation-6.jpg",
        "progressive.jpg",
        "cmyk.jpg",
        "alpha.png",
        "palette.png",
        "lossy.webp",
        "alpha.webp",
        "animated.gif",
        "lzw.tiff",
        "alpha.heic",
        "turned.heic",
    ] {
        let whole = file(name);
        for _ in 0..150 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random() % 4 {
                let place = random() % bytes.len().min(1200);
                bytes[place] = u8::try_from(random() % 256).unwrap();
            }
            let limits = Limits { pixels: 200_000, decoder_bytes: 20 << 20, ..Limits::default() };
            // Whether it can still be decoded depends on the byte.
            drop(decode(&bytes, &limits));
        }
    }
}

/// EXIF with nothing but an orientation: of this byte order, with these bytes as type and value.
fn exif(is_little: bool, kind: u16, value: [u8; 4], directory: u32) -> Vec<u8> {
    let short = |number: u16| if is_little { number.to_le_bytes() } else { number.to_be_bytes() };
    let long = |number: u32| if is_little { number.to_le_bytes() } else { number.to_be_bytes() };
    let mut bytes = if is_little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
    bytes.extend(long(directory));
    bytes.resize(directory as usize, 0);
    bytes.extend([short(2), short(0x0100), short(4)].concat());
    bytes.extend([long(1), long(240)].concat());
    bytes.extend([short(0x0112), short(kind)].concat());
    bytes.extend(long(1));
    bytes.extend(value);
    bytes
}

#[test]
fn exif_of_all_writers_tells_the_orientation() {
    let turned = Some(Orientation::Rotate90);
    for directory in [8, 9, 30] {
        assert_eq!(exif_orientation(&exif(true, 3, [6, 0, 0, 0], directory)), turned);
        assert_eq!(exif_orientation(&exif(false, 3, [0, 6, 0, 0], directory)), turned);
        assert_eq!(exif_orientation(&exif(true, 4, [6, 0, 0, 0], directory)), turned);
        assert_eq!(exif_orientation(&exif(false, 4, [0, 0, 0, 6], directory)), turned);
        assert_eq!(exif_orientation(&exif(true, 1, [6, 0, 0, 0], directory)), turned);
    }
    let named = [b"Exif\0\0", &exif(true, 3, [6, 0, 0, 0], 8)[..]].concat();
    assert_eq!(exif_orientation(&named), turned);
    assert_eq!(exif_orientation(&exif(true, 3, [9, 0, 0, 0], 8)), None);
    assert_eq!(exif_orientation(&exif(true, 2, [6, 0, 0, 0], 8)), None);
    for length in 0..named.len() {
        let found = exif_orientation(&named[..length]);
        assert!(found.is_none() || length >= named.len() - 2, "{length}");
    }
}

#[test]
fn a_webp_is_turned_as_its_exif_says_whatever_stands_before_it() {
    // An extended file around the picture of a simple one, with EXIF.
    let simple = file("lossy.webp");
    let bare = exif(true, 3, [6, 0, 0, 0], 8);
    for exif in [bare.clone(), [b"Exif\0\0", &bare[..]].concat()] {
        let chunk = |name: &[u8; 4], data: &[u8]| {
            let length = u32::try_from(data.len()).unwrap().to_le_bytes();
            [name, &length[..], data, &vec![0; data.len() % 2]].concat()
        };
        // Flags of EXIF, and width and height less one.
        let head = chunk(b"VP8X", &[0x08, 0, 0, 0, 239, 0, 0, 179, 0, 0]);
        let start = simple.windows(4).position(|name| name == b"VP8 ").unwrap();
        let length = u32::from_le_bytes(simple[start + 4..start + 8].try_into().unwrap()) as usize;
        let body =
            [&b"WEBP"[..], &head, &chunk(b"VP8 ", &simple[start + 8..start + 8 + length]), &chunk(b"EXIF", &exif)]
                .concat();
        let webp = [&b"RIFF"[..], &u32::try_from(body.len()).unwrap().to_le_bytes(), &body].concat();
        let picture = decode(&webp, &Limits::default()).unwrap();
        assert_eq!((picture.width(), picture.height()), (180, 240));
    }
}

#[test]
fn a_bigtiff_is_read() {
    // Two pixels, red and blue, as one strip behind the directory.
    let mut bytes = b"II\x2b\0\x08\0\0\0".to_vec();
    bytes.extend(16_u64.to_le_bytes());
    let entries: [(u16, u16, u64, u64); 8] = [
        (256, 4, 1, 2),
        (257, 4, 1, 1),
        (258, 3, 3, 0x0008_0008_0008),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 16, 1, 16 + 8 + 20 * 8 + 8),
        (277, 3, 1, 3),
        (279, 16, 1, 6),
    ];
    bytes.extend((entries.len() as u64).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes
            .extend([&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &value.to_le_bytes()].concat());
    }
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend([255, 0, 0, 0, 0, 255]);
    assert_eq!(Format::of(&bytes), Some(Format::Tiff));
    assert_eq!(decode(&bytes, &Limits::default()).unwrap().bytes(), [255, 0, 0, 0, 0, 255]);
}
