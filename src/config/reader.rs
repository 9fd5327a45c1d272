//! Reads settings one by one, and remembers each for `pluckit config`.

use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use url::{Host, Url};

/// An invalid setting, described in one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that the setting does not accept.
    #[error("{name} is {got:?}: expected {expected}")]
    Invalid {
        /// Name of the setting.
        name: &'static str,
        /// The value; empty for a secret.
        got: String,
        /// Description of valid values.
        expected: String,
    },
    /// Settings that contradict each other.
    #[error("{0}")]
    Refused(String),
    /// `local.settings.json` cannot be read.
    #[error("{path} cannot be read: {reason}")]
    File {
        /// Path of the file.
        path: String,
        /// Description of the fault.
        reason: String,
    },
}

/// Source of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A command-line flag.
    CommandLine,
    /// The process environment.
    Environment,
    /// `Values` of `local.settings.json`.
    LocalSettings,
    /// The default.
    Default,
}

impl Source {
    /// Returns the name for display.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommandLine => "command line",
            Self::Environment => "environment",
            Self::LocalSettings => "local.settings.json",
            Self::Default => "default",
        }
    }
}

/// A setting as shown by `pluckit config`.
#[derive(Debug, Clone)]
pub struct Effective {
    /// Name of the setting.
    pub name: &'static str,
    /// Value, masked if it is a secret; empty if it is not set and has no default.
    pub value: String,
    /// Whether it is a secret.
    pub is_secret: bool,
    /// Source of the value.
    pub source: Source,
    /// Sources whose values were overridden.
    pub shadowed: Vec<Source>,
}

