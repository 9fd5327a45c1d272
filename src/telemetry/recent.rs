//! The newest log lines, as printed, kept in memory for administrators.

use std::collections::VecDeque;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// Most lines that are kept.
pub const MOST_LINES: usize = 2000;
/// Most bytes of lines that are kept.
const MOST_BYTES: usize = 2 * 1024 * 1024;
/// Longest line that is kept, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// The newest lines of the log. Cheap to clone.
#[derive(Clone)]
pub struct RecentLines(Arc<Inner>);

struct Inner {
    lines: Mutex<Lines>,
    /// Number of the newest line.
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Lines {
    /// JSON texts, oldest first.
    kept: VecDeque<Arc<str>>,
    bytes: usize,
    /// Number of the newest line; the first one is 1.
    newest: u64,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// Number of the line, counted from the start of the process.
    pub number: u64,
    /// Time, in UTC.
    pub time: String,
    /// Level.
    pub level: Level,
    /// Module that wrote the line.
    pub target: String,
    /// Message.
    pub message: String,
    /// Id of the request that the line belongs to.
    pub request_id: Option<String>,
    /// Other fields of the line, and those of its spans.
    pub fields: Map<String, Value>,
}

/// Which lines are wanted.
#[derive(Debug, Clone)]
pub struct LogFilter {
    /// The least severe level.
    pub level: Level,
    /// The request that they belong to.
    pub request_id: Option<String>,
    /// A text that they contain, ignoring case.
    pub text: Option<String>,
}

impl Default for RecentLines {
    fn default() -> Self {
        Self(Arc::new(Inner { lines: Mutex::default(), newest: watch::Sender::new(0) }))
    }
}

impl RecentLines {
    /// Adds a JSON line from the log layer. Lines over 64 KiB are dropped.
    pub fn push(&self, line: &str) {
        let line = line.trim_end();
        if line.is_empty() || line.len() > LONGEST_LINE {
            return;
        }
        let mut lines = self.0.lines.lock();
        lines.newest += 1;
        lines.bytes += line.len();
        lines.kept.push_back(line.into());
        while lines.kept.len() > MOST_LINES || lines.bytes > MOST_BYTES {
            let Some(oldest) = lines.kept.pop_front() else { break };
            lines.bytes -= oldest.len();
        }
        let newest = lines.newest;
        drop(lines);
        self.0.newest.send_replace(newest);
    }

    /// Returns a receiver that is notified of new lines with the number of the newest one.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    /// Returns the newest lines after the number `after` that match the filter, oldest first. A number that no line has
    /// yet is ignored.
    pub fn newest(&self, filter: &LogFilter, after: u64, most: usize) -> Vec<LogLine> {
        let kept = self.kept(after);
        let mut found: Vec<_> =
            kept.iter().rev().filter_map(|(number, line)| filter.read(*number, line)).take(most).collect();
        found.reverse();
        found
    }

    /// Returns the first lines after the number `after` that match the filter, and the number of the last line it
    /// checked.
    pub fn next(&self, filter: &LogFilter, after: u64, most: usize) -> (Vec<LogLine>, u64) {
        let kept = self.kept(after);
        let (mut found, mut seen) = (Vec::new(), after);
        for (number, line) in kept {
            seen = number;
            found.extend(filter.read(number, &line));
            if found.len() == most {
                break;
            }
        }
        (found, seen)
    }

