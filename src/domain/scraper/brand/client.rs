//! Fetches and reads the pages of a brand's site.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use encoding_rs::{Encoding, UTF_8};
use tracing::{debug, warn};
use url::Url;

use super::scrape::{self, Page};
use super::{ConfigError, SelectorConfig};
use crate::base::chain::Chain;
use crate::domain::scraper::candidate::Candidate;
use crate::domain::scraper::polite::{PoliteError, RobotsClient};
use crate::net::guarded::{Answer, FetchError, FetchLimits, Fetched, UrlRefused, Validators, check_url};

/// Limits of a page.
const LIMITS: FetchLimits = FetchLimits { size_bytes: 2 * 1024 * 1024, time: Duration::from_secs(30) };
/// Most pages of a list.
pub const MAX_PAGES: usize = 5;
/// Most products of a site.
const MAX_PRODUCTS: usize = MAX_PAGES * scrape::MAX_PRODUCTS;
/// Bytes of a page that are searched for its encoding, as in browsers.
const ENCODING_BYTES: usize = 1024;

/// Why a site gave no products.
#[derive(Debug, thiserror::Error)]
pub enum BrandError {
    /// The source's configuration is invalid.
    #[error("the site's configuration cannot be used")]
    Config(#[from] ConfigError),
    /// The source's URL is refused.
    #[error("the site's address cannot be used")]
    Address(#[source] UrlRefused),
    /// The source's first page could not be fetched.
    #[error("the site's first page cannot be fetched")]
    Page(#[from] PoliteError),
    /// The page could not be parsed.
    #[error("the site's page cannot be read")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl BrandError {
    /// Whether another attempt may succeed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Config(_) | Self::Address(_) => false,
            Self::Page(error) => error.is_temporary(),
            Self::Interrupted(_) => true,
        }
    }
}

/// Result of reading a site.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Harvest {
    /// Products without duplicate URLs.
    pub candidates: Vec<Candidate>,
    /// Whether the first page is unchanged and nothing was read.
    pub is_unchanged: bool,
    /// Validators for the next time.
    pub validators: Validators,
}

/// Reads brands' sites.
pub struct BrandSites {
    robots: Arc<RobotsClient>,
}

impl BrandSites {
    /// Creates a reader.
    pub fn new(robots: Arc<RobotsClient>) -> Self {
        Self { robots }
    }

    /// Fetches a page; returns its HTML and final URL.
    ///
    /// # Errors
    /// When `robots.txt` forbids it, or the fetch fails.
    pub async fn page(&self, url: &Url) -> Result<(String, Url), PoliteError> {
        match self.robots.page(url, LIMITS, &Validators::default()).await? {
            Answer::Fetched(fetched) => Ok((decode(&fetched), fetched.url)),
            Answer::NotModified => Err(FetchError::Status(reqwest::StatusCode::NOT_MODIFIED).into()),
        }
    }

    /// Reads the products of a site: of its first page, unless unchanged since `known`, and up to five pages on the
    /// same host. A failing later page ends the list.
    ///
    /// # Errors
    /// When the configuration is invalid or the first page cannot be fetched.
    pub async fn fetch(&self, config: &SelectorConfig, known: &Validators) -> Result<Harvest, BrandError> {
        config.check()?;
        let mut harvest = Harvest::default();
        let mut products = HashSet::new();
        let mut visited = HashSet::new();
        let mut next = Some(check_url(&config.source_url).map_err(BrandError::Address)?);
        while let Some(url) = next.take().filter(|url| visited.len() < MAX_PAGES && !visited.contains(url)) {
            let is_first = visited.is_empty();
            visited.insert(url.clone());
            let unconditional = Validators::default();
            let known = if is_first { known } else { &unconditional };
            let fetched = match self.robots.page(&url, LIMITS, known).await {
                Ok(Answer::Fetched(fetched)) => fetched,
                Ok(Answer::NotModified) => {
                    return Ok(Harvest { is_unchanged: true, validators: known.clone(), ..harvest });
                }
                Err(error) if is_first => return Err(error.into()),
                Err(error) => {
                    warn!(error = %Chain(&error), pages = visited.len() - 1, "product list read in part");
                    break;
                }
            };
            if is_first {
                harvest.validators = fetched.validators.clone();
            } else if fetched.url.origin() != url.origin() {
                debug!("next page of a product list is on another site");
                break;
            }
            // A page that redirects to an earlier one is not read twice.
            if fetched.url != url && !visited.insert(fetched.url.clone()) {
                break;
            }
            let config = config.clone();
            let read = move || scrape::scrape(&config, &decode(&fetched), &fetched.url);
            let Page { candidates, next: following } = tokio::task::spawn_blocking(read).await??;
            let before = harvest.candidates.len();
            let room = MAX_PRODUCTS - before;
            let new = candidates.into_iter().filter(|candidate| products.insert(candidate.product_url.clone()));
            harvest.candidates.extend(new.take(room));
            // A page without new products is the last one again, at another URL.
            next = following.filter(|_| harvest.candidates.len() > before);
        }
        Ok(harvest)
    }
}

/// Decodes a page: by the encoding of the response, of the page, or UTF-8. Invalid bytes become replacement characters.
fn decode(fetched: &Fetched) -> String {
    let label = |text: &str| {
        let (_, after) = text.split_once("charset=")?;
        let label = after.trim_start_matches(['"', '\'']);
        let end = label.find(|letter: char| matches!(letter, '"' | '\'' | ';' | '>' | '/') || letter.is_whitespace());
        Encoding::for_label(&label.as_bytes()[..end.unwrap_or(label.len())])
    };
    let head = &fetched.body[..fetched.body.len().min(ENCODING_BYTES)];
    let encoding = label(&fetched.content_type.to_ascii_lowercase())
        .or_else(|| label(&String::from_utf8_lossy(head).to_ascii_lowercase()))
        .unwrap_or(UTF_8);
    encoding.decode(&fetched.body).0.into_owned()
}