/// Reads settings one by one and records each for `pluckit config`.
pub struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<(String, Source)>,
    effective: Vec<Effective>,
    warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Reads from `lookup`, which knows where a value comes from.
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<(String, Source)>) -> Self {
        Self { lookup, effective: Vec::new(), warnings: Vec::new() }
    }

    /// Returns all settings that were read, in that order, and the warnings about them.
    pub fn into_effective(self) -> (Vec<Effective>, Vec<String>) {
        (self.effective, self.warnings)
    }

    /// Records a value that is accepted, though it is probably a mistake.
    pub fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    pub fn find(&mut self, name: &'static str, default: &str) -> Option<String> {
        let found = (self.lookup)(name).filter(|(value, _)| !value.trim().is_empty());
        let (value, source) = found.clone().unwrap_or_else(|| (default.to_owned(), Source::Default));
        self.note(name, value.trim().to_owned(), source);
        found.map(|(value, _)| value.trim().to_owned())
    }

    pub fn note(&mut self, name: &'static str, value: String, source: Source) {
        self.effective.retain(|setting| setting.name != name);
        self.effective.push(Effective { name, value, is_secret: false, source, shadowed: Vec::new() });
    }

    /// Records a default that depends on other settings.
    pub fn note_default(&mut self, name: &'static str, value: &str) {
        for setting in &mut self.effective {
            if setting.name == name && setting.source == Source::Default {
                value.clone_into(&mut setting.value);
            }
        }
    }

    pub fn optional(&mut self, name: &'static str) -> Option<String> {
        self.find(name, "")
    }

    pub fn text(&mut self, name: &'static str, default: &str) -> String {
        self.find(name, default).unwrap_or_else(|| default.to_owned())
    }

    pub fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        let (value, source) = (self.lookup)(name).filter(|(value, _)| !value.trim().is_empty()).unzip();
        let shown = if value.is_some() { "********" } else { "" };
        self.note(name, shown.to_owned(), source.unwrap_or(Source::Default));
        self.effective.last_mut().expect("just noted").is_secret = true;
        value.map(|value| SecretString::from(value.trim().to_owned()))
    }

    pub fn list(&mut self, name: &'static str, separators: &[char]) -> Vec<String> {
        let text = self.optional(name).unwrap_or_default();
        text.split(separators).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    pub fn parsed<T: FromStr + ToString>(
        &mut self,
        name: &'static str,
        default: T,
        expected: &str,
    ) -> Result<T, Error> {
        let Some(got) = self.find(name, &default.to_string()) else { return Ok(default) };
        got.parse().map_err(|_| Error::Invalid { name, got, expected: expected.to_owned() })
    }

    pub fn number<T>(&mut self, name: &'static str, default: T, least: T, most: T) -> Result<T, Error>
    where
        T: FromStr + ToString + PartialOrd + Copy,
    {
        let expected = format!("a whole number from {} to {}", least.to_string(), most.to_string());
        let number = self.parsed(name, default, &expected)?;
        if number < least || number > most {
            return Err(Error::Invalid { name, got: number.to_string(), expected });
        }
        Ok(number)
    }

    /// Reads a duration in seconds, possibly fractional.
    pub fn seconds(&mut self, name: &'static str, default: f64, most: f64) -> Result<Duration, Error> {
        let expected = format!("a number of seconds from 0 to {most}");
        let seconds = self.parsed(name, default, &expected)?;
        if !(0.0..=most).contains(&seconds) {
            return Err(Error::Invalid { name, got: seconds.to_string(), expected });
        }
        Ok(Duration::from_secs_f64(seconds))
    }

    /// A part of a whole.
    pub fn share(&mut self, name: &'static str, default: f64) -> Result<f64, Error> {
        let expected = "a number from 0 to 1";
        let share = self.parsed(name, default, expected)?;
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::Invalid { name, got: share.to_string(), expected: expected.to_owned() });
        }
        Ok(share)
    }

    pub fn flag(&mut self, name: &'static str, default: bool) -> Result<bool, Error> {
        let Some(got) = self.find(name, if default { "true" } else { "false" }) else { return Ok(default) };
        match got.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            _ => Err(Error::Invalid { name, got, expected: "true or false".to_owned() }),
        }
    }

    pub fn url(&mut self, name: &'static str, default: &str) -> Result<Url, Error> {
        let text = self.text(name, default);
        self.note_urls(name);
        parse_url(name, text)
    }

    pub fn optional_url(&mut self, name: &'static str) -> Result<Option<Url>, Error> {
        let text = self.optional(name);
        self.note_urls(name);
        text.map(|text| parse_url(name, text)).transpose()
    }

    /// Masks secret parts of the recorded URLs, which are separated by commas.
    pub fn note_urls(&mut self, name: &'static str) {
        for setting in self.effective.iter_mut().filter(|setting| setting.name == name) {
            setting.value = setting.value.split(',').map(masked_url).collect::<Vec<_>>().join(",");
        }
    }
}

/// Masks the secret parts of a URL: credentials, query and fragment.
pub fn masked_url(text: &str) -> String {
    const MASK: &str = "********";
    let authority = text.find("://").map_or(0, |mark| mark + 3);
    // In an invalid URL, the end of a password cannot be determined.
    let end = match Url::parse(text) {
        Ok(_) => text[authority..].find(['/', '?', '#']).map_or(text.len(), |length| authority + length),
        Err(_) => text.len(),
    };
    let (shown, rest) = match text[..end].rfind('@') {
        Some(at) if at >= authority => (format!("{}{MASK}", &text[..authority]), &text[at..]),
        Some(at) => (MASK.to_owned(), &text[at..]),
        None => (String::new(), text),
    };
    match rest.find(['?', '#']) {
        Some(mark) if mark + 1 < rest.len() => format!("{shown}{}{MASK}", &rest[..=mark]),
        _ => shown + rest,
    }
}

/// Parses a URL. Credentials in it are refused, because `pluckit config` and logs would show them.
pub fn parse_url(name: &'static str, got: String) -> Result<Url, Error> {
    // The message says what is expected, whatever the mistake.
    let parsed = Url::parse(&got).ok();
    let has_credentials = |url: &Url| !url.username().is_empty() || url.password().is_some();
    match parsed {
        Some(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && !has_credentials(&url) => Ok(url),
        Some(_) | None => Err(Error::Invalid {
            name,
            got: masked_url(&got),
            expected: "an http or https URL without user name and password".to_owned(),
        }),
    }
}

/// Whether the URL's host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
