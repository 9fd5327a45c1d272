//! Files that somebody sends to take the service down, or by mistake: what each is, and whether it may be decoded.

/// A file that is no proper picture.
pub struct Hostile {
    /// What is wrong with it.
    pub name: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What may become of it.
    pub fate: Fate,
}

/// What may become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is refused as no picture, or a broken one.
    Refused,
    /// It is refused because it says that it is huge.
    TooLarge,
    /// There is a picture in it, which may be decoded; what else there is must do no harm.
    Harmless,
}

use Fate::{Harmless, Refused, TooLarge};

/// All of them. `picture` reads a proper file of `tests/data`.
#[expect(clippy::too_many_lines, reason = "a list")]
pub fn files(picture: impl Fn(&str) -> Vec<u8>) -> Vec<Hostile> {
    let mut files = Vec::new();
    let mut add = |name: &'static str, fate: Fate, bytes: Vec<u8>| files.push(Hostile { name, bytes, fate });
    let cut = |name: &str, part: usize| {
        let bytes = picture(name);
        bytes[..bytes.len() * part / 100].to_vec()
    };
    let with = |name: &str, more: &[u8]| [&picture(name)[..], more].concat();

    // Not pictures at all, whatever they are called.
    add("empty", Refused, Vec::new());
    add("one byte", Refused, vec![0xFF]);
    add("zeros", Refused, vec![0; 1 << 20]);
    add("a web page", Refused, b"<!doctype html><title>404</title>".repeat(50));
    add(
        "an SVG",
        Refused,
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>".to_vec(),
    );
    add("a zip called photo.jpg", Refused, zip());
    add("a PDF", Refused, b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n1 0 obj<</Type/Catalog>>endobj".to_vec());
    add("a program", Refused, [b"\x7FELF\x02\x01\x01".as_slice(), &[0; 4096]].concat());
    add("a film", Refused, [&[0, 0, 0, 24], b"ftypmp42".as_slice(), &[0; 4096]].concat());
    add("an AVIF", Refused, [&[0, 0, 0, 24], b"ftypavif\0\0\0\0avifmif1".as_slice(), &[0; 4096]].concat());
    add("more than 20 MiB", TooLarge, with("orientation-1.jpg", &vec![0; 21 << 20]));

    // PNG.
    let rows = |width: u32, height: u32| deflate_zeros(u64::from(height) * (u64::from(width) * 3 + 1));
    add("PNG: 50,000 × 50,000", TooLarge, png(50_000, 50_000, 8, 2, &[], &deflate_zeros(1 << 20)));
    add("PNG: 4,294,967,295 wide", Refused, png(u32::MAX, 1, 8, 2, &[], &rows(1, 1)));
    add("PNG: 2,147,483,647 × 2,147,483,647", TooLarge, png(0x7FFF_FFFF, 0x7FFF_FFFF, 16, 6, &[], &rows(1, 1)));
    add("PNG: 49 megapixels of 16 bits, and no data", Refused, png(7000, 7000, 16, 6, &[], &[]));
    add("PNG: 49 megapixels, interlaced, and no data", Refused, interlaced(7000, 7000));
    add("PNG: no width", Refused, png(0, 100, 8, 2, &[], &rows(1, 1)));
    add("PNG: no height", Refused, png(100, 0, 8, 2, &[], &rows(1, 1)));
    add("PNG: cut off", Refused, cut("alpha.png", 50));
    add("PNG: only its first bytes", Refused, b"\x89PNG\r\n\x1a\n".to_vec());
    add("PNG: header with a wrong checksum", Refused, {
        let mut bytes = picture("alpha.png");
        bytes[17] ^= 1;
        bytes
    });
    add("PNG: palette missing", Refused, png(10, 10, 8, 3, &[], &rows(10, 10)));
    add("PNG: a kind of colour that does not exist", Refused, png(10, 10, 8, 5, &[], &rows(10, 10)));
    let profile = [b"icc\0\0".as_slice(), &deflate_zeros(256 << 20)].concat();
    add("PNG: a profile of 256 MiB", Harmless, png(8, 8, 8, 2, &[(b"iCCP", &profile)], &rows(8, 8)));
    let comment = [b"Comment\0\0".as_slice(), &deflate_zeros(256 << 20)].concat();
    add("PNG: a text of 256 MiB", Harmless, png(8, 8, 8, 2, &[(b"zTXt", &comment)], &rows(8, 8)));
    add("PNG: data for a thousand pictures", Harmless, png(8, 8, 8, 2, &[], &deflate_zeros(64 << 20)));
    let many: Vec<(&[u8; 4], &[u8])> = vec![(b"tEXt", b"a\0b"); 20_000];
    add("PNG: 20,000 texts", Harmless, png(8, 8, 8, 2, &many, &rows(8, 8)));
    add("PNG and zip in one", Harmless, with("alpha.png", &zip()));

    // JPEG.
    add("JPEG: cut off", Refused, cut("orientation-1.jpg", 60));
    add("JPEG: progressive, cut off", Refused, cut("progressive.jpg", 60));
    add("JPEG: only start and end", Refused, vec![0xFF, 0xD8, 0xFF, 0xD9]);
    add("JPEG: noise after the start", Refused, {
        [
            &[0xFF, 0xD8, 0xFF],
            &(0..50_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>()[..],
        ]
        .concat()
    });
    add("JPEG: 65,535 × 65,535", TooLarge, resized_jpeg(&picture("orientation-1.jpg"), 0xFFFF, 0xFFFF));
    add("JPEG: no height", Refused, resized_jpeg(&picture("orientation-1.jpg"), 240, 0));
    add("JPEG: ten thousand scans", Refused, many_scans(&picture("progressive.jpg"), 10_000));
    add(
        "JPEG: profiles in profiles",
        Harmless,
        with_segments(&picture("orientation-1.jpg"), 0xE2, b"ICC_PROFILE\0\x01\xFF", 250),
    );
    add("JPEG: EXIF that points to itself", Harmless, {
        let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\x08\0\0\0";
        with_segments(&picture("grey.jpg"), 0xE1, exif, 1)
    });
    add("JPEG and zip in one", Harmless, with("orientation-1.jpg", &zip()));

    // GIF.
    add("GIF: 65,535 × 65,535", TooLarge, gif(0xFFFF, 0xFFFF, (1, 1), 1));
    add("GIF: a frame larger than the picture", Refused, gif(1, 1, (0xFFFF, 0xFFFF), 1));
    add("GIF: no frames", Refused, gif(100, 100, (1, 1), 0));
    add("GIF: no width", Refused, gif(0, 100, (1, 1), 1));
    add("GIF: cut off", Refused, cut("animated.gif", 20));
    add("GIF: 10,000 frames", Harmless, gif(1, 1, (1, 1), 10_000));

    // WebP.
    add("WebP: cut off", Refused, cut("lossy.webp", 50));
    add("WebP: lossless, cut off", Refused, cut("alpha.webp", 50));
    add("WebP: 16,777,216 × 16,777,216, more than the format allows", Refused, {
        riff(&[(b"VP8X", &[0x10, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), (b"VP8L", &[0x2F, 0, 0, 0, 0])])
    });
    add("WebP: lossless, 16,383 × 16,383", TooLarge, riff(&[(b"VP8L", &[0x2F, 0xFE, 0xBF, 0xFF, 0x0F, 0, 0, 0])]));
    add(
        "WebP: a chunk of 4 GiB",
        Refused,
        [b"RIFF\xFF\xFF\xFF\xFFWEBPVP8 \xFF\xFF\xFF\xFF".as_slice(), &[0; 64]].concat(),
    );

    // BMP.
    add("BMP: 50,000 × 50,000", TooLarge, bmp(50_000, 50_000));
    add("BMP: the least height there is", Refused, bmp(10, i32::MIN));
    add("BMP: negative width", Refused, bmp(-10, 10));
    add("BMP: no size", Refused, bmp(0, 0));
    add("BMP: cut off", Refused, cut("plain.bmp", 50));
    add("BMP: 49 megapixels, and no data", Refused, bmp(7000, 7000));

    // TIFF.
    let strip = [(273, 4, 1, 8), (279, 4, 1, 100)];
    add("TIFF: 100,000 × 100,000", TooLarge, tiff(100_000, 100_000, &strip));
    add("TIFF: no width", Refused, tiff(0, 100, &strip));
    add("TIFF: four billion strips", Refused, tiff(100, 100, &[(273, 4, u32::MAX, 8), (279, 4, u32::MAX, 8)]));
    add("TIFF: a strip of 4 GiB", Refused, tiff(7000, 7000, &[(273, 4, 1, 8), (279, 4, 1, u32::MAX)]));
    add("TIFF: a directory outside the file", Refused, b"II*\0\xFF\xFF\xFF\x7F".to_vec());
    add("TIFF: a directory that is itself", Refused, b"II*\0\0\0\0\0".to_vec());
    add("TIFF: cut off", Refused, cut("lzw.tiff", 50));

    // HEIC.
    add("HEIC: cut off", Refused, cut("plain.heic", 60));
    add("HEIC: only its first box", Refused, [&[0, 0, 0, 16], b"ftypheic\0\0\0\0".as_slice()].concat());
    add("HEIC: 4,294,967,295 × 4,294,967,295", TooLarge, {
        let mut bytes = picture("plain.heic");
        let place = bytes.windows(4).position(|four| four == b"ispe").unwrap() + 8;
        bytes[place..place + 8].fill(0xFF);
        bytes
    });
    add("HEIC: boxes in boxes in boxes", Refused, {
        let mut bytes = [&[0, 0, 0, 16], b"ftypheic\0\0\0\0".as_slice()].concat();
        for depth in (1..20_000_u32).rev() {
            bytes.extend((depth * 12).to_be_bytes());
            bytes.extend(b"meta\0\0\0\0");
        }
        bytes
    });
    add("HEIC: boxes without an end", Refused, {
        [&[0, 0, 0, 16], b"ftypheic\0\0\0\0".as_slice(), &b"\0\0\0\0meta\0\0\0\0".repeat(10_000)].concat()
    });
    let tile = picture("plain.heic");
    add("HEIC: one tile, 65,025 times", TooLarge, heic_grid(&tile, 255, &[]));
    add("HEIC: one tile of 8 MiB, 900 times", TooLarge, heic_grid(&tile, 30, &vec![0x55; 8 << 20]));
    files
}

fn zip() -> Vec<u8> {
    let local = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0a.php";
    let end = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    [&local[..], end].concat()
}

/// A zlib stream that unpacks to so many zeros: one zero, and then copies of 258 bytes, each of 13 bits.
fn deflate_zeros(count: u64) -> Vec<u8> {
    let mut bytes = vec![0x78, 0x01];
    let (mut held, mut bits) = (0_u64, 0);
    let mut put = |value: u64, width: u32| {
        held |= value << bits;
        bits += width;
        while bits >= 8 {
            bytes.push((held & 255) as u8);
            held >>= 8;
            bits -= 8;
        }
    };
    // The last block, with the fixed codes, which are written from their highest bit.
    put(0b011, 3);
    let literal = u64::from(0x30_u8.reverse_bits());
    let copy = u64::from(0b1100_0101_u8.reverse_bits());
    put(literal, 8);
    let copies = count.saturating_sub(1) / 258;
    for _ in 0..copies {
        put(copy, 13);
    }
    for _ in 0..count.saturating_sub(1) % 258 {
        put(literal, 8);
    }
    put(0, 7);
    put(0, 7);
    // The checksum (Adler-32): of zeros, its lower half stays 1 and its upper half counts them.
    bytes.extend((((count % 65_521) as u32) << 16 | 1).to_be_bytes());
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|number| {
        (0..8).fold(number as u32, |value, _| if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 })
    });
    !bytes.iter().fold(!0, |sum, byte| table[usize::from((sum as u8) ^ byte)] ^ (sum >> 8))
}

fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind.as_slice(), data].concat();
    [&(data.len() as u32).to_be_bytes()[..], &body, &crc(&body).to_be_bytes()].concat()
}

