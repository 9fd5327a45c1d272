//! Splits the body of a streamed answer into lines.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::transport::{DONE, Fault, WHOLE_LIMIT_BYTES};

/// Longest stream. A token takes about 300 bytes, so no answer reaches this.
const STREAM_LIMIT_BYTES: usize = 64 << 20;
/// Longest line of a stream: one chunk, possibly with a complete tool call.
const LINE_LIMIT_BYTES: usize = 1 << 20;
/// Bytes of complete lines passed on together, unless one is longer.
const LINES_AT_A_TIME_BYTES: usize = 4096;

/// Splits a body into lines of bounded length, ended by line feeds and valid UTF-8.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) ready: VecDeque<Bytes>,
    partial: Vec<u8>,
    received: usize,
    after_return: bool,
    /// Kind of the body: unknown, events, or JSON from a server that does not stream.
    is_json: Option<bool>,
    pub(super) is_over: bool,
}

impl Lines {
    /// Adds a chunk of the body.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<(), Fault> {
        self.received += piece.len();
        if self.received > STREAM_LIMIT_BYTES {
            return Err(Fault::TooLarge(STREAM_LIMIT_BYTES));
        }
        let fresh = self.partial.len();
        for byte in piece {
            match byte {
                b'\n' if self.after_return => {}
                b'\n' | b'\r' => self.partial.push(b'\n'),
                other => self.partial.push(*other),
            }
            self.after_return = *byte == b'\r';
        }
        let Some(last) = self.partial[fresh..].iter().rposition(|byte| *byte == b'\n') else {
            let limit = if self.is_json() { WHOLE_LIMIT_BYTES } else { LINE_LIMIT_BYTES };
            return if self.partial.len() > limit { Err(Fault::TooLarge(limit)) } else { Ok(()) };
        };
        let rest = self.partial.split_off(fresh + last + 1);
        let lines = std::mem::replace(&mut self.partial, rest);
        self.hand_on(&lines);
        Ok(())
    }

    /// Ends the body. An incomplete line is dropped.
    pub(super) fn end(&mut self) {
        self.is_over = true;
        let is_json = self.is_json();
        let mut last = std::mem::take(&mut self.partial);
        let data = last.strip_prefix(b"data:").map(<[u8]>::trim_ascii);
        let is_whole = |data: &[u8]| data == DONE || serde_json::from_slice::<&RawValue>(data).is_ok();
        if is_json || data.is_some_and(is_whole) {
            last.push(b'\n');
            self.hand_on(&last);
        }
        // An empty line ends the last event.
        self.ready.push_back(Bytes::from_static(b"\n"));
    }

    fn hand_on(&mut self, lines: &[u8]) {
        let text = String::from_utf8_lossy(lines);
        let mut group = Vec::new();
        for line in text.split_inclusive('\n') {
            let line = match self.is_json {
                None => line.trim_start_matches('\u{feff}'),
                Some(_) => line,
            };
            if self.is_json.is_none() && !line.trim().is_empty() {
                self.is_json = Some(line.trim_start().starts_with('{'));
            }
            if self.is_json == Some(true) {
                group.extend_from_slice(b"data: ");
            }
            group.extend_from_slice(line.as_bytes());
            if group.len() >= LINES_AT_A_TIME_BYTES {
                self.ready.push_back(std::mem::take(&mut group).into());
            }
        }
        if !group.is_empty() {
            self.ready.push_back(group.into());
        }
    }

    fn is_json(&self) -> bool {
        self.is_json.unwrap_or_else(|| self.partial.trim_ascii_start().starts_with(b"{"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is passed on of a body received in these chunks.
    fn handed_on(pieces: &[&[u8]]) -> Result<String, Fault> {
        let mut lines = Lines::default();
        for piece in pieces {
            lines.take(piece)?;
        }
        lines.end();
        Ok(lines.ready.iter().map(|lines| std::str::from_utf8(lines).unwrap()).collect())
    }

    #[test]
    fn a_body_is_cut_into_clean_lines() {
        let cases: [(&[&[u8]], &str); 10] = [
            (&[b"data: 1\n\ndata", b": 2\n\n"], "data: 1\n\ndata: 2\n\n\n"),
            (&[b"data: 1\r\n\r", b"\ndata: 2\r\r"], "data: 1\n\ndata: 2\n\n\n"),
            (&[b"\xef\xbb", b"\xbfdata: 1\n\n"], "data: 1\n\n\n"),
            (&[b"data: \"\xc3", b"\xbc\"\n\n"], "data: \"\u{fc}\"\n\n\n"),
            (&[b"data: \"\xc3\"\n\n"], "data: \"\u{fffd}\"\n\n\n"),
            (&[b"data: 1\n\ndata: [DONE]"], "data: 1\n\ndata: [DONE]\n\n"),
            (&[b"data: {\"a\":1}"], "data: {\"a\":1}\n\n"),
            (&[b"data: {\"a\":"], "\n"),
            (&[b"\n{\n \"a\":", b"1}"], "\ndata: {\ndata:  \"a\":1}\n\n"),
            (&[b"{}"], "data: {}\n\n"),
        ];
        for (pieces, expected) in cases {
            assert_eq!(handed_on(pieces).unwrap(), expected, "{pieces:?}");
        }
    }

    #[test]
    fn endless_lines_and_streams_are_cut_off() {
        assert!(matches!(handed_on(&[&vec![b'x'; LINE_LIMIT_BYTES + 1]]), Err(Fault::TooLarge(LINE_LIMIT_BYTES))));
        let mut lines = Lines { received: STREAM_LIMIT_BYTES, ..Lines::default() };
        assert!(matches!(lines.take(b"\n"), Err(Fault::TooLarge(STREAM_LIMIT_BYTES))));
    }
}
