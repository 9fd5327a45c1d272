//! Content types that a caller accepts.

/// Content that the caller accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A raster image: anything under `image/` except SVG.
    Image,
    /// A web page.
    Html,
    /// A feed: RSS, Atom or other XML, JSON Feed, or plain text or gzip, which some sites declare.
    Feed,
    /// A sitemap: XML, plain text, or either of them gzipped.
    Sitemap,
    /// JSON.
    Json,
    /// Plain text.
    Text,
    /// `robots.txt`, with any text type or none.
    Robots,
}

impl Expect {
    /// Returns the value of the `Accept` header.
    pub(super) const fn accept(self) -> &'static str {
        match self {
            Self::Image => "image/jpeg,image/png,image/webp,image/*;q=0.5",
            Self::Html => "text/html,application/xhtml+xml",
            Self::Feed => "application/rss+xml,application/atom+xml,application/xml;q=0.9,text/xml;q=0.9,*/*;q=0.1",
            Self::Sitemap => "application/xml,text/xml,application/gzip,*/*;q=0.1",
            Self::Json => "application/json",
            Self::Text => "text/plain",
            Self::Robots => "text/plain,*/*;q=0.1",
        }
    }

    /// Whether the content type is acceptable.
    pub(super) fn accepts(self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_xml = essence.ends_with("+xml") && !essence.starts_with("image/")
            || matches!(essence.as_str(), "application/xml" | "text/xml");
        let is_json = essence.ends_with("+json") || matches!(essence.as_str(), "application/json" | "text/json");
        let is_packed =
            matches!(essence.as_str(), "application/gzip" | "application/x-gzip" | "application/octet-stream");
        match self {
            Self::Image => {
                essence.strip_prefix("image/").is_some_and(|kind| !kind.is_empty() && !kind.starts_with("svg"))
            }
            Self::Html => matches!(essence.as_str(), "text/html" | "application/xhtml+xml"),
            Self::Feed => is_xml || is_json || is_packed || essence == "text/plain",
            Self::Sitemap => is_xml || is_packed || essence == "text/plain",
            Self::Json => is_json,
            Self::Text => essence == "text/plain",
            Self::Robots => essence.is_empty() || essence.starts_with("text/") || essence == "application/octet-stream",
        }
    }
}
