//! Decoding of text files to UTF-8.
//!
//! UTF-16 is detected by its byte order mark or the zero bytes of ASCII. Other encodings cannot be detected reliably
//! and must be named; the default is UTF-8.

use std::io::{self, BufRead, BufReader, Read};

use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};

const PIECE: usize = 64 * 1024;
const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Decodes `input` to UTF-8 without byte order mark. Invalid UTF-8 is passed through for the readers to report.
pub(super) fn utf8(input: Box<dyn Read + Send>, given: Option<&'static Encoding>) -> Box<dyn BufRead + Send> {
    let mut input = BufReader::with_capacity(PIECE, Begun::new(input));
    let start = input.fill_buf().unwrap_or_default();
    if start.starts_with(UTF_8_MARK) {
        input.consume(UTF_8_MARK.len());
        return Box::new(input);
    }
    let found = match start {
        [0xFF, 0xFE, ..] => Some(UTF_16LE),
        [0xFE, 0xFF, ..] => Some(UTF_16BE),
        _ if given.is_some() => given,
        [first, 0, ..] if *first != 0 => Some(UTF_16LE),
        [0, second, ..] if *second != 0 => Some(UTF_16BE),
        _ => None,
    };
    match found.filter(|encoding| *encoding != UTF_8) {
        Some(encoding) => {
            let decoder = encoding.new_decoder_with_bom_removal();
            Box::new(BufReader::with_capacity(
                PIECE,
                Decoded { input, decoder, text: Vec::new(), read: 0, ended: false },
            ))
        }
        None => Box::new(input),
    }
}

/// Reads at least two bytes first, if available, to detect the encoding.
struct Begun<R> {
    input: R,
    has_begun: bool,
}

impl<R: Read> Begun<R> {
    fn new(input: R) -> Self {
        Self { input, has_begun: false }
    }
}

impl<R: Read> Read for Begun<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = self.input.read(buffer)?;
        while !self.has_begun && (1..UTF_8_MARK.len()).contains(&length) {
            match self.input.read(&mut buffer[length..])? {
                0 => break,
                more => length += more,
            }
        }
        self.has_begun = true;
        Ok(length)
    }
}

/// Decodes another encoding to UTF-8.
struct Decoded<R> {
    input: R,
    decoder: Decoder,
    text: Vec<u8>,
    /// Bytes of `text` that were consumed.
    read: usize,
    ended: bool,
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.text.len() && !self.ended {
            let bytes = self.input.fill_buf()?;
            let is_last = bytes.is_empty();
            self.text.resize(PIECE, 0);
            let (result, taken, written, _) = self.decoder.decode_to_utf8(bytes, &mut self.text, is_last);
            self.text.truncate(written);
            self.read = 0;
            self.input.consume(taken);
            self.ended = is_last && result == CoderResult::InputEmpty;
        }
        let length = buffer.len().min(self.text.len() - self.read);
        buffer[..length].copy_from_slice(&self.text[self.read..self.read + length]);
        self.read += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use encoding_rs::WINDOWS_1252;

    use super::*;

    /// Returns a byte at a time, like a slow pipe.
    struct Slow(Cursor<Vec<u8>>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(1);
            self.0.read(&mut buffer[..most])
        }
    }

    fn read(bytes: &[u8], given: Option<&'static Encoding>) -> Vec<u8> {
        let mut found = Vec::new();
        utf8(Box::new(Slow(Cursor::new(bytes.to_vec()))), given).read_to_end(&mut found).unwrap();
        found
    }

    #[test]
    fn marks_and_zeros_tell_utf_16() {
        let text = "id;brand\r\n1;Sézane 👗\r\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for bytes in [&[&b"\xff\xfe"[..], &little].concat(), &little, &[&b"\xfe\xff"[..], &big].concat(), &big] {
            assert_eq!(read(bytes, None), text.as_bytes());
        }
        assert_eq!(read(&[UTF_8_MARK, text.as_bytes()].concat(), Some(WINDOWS_1252)), text.as_bytes());
        assert_eq!(read(b"S\xe9zane", Some(WINDOWS_1252)), "Sézane".as_bytes());
        assert_eq!(read(b"S\xe9zane", None), b"S\xe9zane");
        assert_eq!((read(b"", None), read(b"a", None)), (vec![], b"a".to_vec()));
    }
}
