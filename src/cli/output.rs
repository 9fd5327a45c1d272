//! All output of commands, to standard output and standard error.

use std::io::{self, ErrorKind, IsTerminal, Stdout, Write};

/// The reader of standard output closed it, as `head` does. The command then ends successfully.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
struct ReaderGone;

/// Whether a command failed only because the reader of its output closed it.
pub fn is_reader_gone(error: &anyhow::Error) -> bool {
    let inner = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<io::Error>()?;
        error.get_ref().map(|inner| inner.is::<ReaderGone>())
    };
    error.chain().any(|cause| inner(cause).unwrap_or(false))
}

/// Standard output of a command.
pub struct Output {
    to: Stdout,
    /// Filters control characters when the output is a terminal.
    guard: Option<Guard>,
}

/// Returns standard output. On a terminal, control characters other than line ends and tabs are removed.
pub fn output() -> Output {
    let to = io::stdout();
    Output { guard: to.is_terminal().then(Guard::default), to }
}

/// Returns standard output for a command that prints colours and filters control characters itself.
pub fn styled() -> Output {
    Output { to: io::stdout(), guard: None }
}

/// Whether standard output is a terminal.
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

/// Removes ASCII and C1 control characters from text that arrives in pieces. A C1 character has two bytes, which may be
/// split between two pieces.
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

/// Prints one line on standard output.
///
/// # Errors
/// When the line cannot be written.
pub fn say(line: &str) -> io::Result<()> {
    writeln!(output(), "{}", one_line(line))
}

/// Prints one line on standard error, which the Functions host logs as an error. Write errors are ignored.
pub fn tell(line: &str) {
    if writeln!(io::stderr(), "{}", one_line(line)).is_err() {}
}

/// Prints one line on standard error, prefixed with the program's name.
pub fn complain(line: &str) {
    tell(&format!("pluckit: {line}"));
}

/// Removes control characters other than line ends and tabs, so that text from pages, files or models cannot control
/// the terminal.
pub fn harmless(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t')).collect()
}

/// Puts the text on one line and removes control characters. Spaces are kept.
pub fn one_line(text: &str) -> String {
    let text = text.trim_end();
    let plain = text.chars().map(|character| if matches!(character, '\n' | '\r' | '\t') { ' ' } else { character });
    plain.filter(|character| !character.is_control()).collect()
}

/// Joins the words of the text with single spaces.
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
