//! Finds environment variables whose names look like misspelt settings.

use std::fmt;

/// Prefixes that only our settings have; any other name with one of them is a mistake.
const OWN_PREFIXES: [&str; 13] = [
    "PLUCKIT_",
    "COSMOS_DB_",
    "RATE_LIMIT_",
    "TASTE_JOB_",
    "WEEKLY_DIGEST_",
    "DIGEST_BATCH_",
    "LONG_OPERATION_",
    "MOOD_",
    "SCRAPER_",
    "SEGMENTATION_",
    "METADATA_EXTRACT_",
    "PROCESS_IMAGE_",
    "FX_RATES_",
];

/// Prefixes that begin like ours but belong to other programs, such as the tests.
const OTHERS_PREFIXES: [&str; 1] = ["PLUCKIT_TEST_"];

/// Shortest setting that a misspelt name is compared with; short ones such as `PORT` resemble too many names.
const SHORTEST_LIKE: usize = 10;

/// Most letter changes between a misspelt name and a setting.
const LIKE: usize = 2;

/// A name that looks like a setting but is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName {
    /// The name.
    pub name: String,
    /// The most similar setting.
    pub nearest: Option<&'static str>,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is set, but there is no such setting", self.name)?;
        self.nearest.map_or(Ok(()), |nearest| write!(f, ": is it {nearest}?"))
    }
}

/// Checks whether an unknown name looks like a misspelt setting.
pub fn unknown_name(name: &str, known: &[&'static str]) -> Option<UnknownName> {
    let upper = name.to_ascii_uppercase();
    if known.contains(&name) || OTHERS_PREFIXES.iter().any(|prefix| upper.starts_with(prefix)) {
        return None;
    }
    let is_own = OWN_PREFIXES.iter().any(|prefix| upper.starts_with(prefix));
    // The difference in length is a cheap lower bound of the distance, which rules out most variables.
    let may_be_like = |known: &&&'static str| is_own || known.len().abs_diff(name.len()) <= LIKE;
    let distance = |other: &str| strsim::osa_distance(&upper, &other.to_ascii_uppercase());
    let candidates = known.iter().filter(may_be_like).map(|known| (*known, distance(known)));
    let (nearest, apart) = candidates.min_by_key(|(_, apart)| *apart)?;
    let is_like = apart <= LIKE && nearest.len() >= SHORTEST_LIKE;
    if !is_own && !is_like {
        return None;
    }
    // Beyond this distance it is not a typo but another name.
    let nearest = (apart <= LIKE.max(name.len() / 4)).then_some(nearest);
    // Most settings have no prefix.
    let bare = upper.strip_prefix(OWN_PREFIXES[0]).unwrap_or_default();
    let nearest = known.iter().copied().find(|known| known.eq_ignore_ascii_case(bare)).or(nearest);
    Some(UnknownName { name: name.to_owned(), nearest })
}
