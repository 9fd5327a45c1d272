//! Things found in feeds and on brands' sites.

use std::sync::Arc;

use futures::stream::Stream;
use serde_json::Value;

use super::{Result, pages};
use crate::model::item::ScrapedItem;
use crate::store::{Container, DocumentStore, Filter, Query};

/// Partition of the items that everybody sees.
pub const GLOBAL: &str = "global";

const SEARCH_FIELDS: &[&str] =
    &["id", "sourceId", "title", "imageUrl", "productUrl", "buyLinks", "tags", "scoreSignal", "embedding"];

/// The scraped items of all partitions.
#[derive(Clone)]
pub struct Items(Arc<dyn DocumentStore>);

impl Items {
    pub(super) fn new(store: Arc<dyn DocumentStore>) -> Self {
        Self(store)
    }

    /// All items of the global pool whose picture is still there, with their vectors, page by page.
    pub fn global_with_vectors(&self) -> impl Stream<Item = Result<ScrapedItem>> + Send + '_ {
        let has_image =
            Filter::Any(vec![Filter::is_absent("imageExpired"), Filter::not_equal("imageExpired", Value::Bool(true))]);
        let query = Query::partition(Container::ScrapedItems, GLOBAL).matching(has_image).select(SEARCH_FIELDS);
        pages::walk(&*self.0, query)
    }
}
