//! Brands' sites: product lists read with CSS selectors, which the model finds once.
//!
//! [`generate`] finds the selectors, [`scrape`] reads a page with them, [`client`] fetches the pages.

pub mod client;
pub mod generate;
mod pictures;
mod prices;
pub mod scrape;

use scraper::Selector;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::lenient;
use crate::net::html::{self, SelectorError};

/// Selectors of a site's products. Unknown fields are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SelectorConfig {
    /// Selects the element of each product. All others except the pagination select within it; if empty, the likeliest
    /// element is used.
    #[serde(deserialize_with = "lenient::or_default")]
    pub product_container: String,
    /// Selects the name.
    #[serde(deserialize_with = "lenient::or_default")]
    pub title: String,
    /// Selects the price.
    #[serde(deserialize_with = "lenient::or_default")]
    pub price: String,
    /// Selects the picture.
    #[serde(deserialize_with = "lenient::or_default")]
    pub image_url: String,
    /// Attribute with the picture's URL.
    #[serde(deserialize_with = "lenient::or_default")]
    pub image_attr: String,
    /// Selects the link to the product page.
    #[serde(deserialize_with = "lenient::or_default")]
    pub product_url: String,
    /// Pagination.
    #[serde(deserialize_with = "lenient::or_default")]
    pub pagination: Pagination,
    /// Notes for people.
    #[serde(deserialize_with = "lenient::or_default")]
    pub notes: String,
    /// URL of the first page.
    #[serde(deserialize_with = "lenient::or_default")]
    pub source_url: String,
    /// Whether a model created it.
    #[serde(rename = "generatedByLLM", deserialize_with = "lenient::or_default")]
    pub generated_by_llm: bool,
    /// Unknown fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Pagination of a product list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pagination {
    /// `next_link`, or `none` for a single page.
    #[serde(rename = "type", deserialize_with = "lenient::or_default")]
    pub kind: String,
    /// Selects the link to the next page.
    #[serde(deserialize_with = "lenient::or_default")]
    pub next_selector: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// An invalid field of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The container selector is missing.
    #[error("the configuration has no productContainer")]
    NoContainer,
    /// A selector is invalid.
    #[error("the configuration's {field} cannot be used")]
    Selector {
        /// Field name.
        field: &'static str,
        /// Underlying error.
        #[source]
        error: SelectorError,
    },
    /// The attribute name is invalid.
    #[error("the configuration's imageAttr is not the name of an attribute")]
    Attribute,
}

/// Parsed selectors of a configuration.
#[derive(Debug, Clone)]
struct Selectors {
    container: Selector,
    title: Option<Selector>,
    price: Option<Selector>,
    picture: Option<Selector>,
    picture_attribute: String,
    link: Option<Selector>,
    next: Option<Selector>,
}

impl SelectorConfig {
    /// Checks the configuration.
    ///
    /// # Errors
    /// The first invalid field.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.selectors().map(|_| ())
    }

    fn selectors(&self) -> Result<Selectors, ConfigError> {
        let parse = |field, text: &str| {
            let wanted = (!text.trim().is_empty()).then_some(text);
            wanted.map(html::selector).transpose().map_err(|error| ConfigError::Selector { field, error })
        };
        let attribute = self.image_attr.trim().to_ascii_lowercase();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':');
        if attribute.len() > 40 || !attribute.bytes().all(is_name) {
            return Err(ConfigError::Attribute);
        }
        let next = parse("pagination.nextSelector", &self.pagination.next_selector)?;
        Ok(Selectors {
            container: parse("productContainer", &self.product_container)?.ok_or(ConfigError::NoContainer)?,
            title: parse("title", &self.title)?,
            price: parse("price", &self.price)?,
            picture: parse("imageUrl", &self.image_url)?,
            picture_attribute: attribute,
            link: parse("productUrl", &self.product_url)?,
            next: next.filter(|_| !self.pagination.kind.eq_ignore_ascii_case("none")),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stored_configuration_keeps_what_has_no_name_here() {
        let stored = json!({
            "productContainer": "li", "title": "h2", "price": null, "imageUrl": "img", "imageAttr": "data-src",
            "productUrl": "a", "pagination": {"type": "next_link", "nextSelector": "a.next", "pages": 3}, "notes": "",
            "sourceUrl": "https://shop.example/new", "generatedByLLM": true, "version": 2,
        });
        let config: SelectorConfig = serde_json::from_value(stored.clone()).unwrap();
        config.check().unwrap();
        let mut expected = stored;
        expected["price"] = json!("");
        assert_eq!(serde_json::to_value(&config).unwrap(), expected);
    }

    #[test]
    fn a_field_that_cannot_be_used_is_named() {
        let config = SelectorConfig { product_container: "li".to_owned(), ..SelectorConfig::default() };
        config.check().unwrap();
        assert_eq!(SelectorConfig::default().check(), Err(ConfigError::NoContainer));
        let price = SelectorConfig { price: "..".to_owned(), ..config.clone() };
        assert_eq!(price.check().unwrap_err().to_string(), "the configuration's price cannot be used");
        let attribute = SelectorConfig { image_attr: "on load".to_owned(), ..config };
        assert_eq!(attribute.check(), Err(ConfigError::Attribute));
    }
}
