//! What the commands print: the one way to standard output and standard error.

use std::io::{self, ErrorKind, IsTerminal, Stdout, Write};

/// The reader of standard output has gone, as `head` does. The command ends, and that is no failure.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads what is printed")]
struct ReaderGone;

/// Whether a command ended because nobody reads what it prints.
pub fn is_reader_gone(error: &anyhow::Error) -> bool {
    let inner = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<io::Error>()?;
        error.get_ref().map(|inner| inner.is::<ReaderGone>())
    };
    error.chain().any(|cause| inner(cause).unwrap_or(false))
}

/// Standard output.
pub struct Output {
    to: Stdout,
    /// What keeps a terminal from being steered by what is printed.
    guard: Option<Guard>,
}

/// Standard output for whatever a command prints. On a terminal, control characters are left out, but for ends of lines and
/// tabs.
pub fn output() -> Output {
    let to = io::stdout();
    Output { guard: to.is_terminal().then(Guard::default), to }
}

/// Standard output for a command that colours what it prints, and leaves control characters out by itself.
pub fn styled() -> Output {
    Output { to: io::stdout(), guard: None }
}

/// Whether a person looks at standard output.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

impl Write for Output {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = match &mut self.guard {
            Some(guard) => self.to.write_all(&guard.filtered(buffer)).map(|()| buffer.len()),
            None => self.to.write(buffer),
        };
        written.map_err(translate)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(translate)
    }
}

fn translate(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::BrokenPipe { io::Error::new(ErrorKind::BrokenPipe, ReaderGone) } else { error }
}

/// Leaves control characters out of a text that comes in pieces: those of ASCII, and those of the C1 set, which have two bytes
/// of which the first may be the last of a piece.
#[derive(Default)]
struct Guard {
    has_first: bool,
}

impl Guard {
    const FIRST: u8 = 0xC2;

    fn filtered(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut kept = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if std::mem::take(&mut self.has_first) {
                if matches!(byte, 0x80..=0x9F) {
                    continue;
                }
                kept.push(Self::FIRST);
            }
            match byte {
                b'\n' | b'\t' => kept.push(*byte),
                0x00..=0x1F | 0x7F => {}
                &Self::FIRST => self.has_first = true,
                _ => kept.push(*byte),
            }
        }
        kept
    }
}

/// One line on standard error, for people and for the Functions host, which takes each for an error. That nobody reads it is no
/// fault: the exit code says it all.
pub fn tell(line: &str) {
    if writeln!(io::stderr(), "{}", one_line(line)).is_err() {}
}

/// One line on standard error about the program itself.
pub fn complain(line: &str) {
    tell(&format!("pluckit: {line}"));
}

/// The text without control characters, but for ends of lines and tabs: what a page, a file or a model says must not steer the
/// terminal.
pub fn harmless(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t')).collect()
}

/// The text on one line, without control characters. Blanks within it stay.
pub fn one_line(text: &str) -> String {
    let text = text.trim_end();
    let plain = text.chars().map(|character| if matches!(character, '\n' | '\r' | '\t') { ' ' } else { character });
    plain.filter(|character| !character.is_control()).collect()
}

/// The words of the text on one line, with a single blank between them.
pub fn words(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(one_line).filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_left_out_however_the_text_is_cut() {
        let text = "a\x1b[2Jb\u{9b}31mc\u{7f}\r\n\td é © \u{85}\u{a0}ü\0";
        let expected = "a[2Jb31mc\n\td é © \u{a0}ü";
        assert_eq!(harmless(text), expected);
        for size in 1..text.len() {
            let mut guard = Guard::default();
            let kept: Vec<u8> = text.as_bytes().chunks(size).flat_map(|piece| guard.filtered(piece)).collect();
            assert_eq!(String::from_utf8(kept).unwrap(), expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_line_is_a_line() {
        assert_eq!(one_line("a  b\r\nc\x1b[31m\u{9b}"), "a  b  c[31m");
        assert_eq!(words(" a  b\nc\t\x1b d "), "a b c d");
    }

    #[test]
    fn only_the_readers_end_is_no_failure() {
        let gone = translate(ErrorKind::BrokenPipe.into());
        assert!(is_reader_gone(&anyhow::Error::from(gone).context("while printing")));
        assert!(!is_reader_gone(&io::Error::from(ErrorKind::BrokenPipe).into()), "a connection, say");
        assert!(!is_reader_gone(&translate(ErrorKind::StorageFull.into()).into()));
    }
}
