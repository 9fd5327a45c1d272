//! Which language model answers.

use secrecy::SecretString;
use url::Url;

use super::reader::{Error, Reader};

/// Language model.
#[derive(Debug, Clone)]
pub enum ModelServer {
    /// The offline model.
    Offline,
    /// Azure OpenAI.
    Azure {
        /// Endpoint of the resource.
        endpoint: Url,
        /// API key; an identity is used without it.
        key: Option<SecretString>,
        /// API version.
        api_version: String,
        /// Deployment for the stylist.
        deployment: String,
        /// Deployment for small tasks.
        nano_deployment: String,
        /// Deployment for embeddings.
        embedding_deployment: String,
    },
    /// An OpenAI-compatible server.
    Compatible {
        /// Base URL, including `/v1`.
        base_url: Url,
        /// API key, if the server needs one.
        key: Option<SecretString>,
        /// Model for the stylist.
        model: String,
        /// Model for small tasks.
        nano_model: String,
        /// Model for embeddings.
        embedding_model: String,
    },
}

impl ModelServer {
    /// Reads the settings of this group.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let endpoint = reader.optional_url("AZURE_OPENAI_ENDPOINT")?;
        let key = reader.secret("AZURE_OPENAI_API_KEY");
        let api_version = reader.text("AZURE_OPENAI_API_VERSION", "2024-12-01-preview");
        let deployment = reader.text("AZURE_OPENAI_DEPLOYMENT", "gpt-4.1-mini");
        let nano_deployment = reader.text("AZURE_OPENAI_NANO_DEPLOYMENT", &deployment);
        let embedding_deployment = reader.text("AZURE_OPENAI_EMBEDDING_DEPLOYMENT", "text-embedding-3-small");
        let base_url = reader.optional_url("OPENAI_BASE_URL")?;
        let compatible_key = reader.secret("OPENAI_API_KEY");
        let model = reader.text("OPENAI_MODEL", "gpt-4.1-mini");
        let nano_model = reader.text("OPENAI_NANO_MODEL", &model);
        let embedding_model = reader.text("OPENAI_EMBEDDING_MODEL", "text-embedding-3-small");
        Ok(match (endpoint, base_url) {
            (Some(endpoint), _) => {
                ModelServer::Azure { endpoint, key, api_version, deployment, nano_deployment, embedding_deployment }
            }
            (None, Some(base_url)) => {
                ModelServer::Compatible { base_url, key: compatible_key, model, nano_model, embedding_model }
            }
            (None, None) => ModelServer::Offline,
        })
    }
}