    /// Returns the kept lines after the number `after`, with their numbers. The lock is held only briefly.
    fn kept(&self, after: u64) -> Vec<(u64, Arc<str>)> {
        let lines = self.0.lines.lock();
        let first = lines.newest - lines.kept.len() as u64 + 1;
        // A number beyond the newest is from an earlier process.
        let after = if after > lines.newest { 0 } else { after };
        let numbered = (first..).zip(lines.kept.iter().cloned());
        numbered.skip_while(|(number, _)| *number <= after).collect()
    }
}

impl LogFilter {
    /// Reads a line, if it is wanted.
    fn read(&self, number: u64, text: &str) -> Option<LogLine> {
        if let Some(wanted) = &self.text
            && !text.to_lowercase().contains(wanted)
        {
            return None;
        }
        let line = parse(number, text)?;
        let is_wanted =
            line.level <= self.level && self.request_id.as_ref().is_none_or(|id| line.request_id.as_ref() == Some(id));
        is_wanted.then_some(line)
    }
}

fn parse(number: u64, text: &str) -> Option<LogLine> {
    let Ok(Value::Object(mut line)) = serde_json::from_str(text) else { return None };
    let mut take = |name: &str| match line.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (time, level, target, message) = (take("timestamp"), take("level"), take("target"), take("message"));
    let mut fields = Map::new();
    let spans = match line.remove("spans") {
        Some(Value::Array(spans)) => spans,
        _ => Vec::new(),
    };
    for span in spans {
        let Value::Object(mut span) = span else { continue };
        span.remove("name");
        fields.extend(span);
    }
    // A line's own fields override those of its spans.
    fields.extend(line);
    let request_id = match fields.remove("request.id") {
        Some(Value::String(id)) => Some(id),
        _ => None,
    };
    Some(LogLine { number, time, level: Level::from_str(&level).ok()?, target, message, request_id, fields })
}

/// Takes lines from the log layer.
pub struct LineWriter(RecentLines);

impl io::Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Ok(text) = std::str::from_utf8(line) {
            self.0.push(text);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for RecentLines {
    type Writer = LineWriter;

    fn make_writer(&self) -> LineWriter {
        LineWriter(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: &str, message: &str, request: &str) -> String {
        format!(
            r#"{{"timestamp":"2026-03-02T09:15:00Z","level":"{level}","message":"{message}","count":3,"target":"pluckit::a","span":{{}},"spans":[{{"http.method":"GET","request.id":"{request}","name":"request"}},{{"count":1,"name":"inner"}}]}}"#
        )
        .replace(r#""span":{},"#, "")
            + "\n"
    }

    fn all() -> LogFilter {
        LogFilter { level: Level::TRACE, request_id: None, text: None }
    }

    fn numbers(lines: &[LogLine]) -> Vec<u64> {
        lines.iter().map(|line| line.number).collect()
    }

    #[test]
    fn lines_are_read_with_the_fields_of_their_spans() {
        let recent = RecentLines::default();
        recent.push(&line("WARN", "slow", "r1"));
        recent.push("no JSON");
        let found = recent.newest(&all(), 0, 10);
        assert_eq!(found.len(), 1);
        let LogLine { number, level, message, request_id, fields, .. } = &found[0];
        assert_eq!((*number, *level, message.as_str(), request_id.as_deref()), (1, Level::WARN, "slow", Some("r1")));
        assert_eq!(Value::Object(fields.clone()), serde_json::json!({"count": 3, "http.method": "GET"}));
    }

    #[test]
    fn lines_are_filtered_by_level_request_and_text() {
        let recent = RecentLines::default();
        for (level, message, request) in [("INFO", "one", "a"), ("ERROR", "Two", "b"), ("DEBUG", "three", "a")] {
            recent.push(&line(level, message, request));
        }
        let by = |level, request: Option<&str>, text: Option<&str>| {
            let filter = LogFilter { level, request_id: request.map(str::to_owned), text: text.map(str::to_owned) };
            numbers(&recent.newest(&filter, 0, 10))
        };
        assert_eq!(by(Level::INFO, None, None), [1, 2]);
        assert_eq!(by(Level::TRACE, Some("a"), None), [1, 3]);
        assert_eq!(by(Level::TRACE, None, Some("two")), [2]);
        assert_eq!(by(Level::ERROR, Some("a"), None), [0; 0]);
        let (next, seen) = recent.next(&LogFilter { level: Level::INFO, ..all() }, 1, 10);
        assert_eq!((numbers(&next), seen), (vec![2], 3));
        assert_eq!(numbers(&recent.newest(&all(), 0, 2)), [2, 3]);
    }

    #[test]
    fn the_oldest_lines_make_way_for_new_ones() {
        let recent = RecentLines::default();
        for _ in 0..MOST_LINES + 5 {
            recent.push(&line("INFO", "again", "r"));
        }
        let kept = numbers(&recent.newest(&all(), 0, usize::MAX));
        assert_eq!((kept.len(), kept[0], *recent.watch().borrow()), (MOST_LINES, 6, MOST_LINES as u64 + 5));

        let long = line("INFO", &"x".repeat(LONGEST_LINE - 400), "r");
        for _ in 0..100 {
            recent.push(&long);
        }
        recent.push(&line("INFO", &"x".repeat(LONGEST_LINE), "r"));
        let kept = recent.newest(&all(), 0, usize::MAX);
        assert!(kept.len() < 40 && kept.iter().map(|line| line.message.len()).sum::<usize>() <= MOST_BYTES);
        assert_eq!(kept.last().unwrap().number, MOST_LINES as u64 + 105, "what is too long is not kept");
    }
}