fn png(width: u32, height: u32, depth: u8, colour: u8, extra: &[(&[u8; 4], &[u8])], data: &[u8]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, colour, 0, 0, 0]].concat();
    let mut bytes = [b"\x89PNG\r\n\x1a\n".as_slice(), &png_chunk(b"IHDR", &header)].concat();
    for (kind, data) in extra {
        bytes.extend(png_chunk(kind, data));
    }
    if !data.is_empty() {
        bytes.extend(png_chunk(b"IDAT", data));
    }
    bytes.extend(png_chunk(b"IEND", &[]));
    bytes
}

fn interlaced(width: u32, height: u32) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 1]].concat();
    let data = png_chunk(b"IDAT", &deflate_zeros(1000));
    [b"\x89PNG\r\n\x1a\n".as_slice(), &png_chunk(b"IHDR", &header), &data].concat()
}

/// Where the frame's segment begins: at its marker.
fn jpeg_frame(bytes: &[u8]) -> usize {
    bytes.windows(4).position(|four| four[0] == 0xFF && matches!(four[1], 0xC0 | 0xC2) && four[2] == 0).unwrap()
}

fn resized_jpeg(bytes: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let frame = jpeg_frame(&bytes);
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

/// The last scan of a progressive picture, again and again.
fn many_scans(bytes: &[u8], count: usize) -> Vec<u8> {
    let last = bytes.windows(2).rposition(|two| two == [0xFF, 0xDA]).unwrap();
    let end = bytes.len() - 2;
    [&bytes[..end], &bytes[last..end].repeat(count), &bytes[end..]].concat()
}

fn with_segments(bytes: &[u8], marker: u8, begin: &[u8], count: usize) -> Vec<u8> {
    let length = 2 + begin.len() + 60_000 / count.max(2);
    let mut segment = vec![0xFF, marker, (length >> 8) as u8, (length & 255) as u8];
    segment.extend(begin);
    segment.resize(2 + length, 0x2A);
    [&bytes[..2], &segment.repeat(count), &bytes[2..]].concat()
}

fn gif(width: u16, height: u16, frame: (u16, u16), frames: usize) -> Vec<u8> {
    let mut bytes = b"GIF89a".to_vec();
    bytes.extend([width.to_le_bytes(), height.to_le_bytes()].concat());
    bytes.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255]);
    let mut image = vec![0x2C, 0, 0, 0, 0];
    image.extend([frame.0.to_le_bytes(), frame.1.to_le_bytes()].concat());
    // One pixel: clear, 0, end.
    image.extend([0, 2, 2, 0x44, 0x01, 0]);
    bytes.extend(image.repeat(frames));
    bytes.push(0x3B);
    bytes
}

fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (kind, data) in chunks {
        body.extend([kind.as_slice(), &(data.len() as u32).to_le_bytes(), data].concat());
        if data.len() % 2 == 1 {
            body.push(0);
        }
    }
    [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
}

fn bmp(width: i32, height: i32) -> Vec<u8> {
    let mut bytes = b"BM\x76\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bytes.extend([width.to_le_bytes(), height.to_le_bytes()].concat());
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    bytes.extend([7; 64]);
    bytes
}

/// An RGB picture whose further entries are tag, type, count and value.
fn tiff(width: u32, height: u32, more: &[(u16, u16, u32, u32)]) -> Vec<u8> {
    let mut entries = vec![(256, 4, 1, width), (257, 4, 1, height), (259, 3, 1, 1), (262, 3, 1, 1)];
    entries.extend([(258, 3, 1, 8), (277, 3, 1, 1), (278, 4, 1, height)]);
    entries.extend(more);
    entries.sort_unstable();
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes
            .extend([&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &value.to_le_bytes()].concat());
    }
    bytes.extend([0; 16]);
    bytes
}

fn heic_box(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, &body].concat()
}

/// A picture of 1000 × 1000 pixels whose `side` × `side` tiles are all the same one: that of `picture`, with more data
/// behind it.
fn heic_grid(picture: &[u8], side: u8, more: &[u8]) -> Vec<u8> {
    let content = |kind: &[u8; 4]| {
        let place = picture.windows(4).position(|four| four == kind).unwrap();
        let length = u32::from_be_bytes(picture[place - 4..place].try_into().unwrap()) as usize;
        &picture[place + 4..place - 4 + length]
    };
    let start = heic_box(b"ftyp", &[b"heic\0\0\0\0mif1heic"]);
    let count = u16::from(side) * u16::from(side);
    let size = |side: u32| heic_box(b"ispe", &[&[0; 4], &side.to_be_bytes(), &side.to_be_bytes()]);
    let item = |id: u8, kind: &[u8; 4]| heic_box(b"infe", &[&[2, 0, 0, 0, 0, id, 0, 0], kind, &[0]]);
    let grid = [&[0, 0, side - 1, side - 1][..], &1000_u16.to_be_bytes(), &1000_u16.to_be_bytes()].concat();
    let unit = [0x26, 0x01, 0x55, 0x55];
    let tile = [&((unit.len() + more.len()) as u32).to_be_bytes()[..], &unit, more].concat();
    let meta = |data: u32| {
        let place = |id: u8, offset: u32, length: usize| {
            [&[0, id, 0, 0, 0, 1][..], &offset.to_be_bytes(), &(length as u32).to_be_bytes()].concat()
        };
        let tiles = [0, 2].repeat(usize::from(count));
        heic_box(
            b"meta",
            &[
                &[0; 4],
                &heic_box(b"hdlr", &[&[0; 8], b"pict", &[0; 13]]),
                &heic_box(b"pitm", &[&[0, 0, 0, 0, 0, 1]]),
                &heic_box(b"iinf", &[&[0, 0, 0, 0, 0, 2], &item(1, b"grid"), &item(2, b"hvc1")]),
                &heic_box(b"iref", &[&[0; 4], &heic_box(b"dimg", &[&[0, 1], &count.to_be_bytes(), &tiles])]),
                &heic_box(
                    b"iprp",
                    &[
                        &heic_box(b"ipco", &[&size(1000), &heic_box(b"hvcC", &[content(b"hvcC")]), &size(64)]),
                        &heic_box(b"ipma", &[&[0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 1, 1, 0, 2, 2, 2, 3]]),
                    ],
                ),
                &heic_box(
                    b"iloc",
                    &[
                        &[0, 0, 0, 0, 0x44, 0, 0, 2],
                        &place(1, data, grid.len()),
                        &place(2, data + grid.len() as u32, tile.len()),
                    ],
                ),
            ],
        )
    };
    let data = start.len() + meta(0).len() + 8;
    [start, meta(data as u32), heic_box(b"mdat", &[&grid, &tile])].concat()
}
