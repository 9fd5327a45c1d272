//! The output of `pluckit chat`: the answer as it arrives, tools in words, and a spinner while waiting.
//!
//! Only a terminal gets wrapped lines, colours and the spinner. `NO_COLOR` turns the colours off, `TERM=dumb` all
//! escapes.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use console::{Term, measure_text_width};
use indicatif::{ProgressBar, ProgressStyle};

use super::run::Event;
use crate::cli::output::{Output, complain, harmless, is_terminal, styled, tell, words};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";
/// Widest text, in columns: longer lines are hard to read.
const WIDEST: usize = 100;
const NARROWEST: usize = 20;
/// Time between two frames of the spinner.
const TICK: Duration = Duration::from_millis(120);

/// Descriptions of tools. Others are shown by name.
const TOOLS: [(&str, &str); 12] = [
    ("analyze_wardrobe_gaps", "Checking for gaps"),
    ("forget_preference", "Forgetting that"),
    ("get_trending_moods", "Looking at trends"),
    ("get_user_profile", "Reading your profile"),
    ("get_wardrobe_summary", "Counting your wardrobe"),
    ("get_wear_history", "Looking at what you wore"),
    ("get_wear_patterns", "Looking at what you wear"),
    ("get_weather", "Checking the weather"),
    ("plan_outfits", "Putting an outfit together"),
    ("remember_preference", "Noting that down"),
    ("search_scraped_items", "Looking through the feeds"),
    ("search_wardrobe", "Looking through your wardrobe"),
];

fn tool_words(name: &str) -> String {
    TOOLS.iter().find(|(known, _)| *known == name).map_or_else(|| words(name), |(_, text)| (*text).to_owned())
}

/// The capabilities of the terminal: width, colours, spinner.
#[derive(Clone, Copy)]
pub struct Look {
    /// Columns of a line; `None` if lines are not wrapped.
    width: Option<usize>,
    has_colour: bool,
    has_spinner: bool,
}

impl Look {
    fn of_standard_output() -> Self {
        if !is_terminal() {
            return Self { width: None, has_colour: false, has_spinner: false };
        }
        let terminal = Term::stdout();
        let columns = usize::from(terminal.size().1).saturating_sub(1);
        Self {
            width: Some(columns.clamp(NARROWEST, WIDEST)),
            has_colour: terminal.features().colors_supported(),
            has_spinner: !console::is_dumb() && io::stderr().is_terminal(),
        }
    }
}

/// Prints the answer as it arrives.
pub struct Screen<W = Output> {
    out: W,
    look: Look,
    lines: Option<Wrapping>,
    /// The tools that run, in words.
    running: Vec<String>,
    spinner: Option<ProgressBar>,
    /// Whether the cursor is in the middle of a line, where lines are not wrapped.
    mid_line: bool,
}

impl Screen {
    /// A screen on standard output.
    pub fn new() -> Self {
        Self::with(styled(), Look::of_standard_output())
    }
}

impl<W: Write> Screen<W> {
    fn with(out: W, look: Look) -> Self {
        let lines = look.width.map(|width| Wrapping::new(width, look.has_colour));
        Self { out, look, lines, running: Vec::new(), spinner: None, mid_line: false }
    }

