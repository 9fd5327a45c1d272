//! Fetches the pages of a brand's site, politely, and reads them.

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
use crate::domain::scraper::polite::{PoliteError, Visitor};
use crate::net::guarded::{Answer, FetchError, Fetched, Limits, UrlRefused, Validators, check_url};

/// The largest page that is read.
const LIMITS: Limits = Limits { size_bytes: 2 * 1024 * 1024, time: Duration::from_secs(30) };
/// Most pages of a list that are read.
pub const MAX_PAGES: usize = 5;
/// Most products of a site that are taken.
const MAX_PRODUCTS: usize = MAX_PAGES * scrape::MAX_PRODUCTS;
/// How far into a page its own word on its encoding counts, in bytes, as in browsers.
const ENCODING_BYTES: usize = 1024;

/// Why a site gave no products.
#[derive(Debug, thiserror::Error)]
pub enum BrandError {
    /// Its configuration cannot be used.
    #[error("the site's configuration cannot be used")]
    Config(#[from] ConfigError),
    /// Its address, as configured, cannot be used.
    #[error("the site's address cannot be used")]
    Address(#[source] UrlRefused),
    /// Its first page.
    #[error("the site's first page cannot be had")]
    Page(#[from] PoliteError),
    /// The page could not be read.
    #[error("the site's page cannot be read")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl BrandError {
    /// Whether the same may well succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Config(_) | Self::Address(_) => false,
            Self::Page(error) => error.is_temporary(),
            Self::Interrupted(_) => true,
        }
    }
}

/// What a site gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Harvest {
    /// Its products, each address once.
    pub candidates: Vec<Candidate>,
    /// Whether the first page is still the version that the caller knew, in which case nothing was read.
    pub is_unchanged: bool,
    /// For the next time.
    pub validators: Validators,
}

/// Brands' sites.
pub struct BrandSites {
    visitor: Arc<Visitor>,
}

impl BrandSites {
    /// Fetches with this visitor.
    pub fn new(visitor: Arc<Visitor>) -> Self {
        Self { visitor }
    }

    /// A page's HTML, and where it was in the end.
    ///
    /// # Errors
    /// When the site does not let robots see it, or it cannot be had.
    pub async fn page(&self, url: &Url) -> Result<(String, Url), PoliteError> {
        match self.visitor.page(url, LIMITS, &Validators::default()).await? {
            Answer::Fetched(fetched) => Ok((decode(&fetched), fetched.url)),
            Answer::NotModified => Err(FetchError::Status(reqwest::StatusCode::NOT_MODIFIED).into()),
        }
    }

    /// The products of a site: of its first page, unless that is still as `known`, and of those that it leads on to, at most
    /// five on one host. A later page that fails costs only itself and what comes after it.
    ///
    /// # Errors
    /// When the configuration cannot be used or the first page cannot be had.
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
            let fetched = match self.visitor.page(&url, LIMITS, known).await {
                Ok(Answer::Fetched(fetched)) => fetched,
                Ok(Answer::NotModified) => {
                    return Ok(Harvest { is_unchanged: true, validators: known.clone(), ..harvest });
                }
                Err(error) if is_first => return Err(error.into()),
                Err(error) => {
                    warn!(error = %Chain(&error), pages = visited.len() - 1, "list of products broken off");
                    break;
                }
            };
            if is_first {
                harvest.validators = fetched.validators.clone();
            } else if fetched.url.origin() != url.origin() {
                debug!("list of products leads to another site");
                break;
            }
            // A page that redirects to one that was there before is not read twice.
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
            // A page of nothing new is the last one again under another address.
            next = following.filter(|_| harvest.candidates.len() > before);
        }
        Ok(harvest)
    }
}

/// A page's text: in the encoding that the site says, else the one that the page says, else UTF-8. What is not a letter in
/// that becomes a replacement character.
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
