//! Azure OpenAI and OpenAI-compatible servers, through `async-openai`.
//!
//! The library builds URLs and makes unstreamed calls; streams are read with `reqwest` and `eventsource-stream`.
//! `transport` enforces limits and retries, `wire` writes requests in the server's `dialect`, and `assembler` and
//! `json` read answers, because the library's types reject what compatible servers send. Errors and logs contain no
//! keys, prompts or answers.

mod assembler;
mod dialect;
mod json;
mod lines;
mod transport;
mod wire;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_openai::Client;
use async_openai::config::Config;
use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential};
use futures::{StreamExt, stream};
use reqwest::Request;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tokio::time::{timeout, timeout_at};
use tower::service_fn;
use url::Url;

use self::assembler::{Assembler, Ending};
use self::dialect::{Dialect, Learned};
pub use self::transport::Limits;
use self::transport::{Call, DONE, Events, Failed, Fault, failed};
use super::{CallContext, ChatRequest, Error, Model, Part, PartStream, Purpose, Reply, Result};
use crate::base::clock::Clock;
use crate::config::ModelServer;

/// Scope of a token for Azure OpenAI.
const ENTRA_SCOPE: &str = "https://cognitiveservices.azure.com/.default";

/// How long before its expiry a token is replaced.
const TOKEN_MARGIN: Duration = Duration::from_secs(300);

/// Most texts per embedding request. Servers accept up to 2048, but that answer is 60 MB of JSON.
const EMBEDDING_BATCH: usize = 256;

/// How long to wait for usage after the answer. Most servers send it at once, some never do and keep the stream open.
const USAGE_GRACE: Duration = Duration::from_secs(2);

/// Why the options are invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The key cannot be sent in a header, for example because of a line break.
    #[error("the key of the model server contains characters that are not allowed in an HTTP header")]
    Key,
    /// The URL is not `http` or `https`, or contains credentials.
    #[error("the address of the model server must be http or https, without user name and password")]
    Address,
}

/// A model server as a [`Model`].
pub struct OpenAi {
    http: reqwest::Client,
    limits: Limits,
    authentication: Authentication,
    query: Vec<(String, String)>,
    models_url: String,
    main: Deployment,
    nano: Deployment,
    embedding: Deployment,
}

/// A model and its URL.
struct Deployment {
    name: String,
    base: String,
    /// Whether requests must name the model, because the URL does not.
    is_named: bool,
    /// Learned dialect.
    learned: Learned,
}

impl Deployment {
    fn model(&self) -> Option<&str> {
        self.is_named.then_some(self.name.as_str())
    }
}

enum Authentication {
    Open,
    Fixed(HeaderName, HeaderValue),
    Entra { credential: Arc<dyn TokenCredential>, clock: Arc<dyn Clock>, token: Mutex<Option<AccessToken>> },
}

impl Authentication {
    fn fixed(name: HeaderName, value: &str) -> std::result::Result<Self, OptionsError> {
        Ok(Self::Fixed(name, secret_value(value).ok_or(OptionsError::Key)?))
    }

    async fn header(&self) -> Result<Option<(HeaderName, HeaderValue)>> {
        let (credential, clock, token) = match self {
            Self::Open => return Ok(None),
            Self::Fixed(name, value) => return Ok(Some((name.clone(), value.clone()))),
            Self::Entra { credential, clock, token } => (credential, clock, token),
        };
        // Locked while a token is requested, so that concurrent calls share one request.
        let mut token = token.lock().await;
        let lives = |token: &AccessToken, margin: Duration| token.expires_on > clock.now() + margin;
        if !token.as_ref().is_some_and(|token| lives(token, TOKEN_MARGIN)) {
            match credential.get_token(&[ENTRA_SCOPE], None).await {
                Ok(fresh) => *token = Some(fresh),
                Err(_) if token.as_ref().is_some_and(|token| lives(token, Duration::ZERO)) => {}
                Err(error) => return Err(Error::Unavailable(Fault::Token(error).into())),
            }
        }
        let bearer = token.as_ref().map(|token| format!("Bearer {}", token.token.secret()));
        Ok(bearer.and_then(|bearer| secret_value(&bearer)).map(|value| (AUTHORIZATION, value)))
    }
}

fn secret_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { main, nano, embedding, limits, .. } = self;
        let models = [&main.name, &nano.name, &embedding.name];
        formatter.debug_struct("OpenAi").field("models", &models).field("limits", limits).finish_non_exhaustive()
    }
}

/// Configuration of `async-openai` for one call.
struct Endpoint {
    base: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    no_key: SecretString,
}

impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        self.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn api_base(&self) -> &str {
        &self.base
    }

    fn api_key(&self) -> &SecretString {
        &self.no_key
    }
}

