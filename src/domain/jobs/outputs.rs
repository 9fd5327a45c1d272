//! Outputs of jobs: names, titles, order, and blobs.

use std::cmp::Ordering;

use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::{Jobs, REPORT, directory};
use crate::blob::{self, BadName, BlobName};
use crate::model::ids::JobId;
use crate::model::job::Output;

/// Largest output, in bytes; a route may hold one in memory.
pub const LARGEST: usize = 8 * 1024 * 1024;
/// Longest title, in characters.
const LONGEST_TITLE: usize = 200;
/// How often a path is decoded to find its final meaning.
const MOST_ENCODINGS: usize = 4;

/// A path that leads out of a job's outputs, or attempts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path does not name a file")]
pub struct BadPath;

/// Path of an output, as given by a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPath(String);

impl OutputPath {
    /// Parses a path that stays within the outputs however often it is decoded.
    ///
    /// # Errors
    /// [`BadPath`] for `.` and `..`, empty segments, absolute paths, backslashes and control characters, encoded or
    /// not.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let mut decoded = text.to_owned();
        for _ in 0..MOST_ENCODINGS {
            if !is_inside(&decoded) {
                return Err(BadPath);
            }
            let next = decode(&decoded);
            if next == decoded {
                return Ok(Self(text.to_owned()));
            }
            decoded = next;
        }
        // No honest client encodes this often.
        Err(BadPath)
    }

    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_inside(path: &str) -> bool {
    let is_drive = path.as_bytes().get(1) == Some(&b':');
    // Characters that resemble or are treated as dots or slashes, and bytes of overlong encodings.
    let strange = |letter: char| {
        letter == '\\'
            || letter.is_control()
            || matches!(
                letter,
                '\u{2024}'
                    | '\u{2025}'
                    | '\u{2044}'
                    | '\u{2215}'
                    | '\u{2216}'
                    | '\u{ff0e}'
                    | '\u{ff0f}'
                    | '\u{ff3c}'
                    | '\u{fffd}'
            )
    };
    let is_segment = |segment: &str| {
        let trimmed = segment.trim();
        !trimmed.is_empty() && !trimmed.chars().all(|letter| letter == '.') && !trimmed.starts_with("..;")
    };
    !is_drive && !path.contains(strange) && path.split('/').all(is_segment)
}

/// Removes one layer of percent-encoding, including `%u002e`.
fn decode(text: &str) -> String {
    let text = text.replace("%u00", "%").replace("%U00", "%");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// Compares paths in natural order: numbers by value, and the report first.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let key = |path: &str| path != REPORT;
    key(a).cmp(&key(b)).then_with(|| natord::compare_ignore_case(a, b)).then_with(|| a.cmp(b))
}

/// Writes an output to `place`, to which nothing else is written.
pub(super) async fn write(
    jobs: &Jobs,
    id: &JobId,
    place: &str,
    path: &str,
    content: Bytes,
) -> Result<Output, blob::Error> {
    let name = format!("{}/outputs/{place}/{path}", directory(id));
    let name: BlobName = name.parse().map_err(|error: BadName| blob::Error::Failed(error.into()))?;
    let output = Output {
        path: path.to_owned(),
        title: title(path, &content),
        size: content.len() as u64,
        media_type: name.content_type().to_owned(),
        blob: name.to_string(),
    };
    jobs.0.blobs.put_if_absent(jobs.container(), &name, content, None).await?;
    Ok(output)
}

/// Adds outputs to the list, replacing those with the same path.
pub(super) fn publish(outputs: &mut Vec<Output>, more: Vec<Output>) {
    for output in more {
        outputs.retain(|known| known.path != output.path);
        outputs.push(output);
    }
    outputs.sort_by(|a, b| natural_order(&a.path, &b.path));
}

/// Returns the first heading of a Markdown file, or the file name.
fn title(path: &str, content: &[u8]) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let text = if path.ends_with(".md") { std::str::from_utf8(content).unwrap_or_default() } else { "" };
    let heading = text.lines().find_map(|line| {
        let rest = line.trim_start_matches('#');
        let level = line.len() - rest.len();
        let is_heading = (1..=6).contains(&level) && rest.starts_with(' ') && !rest.trim().is_empty();
        is_heading.then(|| rest.trim().trim_end_matches('#').trim().replace('\\', ""))
    });
    heading.unwrap_or_else(|| file.to_owned()).chars().take(LONGEST_TITLE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_by_value_and_the_report_comes_first() {
        let mut paths =
            ["items-10.jsonl", "items-2.jsonl", "Digest.md", "index.md", "a/index.md", "items-02.jsonl", "items.jsonl"];
        paths.sort_by(|a, b| natural_order(a, b));
        let expected =
            ["index.md", "a/index.md", "Digest.md", "items-02.jsonl", "items-2.jsonl", "items-10.jsonl", "items.jsonl"];
        assert_eq!(paths, expected);
        assert_eq!(natural_order("9".repeat(30).as_str(), &format!("1{}", "0".repeat(30))), Ordering::Less);
    }

    #[test]
    fn titles_are_first_headings() {
        assert_eq!(title("a/index.md", b"text\n#no\n## Weekly \\*digest\\* ##\n# Other"), "Weekly *digest*");
        for (path, content) in [("a/b.md", "no heading"), ("a/b.md", "# "), ("a/b.md", "####### seven")] {
            assert_eq!(title(path, content.as_bytes()), "b.md");
        }
        assert_eq!(title("items.jsonl", b"# not a heading"), "items.jsonl");
        assert_eq!(title("a.md", format!("# {}", "é".repeat(300)).as_bytes()).chars().count(), LONGEST_TITLE);
    }

    #[test]
    fn names_stay_among_the_outputs() {
        for good in ["index.md", "items-1.jsonl", "a/b.md", "a b/c%20d.md", "100%.md", "..a/b..c", "é.md", "%zz", "a+b"]
        {
            assert_eq!(OutputPath::parse(good).as_ref().map(OutputPath::as_str), Ok(good));
        }
        for bad in [
            "",
            "/",
            "..",
            "../a",
            "a/..",
            "a/../b",
            "./a",
            "a/.",
            "/etc/passwd",
            "//a",
            "a//b",
            "a/",
            "..\\a",
            "C:/a",
            "a\\b",
            "%2e%2e/a",
            "%2E%2E%2Fa",
            "..%2fa",
            "%252e%252e%252fa",
            "%25252e%25252e/a",
            "%2fetc/passwd",
            "%5c..%5ca",
            "..%00/a",
            "a%00.md",
            "a\0",
            "a\nb",
            " ../a",
            ".../a",
            "%u002e%u002e/a",
            "%c0%ae%c0%ae/a",
            "．．/a",
            "..;/a",
            "\u{2025}/a",
            "a/%2e%2e/%2e%2e/b",
            "%25%32%65%25%32%65/a",
        ] {
            assert_eq!(OutputPath::parse(bad), Err(BadPath), "{bad:?}");
        }
    }
}
