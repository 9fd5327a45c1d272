//! Remarks about settings that have no effect.

use super::reader::{Effective, Source};

/// Settings that disable others: the first one, if set, makes the listed ones ineffective.
const REPLACED: &[(&str, &[&str])] = &[
    ("FUNCTIONS_CUSTOMHANDLER_PORT", &["PLUCKIT_BIND", "PORT"]),
    ("COSMOS_DB_ENDPOINT", &["PLUCKIT_DATA_DIR", "PLUCKIT_DEMO"]),
    (
        "AZURE_OPENAI_ENDPOINT",
        &["OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL", "OPENAI_NANO_MODEL", "OPENAI_EMBEDDING_MODEL"],
    ),
    ("StorageQueue", &["StorageQueue__queueServiceUri"]),
];

impl Effective {
    /// Returns a remark about a setting that has no effect or overrides another value; `all` are all settings.
    pub fn note(&self, all: &[Self]) -> Option<String> {
        let is_set = |name: &str| all.iter().any(|other| other.name == name && other.source != Source::Default);
        let replacement = REPLACED.iter().find(|(winner, idle)| idle.contains(&self.name) && is_set(winner));
        if let Some((winner, _)) = replacement.filter(|_| self.source != Source::Default) {
            return Some(format!("without effect: {winner} is set"));
        }
        let shadowed: Vec<_> = self.shadowed.iter().map(|source| source.name()).collect();
        (!shadowed.is_empty()).then(|| format!("overrides {}", shadowed.join(" and ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &'static str, source: Source, shadowed: &[Source]) -> Effective {
        Effective { name, value: "1".to_owned(), is_secret: false, source, shadowed: shadowed.to_vec() }
    }

    #[test]
    fn what_is_set_without_effect_is_said() {
        let all = [
            setting("COSMOS_DB_ENDPOINT", Source::Environment, &[]),
            setting("PLUCKIT_DATA_DIR", Source::LocalSettings, &[]),
            setting("PLUCKIT_DEMO", Source::Default, &[]),
            setting("PORT", Source::Environment, &[Source::LocalSettings]),
        ];
        let notes: Vec<_> = all.iter().map(|setting| setting.note(&all)).collect();
        let expected = [
            None,
            Some("without effect: COSMOS_DB_ENDPOINT is set".to_owned()),
            None,
            Some("overrides local.settings.json".to_owned()),
        ];
        assert_eq!(notes, expected);
    }
}
