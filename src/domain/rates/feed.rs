//! Parsing of exchange rate feeds: the European Central Bank's daily XML
//! (<https://www.ecb.europa.eu/stats/eurofxref/eurofxref-daily.xml>), or the same as JSON
//! (`{"base":"EUR","date":"2026-02-27","rates":{"USD":1.08}}`).
//!
//! Invalid rates are skipped.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;
use time::macros::{date, format_description};
use time::{Date, OffsetDateTime};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::Rates;
use crate::config::Feed;
use crate::model::numbers::decimal;
use crate::net::read_at_most;

/// Time limit of a fetch.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest feed, in bytes; the European Central Bank's daily one has 2 kB, its 90-day one 200 kB.
const LONGEST_FEED: usize = 1024 * 1024;
/// Most currencies; fewer than 200 codes exist.
const MOST_CURRENCIES: usize = 300;
/// Smallest and largest plausible rate.
const SMALLEST_RATE: Decimal = Decimal::from_parts(1, 0, 0, false, 6);
const LARGEST_RATE: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);
/// First day of the euro.
const FIRST_DAY: Date = date!(1999 - 01 - 01);

/// Why a feed gave no rates.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The feed cannot be reached.
    #[error("the feed of exchange rates cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The feed did not answer in time.
    #[error("the feed of exchange rates took longer than {} s", PATIENCE.as_secs())]
    TooSlow,
    /// The feed answered with an error status.
    #[error("the feed of exchange rates answered with status {0}")]
    Refused(u16),
    /// The file cannot be read.
    #[error("the file of exchange rates cannot be read")]
    File(#[source] std::io::Error),
    /// The feed is too long.
    #[error("the feed of exchange rates has more than {LONGEST_FEED} bytes")]
    TooLong,
    /// The feed is not XML.
    #[error("the feed of exchange rates is not XML")]
    Xml(#[source] quick_xml::Error),
    /// The feed is not JSON in the expected format.
    #[error("the feed of exchange rates is not JSON in a known format")]
    Json(#[source] serde_json::Error),
    /// The feed has another base currency.
    #[error("the exchange rates are not relative to the euro")]
    OtherBase,
    /// The feed has no day with rates.
    #[error("the feed of exchange rates has no day with rates")]
    Empty,
}

impl From<reqwest::Error> for FeedError {
    fn from(error: reqwest::Error) -> Self {
        // The URL may contain a key, so keep it out of the log.
        Self::Unreachable(error.without_url())
    }
}

/// Fetches the feed.
///
/// # Errors
/// When it gives no rates.
pub async fn fetch(feed: &Feed, http: &reqwest::Client, now: OffsetDateTime) -> Result<Rates, FeedError> {
    let read = async {
        match feed {
            Feed::Url(url) => {
                let response = http.get(url.clone()).send().await?;
                if !response.status().is_success() {
                    return Err(FeedError::Refused(response.status().as_u16()));
                }
                read_at_most(response, LONGEST_FEED).await?.ok_or(FeedError::TooLong)
            }
            Feed::File(path) => {
                let file = File::open(path).await.map_err(FeedError::File)?;
                let mut text = Vec::new();
                file.take(LONGEST_FEED as u64 + 1).read_to_end(&mut text).await.map_err(FeedError::File)?;
                if text.len() > LONGEST_FEED { Err(FeedError::TooLong) } else { Ok(text.into()) }
            }
        }
    };
    let text = tokio::time::timeout(PATIENCE, read).await.map_err(|_| FeedError::TooSlow)??;
    parse(&text, now)
}

fn parse(text: &[u8], now: OffsetDateTime) -> Result<Rates, FeedError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii();
    let (date, per_euro) = if text.starts_with(b"<") { parse_xml(text)? } else { parse_json(text)? };
    // A date in the future everywhere on Earth is an error.
    let tomorrow = now.date().saturating_add(time::Duration::days(1));
    if per_euro.is_empty() || !(FIRST_DAY..=tomorrow).contains(&date) {
        return Err(FeedError::Empty);
    }
    Ok(Rates::of_euro(date, per_euro))
}

type Day = (Date, BTreeMap<String, Decimal>);

/// Parses the newest day: `<Cube time="2026-02-27"><Cube currency="USD" rate="1.08"/>…</Cube>`.
fn parse_xml(text: &[u8]) -> Result<Day, FeedError> {
    let mut reader = Reader::from_reader(text);
    let mut newest: Option<Day> = None;
    // Whether the following rates belong to the newest day.
    let mut is_newest = false;
    loop {
        let element = match reader.read_event().map_err(FeedError::Xml)? {
            Event::Start(element) | Event::Empty(element) => element,
            Event::Eof => return newest.ok_or(FeedError::Empty),
            _ => continue,
        };
        if element.local_name().as_ref() != "Cube" {
            continue;
        }
        if let Some(day) = attribute(&element, "time").as_deref().and_then(day) {
            is_newest = newest.as_ref().is_none_or(|(known, _)| day > *known);
            if is_newest {
                newest = Some((day, BTreeMap::new()));
            }
        }
        let (Some(code), Some(rate)) = (attribute(&element, "currency"), attribute(&element, "rate")) else {
            continue;
        };
        if let Some((_, rates)) = newest.as_mut().filter(|_| is_newest) {
            add(rates, &code, &rate);
        }
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element.attributes().flatten().find(|attribute| attribute.key.local_name().as_ref() == name)?;
    Some(attribute.value.into_owned())
}

fn parse_json(text: &[u8]) -> Result<Day, FeedError> {
    #[derive(Deserialize)]
    struct Object<'a> {
        base: Option<String>,
        date: String,
        #[serde(borrow)]
        rates: BTreeMap<String, &'a RawValue>,
    }
    let object: Object<'_> = serde_json::from_slice(text).map_err(FeedError::Json)?;
    if object.base.is_some_and(|base| !base.eq_ignore_ascii_case("EUR")) {
        return Err(FeedError::OtherBase);
    }
    let mut rates = BTreeMap::new();
    for (code, rate) in object.rates {
        add(&mut rates, &code, rate.get().trim_matches('"'));
    }
    Ok((day(&object.date).ok_or(FeedError::Empty)?, rates))
}

fn add(rates: &mut BTreeMap<String, Decimal>, code: &str, rate: &str) {
    let code = code.trim();
    let is_code = code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_alphabetic());
    if let Some(rate) = checked(rate).filter(|_| is_code && rates.len() < MOST_CURRENCIES) {
        rates.insert(code.to_ascii_uppercase(), rate);
    }
}