    /// Prints text as it is.
    pub fn write(&mut self, text: &str) -> io::Result<()> {
        self.rest();
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Prints lines of text, wrapped.
    pub fn tell(&mut self, text: &str) -> io::Result<()> {
        let start = self.begin_line();
        let text = self.wrapped(&harmless(text));
        let end = self.begin_line();
        self.write(&format!("{start}{text}{end}"))
    }

    /// Prints a line of less important text, wrapped and dimmed.
    pub fn tell_aside(&mut self, text: &str) -> io::Result<()> {
        let start = self.begin_line();
        let text = self.wrapped(&harmless(text));
        let end = self.begin_line();
        let line = self.dim(format!("{text}{end}").trim_end_matches('\n'));
        self.write(&format!("{start}{line}\n"))
    }

    /// Prints what went wrong on standard error, wrapped like the other lines.
    pub fn complain(&mut self, text: &str) {
        self.rest();
        let Some(width) = self.look.width else { return complain(text) };
        let mut lines = Wrapping::new(width, false);
        let text = lines.push(&format!("pluckit: {}", words(text))) + &lines.end_line().0;
        text.lines().for_each(tell);
    }

    /// Shows that an answer is pending.
    pub fn wait(&mut self) {
        if !self.look.has_spinner {
            return;
        }
        let text = if self.running.is_empty() { "Thinking".to_owned() } else { self.running.join(", ") };
        let spinner = self.spinner.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            let spinner = ProgressBar::new_spinner().with_style(style.tick_chars("|/-\\ "));
            spinner.enable_steady_tick(TICK);
            spinner
        });
        spinner.set_message(text);
    }

    /// Takes the spinner away.
    fn rest(&mut self) {
        if let Some(spinner) = self.spinner.take() {
            spinner.finish_and_clear();
        }
    }

    /// Shows an event of the answer.
    pub fn show(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Token { content } if content.is_empty() => Ok(()),
            Event::Token { content } => {
                let text = self.wrapped(&harmless(content));
                if text.is_empty() { Ok(()) } else { self.write(&text) }
            }
            Event::ToolUse { name } => {
                let start = self.begin_line();
                self.running.push(tool_words(name));
                self.write(&start)?;
                self.wait();
                Ok(())
            }
            Event::ToolResult { name, tool_latency_ms } => {
                let text = tool_words(name);
                let start = self.begin_line();
                if let Some(position) = self.running.iter().position(|running| *running == text) {
                    self.running.remove(position);
                }
                let took = tool_latency_ms.map(|latency| format!(", {latency} ms")).unwrap_or_default();
                let line = self.dim(&format!("[{text}{took}]"));
                self.write(&format!("{start}{line}\n"))?;
                self.wait();
                Ok(())
            }
            Event::Error { content } => {
                let start = self.begin_line();
                self.write(&format!("{start}! {}\n", words(content)))
            }
            Event::StepReset { .. } => {
                let start = self.begin_line();
                self.running.clear();
                self.write(&format!("{start}[the service was interrupted and repeats this part]\n"))
            }
            Event::Done | Event::Other => Ok(()),
        }
    }

    /// Ends an answer; further output starts on a new line.
    pub fn end_turn(&mut self) -> io::Result<()> {
        let end = self.begin_line();
        self.running.clear();
        self.write(&end)
    }

    /// Dims a text if colours are on.
    pub fn dim(&self, text: &str) -> String {
        if self.look.has_colour { format!("{DIM}{text}{PLAIN}") } else { text.to_owned() }
    }

    /// Returns the characters that move the cursor to the start of an empty line.
    fn begin_line(&mut self) -> String {
        let (mut text, mid_line) = match &mut self.lines {
            Some(lines) => lines.end_line(),
            None => (String::new(), std::mem::take(&mut self.mid_line)),
        };
        if mid_line {
            text.push('\n');
        }
        text
    }

    fn wrapped(&mut self, text: &str) -> String {
        match &mut self.lines {
            Some(lines) => lines.push(text),
            None => {
                self.mid_line = !text.ends_with('\n');
                text.to_owned()
            }
        }
    }
}

/// Breaks a text that arrives in pieces into lines between its words, and shows `**bold**` as bold.
struct Wrapping {
    width: usize,
    has_colour: bool,
    /// The cursor's column.
    column: usize,
    /// Columns that the next line of the same paragraph is indented by.
    indent: usize,
    /// Spaces before the next word.
    gap: usize,
    /// The word that is not yet complete.
    word: String,
    is_bold: bool,
}

impl Wrapping {
    fn new(width: usize, has_colour: bool) -> Self {
        Self { width, has_colour, column: 0, indent: 0, gap: 0, word: String::new(), is_bold: false }
    }

    fn push(&mut self, text: &str) -> String {
        let mut out = String::new();
        for character in text.chars() {
            match character {
                '\n' => {
                    self.place_word(&mut out);
                    self.set_bold(false, &mut out);
                    out.push('\n');
                    (self.column, self.indent, self.gap) = (0, 0, 0);
                }
                ' ' | '\t' => {
                    self.place_word(&mut out);
                    self.gap += 1;
                }
                _ => {
                    self.word.push(character);
                    // Chinese and Japanese have no spaces, so do not wait for the end of a word as long as a line.
                    let is_wide = measure_text_width(character.encode_utf8(&mut [0; 4])) == 2;
                    if is_wide || measure_text_width(&self.word) >= self.width {
                        self.place_word(&mut out);
                    }
                }
            }
        }
        out
    }

    /// Returns the last word, and whether the line was begun.
    fn end_line(&mut self) -> (String, bool) {
        let mut out = String::new();
        self.place_word(&mut out);
        self.set_bold(false, &mut out);
        let was_begun = self.column > 0;
        (self.column, self.indent, self.gap) = (0, 0, 0);
        (out, was_begun)
    }

