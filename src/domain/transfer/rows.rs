//! Reads the rows of a JSON file one at a time: from a list, one per line, or concatenated.
//!
//! Rows are delimited by their brackets alone, before parsing, so an invalid row does not affect others, and a row that
//! is too long is skipped without being buffered.

use std::io::BufRead;

use serde_json::Value;

use super::{LONGEST_ROW, Row};

/// How the rows of a file are arranged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Not known before the first row has ended.
    Unknown,
    /// In a list. Missing commas are tolerated.
    List,
    /// One row per line: a broken row ends with its line.
    Lines,
    /// Concatenated, each on one or more lines.
    Values,
}

/// Reads the rows of a JSON file.
pub(super) struct Rows<R> {
    input: R,
    layout: Layout,
    /// The line of the next byte, from 1.
    line: u64,
    ended: bool,
}

impl<R: BufRead> Rows<R> {
    /// Creates a reader that detects the layout.
    pub(super) fn new(input: R) -> Self {
        Self { input, layout: Layout::Unknown, line: 1, ended: false }
    }

    /// Rows in lines.
    pub(super) fn of_lines(input: R) -> Self {
        Self { layout: Layout::Lines, ..Self::new(input) }
    }

    fn peek(&mut self) -> std::io::Result<Option<u8>> {
        loop {
            match self.input.fill_buf() {
                Ok(bytes) => return Ok(bytes.first().copied()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn advance(&mut self, byte: u8) {
        self.input.consume(1);
        self.line += u64::from(byte == b'\n');
    }

    /// Reads the next row; `None` at the end of the file.
    fn read(&mut self) -> std::io::Result<Option<Row>> {
        loop {
            let Some(byte) = self.peek()? else {
                self.ended = true;
                let is_open = self.layout == Layout::List;
                return Ok(is_open.then(|| self.fault(self.line, "the list does not end: is the file complete?")));
            };
            match (self.layout, byte) {
                (_, b' ' | b'\t' | b'\r' | b'\n') => self.advance(byte),
                (Layout::Unknown, b'[') => {
                    self.advance(byte);
                    self.layout = Layout::List;
                }
                (Layout::List, b',') => self.advance(byte),
                (Layout::List, b']') => {
                    self.advance(byte);
                    return self.read_end();
                }
                (Layout::Lines, _) => return self.read_line().map(Some),
                (Layout::Unknown | Layout::List | Layout::Values, _) => return self.read_value().map(Some),
            }
        }
    }

    /// Checks that nothing follows the list.
    fn read_end(&mut self) -> std::io::Result<Option<Row>> {
        self.ended = true;
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(self.fault(self.line, "something follows the list; it was not read")));
            }
            self.advance(byte);
        }
        Ok(None)
    }

    fn read_line(&mut self) -> std::io::Result<Row> {
        let line = self.line;
        let mut text = Text::default();
        while let Some(byte) = self.peek()? {
            self.advance(byte);
            if byte == b'\n' {
                break;
            }
            text.push(byte);
        }
        Ok(text.parse(line))
    }

    /// Reads to the bracket that closes the row.
    fn read_value(&mut self) -> std::io::Result<Row> {
        let line = self.line;
        let mut text = Text::default();
        let mut depth = 0_usize;
        let mut in_string = false;
        let mut escaped = false;
        while let Some(byte) = self.peek()? {
            if !in_string && depth == 0 && text.size > 0 && matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n') {
                break; // the end of something that is no object: left for the next read
            }
            self.advance(byte);
            if in_string {
                text.push(byte);
                if byte == b'\n' {
                    // JSON strings do not span lines, so its end is missing. To save the following rows, end the row if
                    // it began on this line, or else continue outside the string.
                    if self.line == line + 1 {
                        return Ok(text.parse(line));
                    }
                    in_string = false;
                }
                if escaped {
                    escaped = false;
                } else if byte == b'\\' {
                    escaped = true;
                } else if byte == b'"' {
                    in_string = false;
                }
                continue;
            }
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => text.push_blank(),
                _ => text.push(byte),
            }
            match byte {
                b'"' => (in_string, escaped) = (true, false),
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && matches!(byte, b'}' | b']') {
                self.settle_layout()?;
                return Ok(text.parse(line));
            }
        }
        if depth > 0 || in_string {
            self.ended = true;
            return Ok(self.fault(line, "the row does not end: is the file complete?"));
        }
        self.settle_layout()?;
        Ok(text.parse(line))
    }

    /// Detects the layout: a first row that fills its line means one row per line.
    fn settle_layout(&mut self) -> std::io::Result<()> {
        if self.layout != Layout::Unknown {
            return Ok(());
        }
        while let Some(byte @ (b' ' | b'\t' | b'\r')) = self.peek()? {
            self.advance(byte);
        }
        let fills_its_line = self.line == 1 && self.peek()? == Some(b'\n');
        self.layout = if fills_its_line { Layout::Lines } else { Layout::Values };
        Ok(())
    }

    fn fault(&self, line: u64, reason: &str) -> Row {
        Row { line, content: Err(reason.to_owned()), size: 0 }
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.ended {
            return None;
        }
        self.read().unwrap_or_else(|error| {
            self.ended = true;
            Some(self.fault(self.line, &format!("the rest of the file cannot be read: {error}")))
        })
    }
}

/// The text of a row, up to the size limit.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    /// Total length; only the permitted length is buffered.
    size: usize,
}

impl Text {
    fn push(&mut self, byte: u8) {
        self.size += 1;
        if self.size <= LONGEST_ROW {
            self.bytes.push(byte);
        } else {
            self.bytes = Vec::new();
        }
    }

    /// Adds whitespace, which does not count towards the length.
    fn push_blank(&mut self) {
        if self.bytes.last() != Some(&b' ') {
            self.push(b' ');
        }
    }

    fn parse(self, line: u64) -> Row {
        if self.size > LONGEST_ROW {
            return Row { line, content: Err(too_long()), size: 0 };
        }
        if std::str::from_utf8(&self.bytes).is_err() {
            return Row { line, content: Err(not_utf8("it")), size: 0 };
        }
        let content = serde_json::from_slice::<Value>(&self.bytes).map_err(|error| {
            let text = error.to_string();
            // The error's line and column refer to the row without whitespace, so drop them.
            let reason = text.split(" at line ").next().unwrap_or_default();
            format!("not JSON: {reason}")
        });
        Row { line, content, size: self.bytes.len() }
    }
}

/// Returns advice for a text in another encoding.
pub(super) fn not_utf8(what: &str) -> String {
    format!("{what} is not UTF-8: save the file as UTF-8, or name its encoding, as with --encoding windows-1252")
}

pub(super) fn too_long() -> String {
    format!("the row is longer than {LONGEST_ROW} bytes")
}
