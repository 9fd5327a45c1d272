//! The Markdown report that every job writes.
//!
//! Its texts and URLs come from pages and users, so they are escaped and cannot create headings, links or HTML.

use std::fmt::Write as _;

use url::Url;

use crate::base::text;
use crate::model::job::Job;
use crate::model::timestamp::Timestamp;

/// Most links and problems listed; of further ones only the number.
const MOST_LISTED: usize = 200;
/// Longest text of a link or reason, in characters.
const LONGEST_TEXT: usize = 300;

/// A part that failed while the rest succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The failed part.
    pub what: String,
    /// Reason.
    pub reason: String,
}

/// An item that the job dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Text of the link.
    pub text: String,
    /// URL; only `http` and `https` URLs and paths of this service become links.
    pub url: String,
}

/// A job's report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Heading.
    pub title: String,
    /// Summary in sentences.
    pub summary: String,
    /// Named counts.
    pub counts: Vec<(&'static str, u64)>,
    /// Problems.
    pub troubles: Vec<Trouble>,
    /// Items.
    pub links: Vec<Link>,
}

impl Report {
    /// Creates the report of a job that did not complete.
    pub(super) fn cut_short(name: &str, end: &str, reason: &str) -> Self {
        Self { title: format!("{name} {end}"), summary: reason.to_owned(), ..Self::default() }
    }

    /// Formats the report as Markdown.
    pub(super) fn to_markdown(&self, job: &Job, now: Timestamp) -> String {
        let mut text = format!("# {}\n\n{}\n", escape(&self.title), escape(&self.summary));
        let asked = job.created_time;
        let facts = format!("\n- Job: {} (`{}`)\n- Requested: {asked}\n- Finished: {now}\n", escape(&job.name), job.id);
        text.push_str(&facts);
        if !self.counts.is_empty() {
            text.push_str("\n## Counts\n\n| what | how many |\n|---|---:|\n");
            for (what, count) in &self.counts {
                line(&mut text, format_args!("| {} | {count} |", escape(what)));
            }
        }
        if !self.troubles.is_empty() {
            text.push_str("\n## What did not work\n\n");
            for Trouble { what, reason } in self.troubles.iter().take(MOST_LISTED) {
                line(&mut text, format_args!("- {}: {}", escape(what), escape(reason)));
            }
            more(&mut text, self.troubles.len());
        }
        if !self.links.is_empty() {
            text.push_str("\n## Items\n\n");
            for Link { text: name, url } in self.links.iter().take(MOST_LISTED) {
                match address(url) {
                    Some(url) => line(&mut text, format_args!("- [{}](<{url}>)", escape(name))),
                    None => line(&mut text, format_args!("- {}", escape(name))),
                }
            }
            more(&mut text, self.links.len());
        }
        text
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("writing to a text cannot fail");
}

fn more(text: &mut String, count: usize) {
    if count > MOST_LISTED {
        line(text, format_args!("- and {} more", count - MOST_LISTED));
    }
}

/// Formats a URL for angle brackets.
fn address(url: &str) -> Option<String> {
    let text = if url.starts_with("/api/") {
        let base = Url::parse("http://localhost").ok()?;
        base.join(url).ok().filter(|joined| joined.host_str() == Some("localhost"))?.path().to_owned()
    } else {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        url.to_string()
    };
    Some(text.replace('<', "%3C").replace('>', "%3E"))
}

/// Puts a text on one line, shortens it and escapes Markdown.
pub fn escape(text: &str) -> String {
    let plain: String = text::collapse(text).chars().filter(|letter| !letter.is_control()).take(LONGEST_TEXT).collect();
    text::escape_markdown(&plain)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_report_tells_what_was_done_and_nothing_of_its_own() {
        let now = Timestamp::from(datetime!(2026-03-02 09:15 UTC));
        let job = Job::pending("0a".into(), "ada".into(), "scraper.run", Value::Null, now, now);
        let report = Report {
            title: "Scrape of\n# Evil".to_owned(),
            summary: "2 new items.".to_owned(),
            counts: vec![("found", 3), ("new", 2)],
            troubles: vec![Trouble { what: "page 2".to_owned(), reason: "<b>timed</b> out".to_owned() }],
            links: vec![
                Link { text: "Coat ](javascript:x)".to_owned(), url: "https://a.example/x?y=(1)>".to_owned() },
                Link { text: "Bad".to_owned(), url: "javascript:alert(1)".to_owned() },
                Link { text: "Ours".to_owned(), url: "/api/moods/x".to_owned() },
            ],
        };
        insta::assert_snapshot!(report.to_markdown(&job, now), @r"
        # Scrape of \# Evil

        2 new items.

        - Job: scraper.run (`0a`)
        - Requested: 2026-03-02T09:15:00.000Z
        - Finished: 2026-03-02T09:15:00.000Z

        ## Counts

        | what | how many |
        |---|---:|
        | found | 3 |
        | new | 2 |

        ## What did not work

        - page 2: \<b\>timed\</b\> out

        ## Items

        - [Coat \](javascript:x)](<https://a.example/x?y=(1)%3E>)
        - Bad
        - [Ours](</api/moods/x>)
        ");
    }

    #[test]
    fn a_long_list_tells_how_many_more() {
        let mut text = String::new();
        more(&mut text, MOST_LISTED);
        more(&mut text, MOST_LISTED + 3);
        assert_eq!(text, "- and 3 more\n");
    }
}