    fn place_word(&mut self, out: &mut String) {
        let word = std::mem::take(&mut self.word);
        if word.is_empty() {
            return;
        }
        let parts: Vec<&str> = word.split("**").collect();
        let length: usize = parts.iter().map(|part| measure_text_width(part)).sum();
        if self.column == 0 {
            // Continuation lines of a list item are indented.
            let is_mark = matches!(&*word, "-" | "*" | "•") || word.strip_suffix('.').is_some_and(is_number);
            self.indent = (self.gap + if is_mark { length + 1 } else { 0 }).min(self.width / 2);
        } else if self.column + self.gap + length > self.width {
            out.push('\n');
            (self.column, self.gap) = (0, self.indent);
        }
        out.extend(std::iter::repeat_n(' ', self.gap));
        self.column += self.gap + length;
        self.gap = 0;
        for (number, part) in parts.into_iter().enumerate() {
            if number > 0 {
                self.set_bold(!self.is_bold, out);
            }
            out.push_str(part);
        }
    }

    fn set_bold(&mut self, is_bold: bool, out: &mut String) {
        if self.is_bold != is_bold && self.has_colour {
            out.push_str(if is_bold { BOLD } else { PLAIN });
        }
        self.is_bold = is_bold;
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: Look = Look { width: None, has_colour: false, has_spinner: false };
    const TERMINAL: Look = Look { width: Some(24), has_colour: true, has_spinner: false };

    fn shown(look: Look, events: &[Event]) -> String {
        let mut screen = Screen::with(Vec::new(), look);
        for event in events {
            screen.show(event).unwrap();
        }
        screen.end_turn().unwrap();
        String::from_utf8(screen.out).unwrap()
    }

    fn token(content: &str) -> Event {
        Event::Token { content: content.to_owned() }
    }

    fn tool_use(name: &str) -> Event {
        Event::ToolUse { name: name.to_owned() }
    }

    fn tool_result(name: &str) -> Event {
        Event::ToolResult { name: name.to_owned(), tool_latency_ms: Some(12) }
    }

    #[test]
    fn a_pipe_gets_no_escapes_and_the_text_as_it_is() {
        let events = [
            tool_use("get_weather"),
            tool_use("b"),
            tool_result("b"),
            tool_result("get_weather"),
            token("Wear "),
            token("**it**."),
        ];
        assert_eq!(shown(PIPE, &events), "[b, 12 ms]\n[Checking the weather, 12 ms]\nWear **it**.\n");
    }

    #[test]
    fn a_tool_in_the_middle_of_a_text_begins_a_line() {
        assert_eq!(shown(PIPE, &[token("Let me see."), tool_use("a"), tool_result("a")]), "Let me see.\n[a, 12 ms]\n");
        let expected = format!("Let me see.\n{DIM}[a, 12 ms]{PLAIN}\nYes.\n");
        assert_eq!(
            shown(TERMINAL, &[token("Let me "), token("see."), tool_use("a"), tool_result("a"), token("Yes.")]),
            expected
        );
    }

    #[test]
    fn escapes_in_an_answer_do_not_reach_the_terminal() {
        assert_eq!(shown(TERMINAL, &[token("a\x1b[2Jb\u{9b}c d\n")]), "a[2Jbc d\n");
    }

    #[test]
    fn lines_are_broken_between_words_however_the_text_is_cut() {
        let text = "Here is what I would put on:\n- **Top:** your navy Uniqlo button-down, a safe choice\n\n10. x 日本語日本語日本語日本語日本語\n";
        let expected = format!(
            "Here is what I would put\non:\n- {BOLD}Top:{PLAIN} your navy Uniqlo\n  button-down, a safe\n  choice\n\n10. x 日本語日本語日本語\n    日本語日本語\n"
        );
        for size in 1..text.chars().count() {
            let characters: Vec<char> = text.chars().collect();
            let pieces: Vec<Event> = characters.chunks(size).map(|piece| token(&String::from_iter(piece))).collect();
            assert_eq!(shown(TERMINAL, &pieces), expected, "pieces of {size}");
        }
        let colourless = Look { has_colour: false, ..TERMINAL };
        assert_eq!(shown(colourless, &[token("**a** b")]), "a b\n");
        assert_eq!(
            shown(colourless, &[token(&"x".repeat(30)), token(" y")]),
            format!("{}\nxxxxxx y\n", "x".repeat(24))
        );
    }
}