impl OpenAi {
    /// Creates a model. Does not connect. `identity` signs in to Azure without a key, by the clock.
    pub fn new(
        server: ModelServer,
        identity: Option<(Arc<dyn TokenCredential>, Arc<dyn Clock>)>,
        limits: Limits,
        http: reqwest::Client,
    ) -> std::result::Result<Self, OptionsError> {
        let ModelServer { url, azure_version, key, model, nano_model, embedding_model } = server;
        let is_azure = azure_version.is_some();
        let base = base(&url)? + if is_azure { "/openai" } else { "" };
        let authentication = match (&key, identity) {
            (Some(key), _) if is_azure => {
                Authentication::fixed(HeaderName::from_static("api-key"), key.expose_secret())?
            }
            (Some(key), _) => Authentication::fixed(AUTHORIZATION, &format!("Bearer {}", key.expose_secret()))?,
            (None, Some((credential, clock))) => Authentication::Entra { credential, clock, token: Mutex::new(None) },
            (None, None) => Authentication::Open,
        };
        // Only the starting point; refusals are learned.
        let is_original = is_azure || url.host_str() == Some("api.openai.com");
        let guess = if is_original { Dialect::OPENAI } else { Dialect::COMPATIBLE };
        let deployment = |name: String| {
            let base = if is_azure { format!("{base}/deployments/{name}") } else { base.clone() };
            Deployment { name, base, is_named: !is_azure, learned: Learned::new(guess) }
        };
        let (main, mut nano) = (deployment(model), deployment(nano_model));
        if nano.name == main.name {
            nano.learned = main.learned.clone();
        }
        Ok(Self {
            http,
            limits,
            authentication,
            query: azure_version.map(|version| ("api-version".to_owned(), version)).into_iter().collect(),
            models_url: format!("{base}/models"),
            main,
            nano,
            embedding: deployment(embedding_model),
        })
    }

    fn deployment(&self, purpose: Purpose) -> &Deployment {
        if purpose.is_nano() { &self.nano } else { &self.main }
    }

    fn call(&self) -> Call {
        Call::new(self.http.clone(), self.limits)
    }

    /// Builds the configuration for a call.
    async fn endpoint(&self, deployment: &Deployment, call: &Call) -> Result<Endpoint> {
        let mut headers = HeaderMap::new();
        let late = || Error::Unavailable(Fault::Total(self.limits.total).into());
        headers.extend(timeout_at(call.deadline(), self.authentication.header()).await.map_err(|_| late())??);
        let base = deployment.base.clone();
        Ok(Endpoint { base, query: self.query.clone(), headers, no_key: SecretString::default() })
    }

    /// Creates a client for unstreamed answers.
    async fn client(&self, deployment: &Deployment, call: &Call) -> Result<Client<Endpoint>> {
        let endpoint = self.endpoint(deployment, call).await?;
        let call = call.clone();
        // This replaces the library's own service, including its retries.
        let service = service_fn(move |factory: HttpRequestFactory| {
            let call = call.clone();
            async move {
                let request = factory.build().await?;
                call.whole(request).await.map_err(|failed| OpenAIError::Boxed(failed.into()))
            }
        });
        Ok(Client::build(self.http.clone(), endpoint).with_http_service(service))
    }

    /// Builds the request of a streamed answer.
    fn streaming(&self, endpoint: &Endpoint, body: &wire::Body) -> Result<Request> {
        let request = self.http.post(endpoint.url("/chat/completions")).query(&endpoint.query());
        let request = request.headers(endpoint.headers()).header(ACCEPT, "text/event-stream");
        // A compressed stream may be delayed until a block is full.
        let request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("identity")).json(body);
        request.build().map_err(|error| Error::Unavailable(Fault::connection(error).into()))
    }
}

