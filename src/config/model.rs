//! Which language model answers.

use secrecy::SecretString;
use url::Url;

use super::reader::{Error, Reader};
use crate::model::prices::Prices;

/// Model server: Azure OpenAI, or an OpenAI-compatible one.
#[derive(Debug, Clone)]
pub struct ModelServer {
    /// Endpoint of the Azure resource (`https://name.openai.azure.com`), or base URL of the API including `/v1`.
    pub url: Url,
    /// API version of Azure OpenAI; `None` for an OpenAI-compatible server.
    pub azure_version: Option<String>,
    /// API key. Without it an identity signs in to Azure, and another server gets none.
    pub key: Option<SecretString>,
    /// Model (on Azure: deployment) for the stylist.
    pub model: String,
    /// Model for small tasks.
    pub nano_model: String,
    /// Model for embeddings.
    pub embedding_model: String,
}

impl ModelServer {
    /// Reads the settings of this group; `None` for the offline model.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, Error> {
        let endpoint = reader.optional_url("AZURE_OPENAI_ENDPOINT")?;
        let key = reader.secret("AZURE_OPENAI_API_KEY");
        let azure_version = Some(reader.text("AZURE_OPENAI_API_VERSION", "2024-12-01-preview"));
        let model = reader.text("AZURE_OPENAI_DEPLOYMENT", "gpt-4.1-mini");
        let nano_model = reader.text("AZURE_OPENAI_NANO_DEPLOYMENT", &model);
        let embedding_model = reader.text("AZURE_OPENAI_EMBEDDING_DEPLOYMENT", "text-embedding-3-small");
        let azure = endpoint.map(|url| Self { url, azure_version, key, model, nano_model, embedding_model });
        let base_url = reader.optional_url("OPENAI_BASE_URL")?;
        let key = reader.secret("OPENAI_API_KEY");
        let model = reader.text("OPENAI_MODEL", "gpt-4.1-mini");
        let nano_model = reader.text("OPENAI_NANO_MODEL", &model);
        let embedding_model = reader.text("OPENAI_EMBEDDING_MODEL", "text-embedding-3-small");
        let other = base_url.map(|url| Self { url, azure_version: None, key, model, nano_model, embedding_model });
        Ok(azure.or(other))
    }
}

/// Reads the prices of models.
pub(super) fn read_prices(reader: &mut Reader<'_>) -> Result<Prices, Error> {
    let expected =
        "prices per million tokens of requests and answers, such as gpt-4.1-mini=0.40/1.60, separated by commas";
    reader.parsed("MODEL_PRICES", Prices::default(), expected)
}
