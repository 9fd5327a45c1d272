//! Extracts the pieces listed in an earlier answer from its text.

/// Returns the pieces that an answer lists.
pub fn shown_names(answer: &str) -> Vec<String> {
    let name = |line: &str| {
        let (_, rest) = line.strip_prefix("- ")?.split_once("your ")?;
        let end = rest.find([',', ';', ':', '(']).or_else(|| rest.find(". ")).unwrap_or(rest.len());
        Some(rest[..end].trim_end_matches('.').trim().to_owned())
    };
    answer.lines().filter_map(name).filter(|name| !name.is_empty()).collect()
}

/// Returns the pieces of each outfit in an answer; outfits are separated by blank lines.
pub fn shown_outfits(answer: &str) -> Vec<Vec<String>> {
    answer.split("\n\n").map(shown_names).filter(|names| !names.is_empty()).collect()
}

/// Returns the pieces of an answer, including several on one line: "- 2 tops: your white tee and your navy polo."
pub fn counted_names(answer: &str) -> Vec<String> {
    let names = |line: &str| -> Vec<String> {
        match line.split_once(": ") {
            Some((head, rest)) if head.starts_with(|first: char| first.is_ascii_digit()) => {
                let names = rest.split("your ").map(|name| name.trim_end_matches([' ', ',', '.']));
                let names = names.map(|name| name.strip_suffix(" and").unwrap_or(name));
                names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
            }
            _ => shown_names(&format!("- {line}")),
        }
    };
    answer.lines().filter_map(|line| line.strip_prefix("- ")).flat_map(names).collect()
}