/// Strips trailing slashes, query and fragment from a URL.
fn base(url: &Url) -> std::result::Result<String, OptionsError> {
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !is_web || !url.username().is_empty() || url.password().is_some() {
        return Err(OptionsError::Address);
    }
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[async_trait]
impl Model for OpenAi {
    fn name(&self, purpose: Purpose) -> &str {
        &self.deployment(purpose).name
    }

    fn embedding_name(&self) -> &str {
        &self.embedding.name
    }

    async fn stream(&self, _context: &CallContext, request: ChatRequest) -> Result<PartStream> {
        let call = self.call();
        let deployment = self.deployment(request.purpose);
        let endpoint = self.endpoint(deployment, &call).await?;
        let mut attempt = deployment.learned.attempt();
        let events = loop {
            let body = wire::chat(&request, attempt.dialect(), deployment.model(), true);
            match call.events(self.streaming(&endpoint, &body)?).await {
                Ok(events) => break events,
                Err(failed) if attempt.gives_way(&body, &failed) => {}
                Err(Failed { error, .. }) => return Err(error),
            }
        };
        attempt.succeed();
        let assembler = Assembler::new(request.tools.iter().map(|tool| tool.name).collect());
        let reading = Reading { answer: Some((events, assembler)), last: VecDeque::new() };
        let parts = stream::unfold(reading, |mut reading| async {
            let part = reading.next().await?;
            Some((part, reading))
        });
        Ok(parts.boxed())
    }

    async fn complete(&self, _context: &CallContext, request: ChatRequest) -> Result<Reply> {
        let call = self.call();
        let deployment = self.deployment(request.purpose);
        let client = self.client(deployment, &call).await?;
        let mut attempt = deployment.learned.attempt();
        let answer: Box<RawValue> = loop {
            let body = wire::chat(&request, attempt.dialect(), deployment.model(), false);
            match client.chat().create_byot(body.clone()).await.map_err(failed) {
                Ok(answer) => break answer,
                Err(failed) if attempt.gives_way(&body, &failed) => {}
                Err(Failed { error, .. }) => return Err(error),
            }
        };
        attempt.succeed();
        let mut assembler = Assembler::new(request.tools.iter().map(|tool| tool.name).collect());
        let mut text = assembler.take(answer.get()).map_err(|error| match error {
            // An error with status 200 that is not an interrupted stream.
            Error::Interrupted(cause) => Error::Unavailable(cause),
            other => other,
        })?;
        if !assembler.has_choice() {
            return Err(Error::Nonsense(Fault::Shape("no choice").into()));
        }
        let Ending { text: last, calls, usage } = assembler.finish()?;
        text.extend(last);
        Ok(Reply { text, tool_calls: calls, usage })
    }

    async fn embed(&self, _context: &CallContext, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let call = self.call();
        let deployment = &self.embedding;
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(EMBEDDING_BATCH) {
            let client = self.client(deployment, &call).await?;
            let mut attempt = deployment.learned.attempt();
            let answer: Box<RawValue> = loop {
                let body = wire::embeddings(batch, attempt.dialect(), deployment.model());
                match client.embeddings().create_byot(body.clone()).await.map_err(failed) {
                    Ok(answer) => break answer,
                    Err(failed) if attempt.gives_way(&body, &failed) => {}
                    Err(Failed { error, .. }) => return Err(error),
                }
            };
            attempt.succeed();
            vectors.extend(wire::read_embeddings(answer.get(), batch.len())?);
        }
        Ok(vectors)
    }

    async fn ping(&self) -> Result<()> {
        let mut headers = HeaderMap::new();
        headers.extend(self.authentication.header().await?);
        let request = self.http.get(&self.models_url).query(&self.query).headers(headers);
        transport::ping(request, self.limits.first_byte).await
    }
}

/// A streamed answer being read.
struct Reading {
    /// `None` once the stream has ended.
    answer: Option<(Events, Assembler)>,
    /// Parts after the text.
    last: VecDeque<Part>,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Part>> {
        while let Some((events, assembler)) = &mut self.answer {
            let event = match assembler.is_finished() {
                true => timeout(USAGE_GRACE, events.next()).await.ok().flatten(),
                false => events.next().await,
            };
            let is_done = matches!(&event, Some(Ok(event)) if event.data.trim_ascii().as_bytes() == DONE);
            let step = match event {
                _ if is_done => self.finish(true).await,
                Some(Ok(event)) => match assembler.take_event(&event) {
                    Ok(text) if text.is_empty() => Ok(()),
                    Ok(text) => return Some(Ok(Part::Text(text))),
                    Err(error) => Err(error),
                },
                // The answer is complete once the model has reported why it stopped, so later errors do not matter.
                _ if assembler.is_finished() => self.finish(false).await,
                Some(Err(fault)) => Err(fault.after_begin()),
                None => Err(Fault::EndedEarly.after_begin()),
            };
            if let Err(error) = step {
                // Ends the request; the error is the last item.
                self.answer = None;
                return Some(Err(error));
            }
        }
        self.last.pop_front().map(Ok)
    }

    /// Ends the request and emits what was assembled.
    async fn finish(&mut self, is_done: bool) -> Result<()> {
        let Some((events, assembler)) = self.answer.take() else { return Ok(()) };
        if is_done {
            events.drain().await;
        }
        let Ending { text, calls, usage } = assembler.finish()?;
        self.last.extend(text.map(|text| Part::Text(text.into())));
        self.last.extend(calls.into_iter().map(Part::ToolCall));
        self.last.extend(usage.map(Part::Usage));
        Ok(())
    }
}