/// Parses a plausible rate.
pub(super) fn checked(rate: &str) -> Option<Decimal> {
    let rate = decimal(rate.trim().parse().ok()?)?;
    (SMALLEST_RATE..=LARGEST_RATE).contains(&rate).then_some(rate)
}

/// Parses a day, optionally followed by a time.
pub(super) fn day(text: &str) -> Option<Date> {
    let day = text.trim().get(..10)?;
    Date::parse(day, format_description!("[year]-[month]-[day]")).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-03-02 09:15 UTC);

    /// A feed in the form of the European Central Bank.
    const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
	<gesmes:subject>Reference rates</gesmes:subject>
	<Cube>
		<Cube time='2026-02-27'>
			<Cube currency='USD' rate='1.0812'/>
			<Cube currency='JPY' rate='162.45'/>
		</Cube>
	</Cube>
</gesmes:Envelope>"#;

    fn read(text: &str) -> Result<(String, Vec<(String, String)>), FeedError> {
        let rates = parse(text.as_bytes(), NOW)?;
        let per_euro = rates.per_euro.unwrap().into_iter().map(|(code, rate)| (code, rate.to_string())).collect();
        Ok((rates.date.to_string(), per_euro))
    }

    fn expected() -> (String, Vec<(String, String)>) {
        let rates = [("JPY", "162.45"), ("USD", "1.0812")];
        ("2026-02-27".to_owned(), rates.map(|(code, rate)| (code.to_owned(), rate.to_owned())).to_vec())
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(read(XML).unwrap(), expected());
        assert_eq!(read(&format!("\u{feff}\n{XML}")).unwrap(), expected());
        for json in [
            r#"{"base":"EUR","date":"2026-02-27","rates":{"USD":1.0812,"JPY":162.45}}"#,
            r#"{"amount":1,"date":"2026-02-27T00:00:00Z","rates":{"usd":"1.0812","JPY":162.45}}"#,
        ] {
            assert_eq!(read(json).unwrap(), expected(), "{json}");
        }
    }

    #[test]
    fn of_several_days_the_newest_counts() {
        let older = "<Cube time='2026-02-26'><Cube currency='USD' rate='2'/><Cube currency='INR' rate='90'/></Cube>";
        let after = XML.replace("\t</Cube>\n</gesmes", &format!("{older}\t</Cube>\n</gesmes"));
        let before = XML.replace("<Cube time", &format!("{older}<Cube time"));
        assert_eq!(read(&after).unwrap(), expected());
        assert_eq!(read(&before).unwrap(), expected());
    }

    #[test]
    fn a_bad_rate_costs_only_itself() {
        let odd = ["0", "-1", "NaN", "inf", "1e300", "x", "", "0.0000001"];
        let odd = odd.map(|rate| format!("<Cube currency='BAD' rate='{rate}'/>")).concat();
        let odd = odd + "<Cube currency='EURO' rate='2'/><Cube currency='€€€' rate='2'/><Cube rate='3'/>";
        assert_eq!(
            read(&XML.replace("<Cube currency='USD'", &format!("{odd}<Cube currency='USD'"))).unwrap(),
            expected()
        );
        let json = r#"{"date":"2026-02-27","rates":{"USD":1.0812,"JPY":162.45,"BAD":null,"ODD":[1],"NIX":0}}"#;
        assert_eq!(read(json).unwrap(), expected());
    }

    #[test]
    fn what_is_no_feed_is_refused() {
        for text in
            ["", "<html></html>", "<Cube time='2026-02-27'/>", "{}", "[]", "nonsense", "<Cube time=", "{\"date\":7}"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        let future = XML.replace("2026-02-27", "2026-03-04");
        assert!(matches!(read(&future), Err(FeedError::Empty)));
        let dollars = r#"{"base":"USD","date":"2026-02-27","rates":{"EUR":0.92}}"#;
        assert!(matches!(read(dollars), Err(FeedError::OtherBase)));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(<|\\{)?[<>/='\"a-zA-Z0-9{}:,. -]{0,200}") {
            drop(parse(text.as_bytes(), NOW));
        }
    }
}
