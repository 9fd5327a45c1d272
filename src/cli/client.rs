//! Client for a running service: address, credentials, and error messages.

use std::fs;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use super::output::{complain, say, words};
use crate::net;

/// Time limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence after which the connection is closed. The service sends a comment every 15 s.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest error body that is read, in bytes.
const LONGEST_ERROR_BODY: usize = 64 * 1024;

/// Flags of the commands that call a running service.
#[derive(Args)]
pub struct ServiceArguments {
    /// URL of the service
    #[arg(long, default_value = "http://127.0.0.1:7071", value_parser = parse_url, global = true)]
    url: Url,
    /// Session token, API token or Google ID token; visible to other users of this machine, so prefer --token-file
    #[arg(long, conflicts_with = "token_file", global = true)]
    token: Option<String>,
    /// File with the token
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
}

impl ServiceArguments {
    /// Creates a client from the flags.
    ///
    /// # Errors
    /// When the token cannot be read or sent.
    pub fn service(self) -> anyhow::Result<Service> {
        let token = match (self.token, &self.token_file) {
            (Some(token), _) => Some(token),
            (None, Some(file)) => {
                let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
                // Some editors begin a file with a byte order mark.
                let token = text.trim_start_matches('\u{feff}').trim();
                ensure!(!token.is_empty(), "{} has no token in it", file.display());
                Some(token.to_owned())
            }
            (None, None) => None,
        };
        Service::new(self.url, token.as_deref().map(str::trim))
    }
}

/// Reads an address of a service.
///
/// # Errors
/// When it is not an http or https URL.
pub fn parse_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) | Err(_) => Err("not an http or https URL".to_owned()),
    }
}

/// A client of a running service.
pub struct Service {
    client: Client,
    url: Url,
    authorization: Option<HeaderValue>,
}

impl Service {
    /// Creates a client for `url` with an optional token.
    ///
    /// # Errors
    /// When the token cannot be sent.
    pub fn new(url: Url, token: Option<&str>) -> anyhow::Result<Self> {
        let authorization = match token {
            Some(token) => {
                let header = HeaderValue::from_str(&format!("Bearer {token}"));
                // Omit the cause, which could contain the token.
                let Ok(mut header) = header else {
                    bail!("the token contains characters that are not allowed in an HTTP header")
                };
                header.set_sensitive(true);
                Some(header)
            }
            None => None,
        };
        let is_here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if authorization.is_some() && url.scheme() == "http" && !is_here {
            complain("the token is sent unencrypted: use an https URL");
        }
        // No redirects, so that the token is sent only to the given address.
        let client = net::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
            .redirect(Policy::none())
            .user_agent(concat!("pluckit/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, url, authorization })
    }

    /// Address of the service, without a slash at its end.
    pub fn address(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// Starts a request with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.address()));
        match &self.authorization {
            Some(header) => request.header(AUTHORIZATION, header),
            None => request,
        }
    }

    /// Requests a path and parses the JSON answer.
    ///
    /// # Errors
    /// When the service does not answer, refuses, or answers with something else.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<T> {
        read(self.send(self.request(Method::GET, path).query(query)).await?).await
    }

    /// Returns the elements of a list of the service, page by page.
    pub fn list<'a, T: DeserializeOwned + 'a>(
        &'a self,
        path: &'a str,
        query: Vec<(&'a str, &'a str)>,
    ) -> impl Stream<Item = anyhow::Result<T>> + 'a {
        let pages = stream::try_unfold(Some(None::<String>), move |page| {
            let query = query.clone();
            async move {
                let Some(token) = page else { return anyhow::Ok(None) };
                let mut query = query;
                query.extend(token.as_deref().map(|token| ("continuationToken", token)));
                let Page { elements, next_continuation_token } = self.get(path, &query).await?;
                Ok(Some((stream::iter(elements.into_iter().map(Ok)), next_continuation_token.map(Some))))
            }
        });
        pages.try_flatten()
    }

    /// Sends a request and returns the answer, whatever its status.
    ///
    /// # Errors
    /// When the service does not answer, as one line.
    pub async fn try_send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        match request.send().await {
            Ok(response) => Ok(response),
            Err(error) if error.is_connect() => {
                bail!(
                    "nothing answers at {}: start the service with `pluckit serve`, or give another --url",
                    self.address()
                )
            }
            Err(error) if error.is_timeout() => bail!("{} did not answer in time", self.address()),
            Err(error) => Err(error.without_url()).context(format!("the request to {} failed", self.address())),
        }
    }

    /// Sends a request. Anything but success becomes a one-line error.
    ///
    /// # Errors
    /// When the service does not answer, or refuses.
    pub async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = self.try_send(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(Ok(chunk)) = chunks.next().await {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_ERROR_BODY {
                break;
            }
        }
        // PluckIt gives a reason with every refusal.
        let reason = detail(&body).unwrap_or_else(|| foreign(self.address()));
        let hint = match &self.authorization {
            None if status == StatusCode::UNAUTHORIZED => {
                ": send a token with --token-file; `pluckit token create` prints one"
            }
            _ => "",
        };
        bail!("{reason} ({}){hint}", status.as_u16())
    }
}

/// A page of a list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    #[serde(alias = "deadLetters", alias = "items", alias = "jobs")]
    elements: Vec<T>,
    next_continuation_token: Option<String>,
}

/// Prints at most `most` elements of a list, one per line, and says if there are none or more.
///
/// # Errors
/// When the list cannot be read, or its lines cannot be written.
pub async fn print<T>(
    list: impl Stream<Item = anyhow::Result<T>>,
    most: usize,
    none: &str,
    line: fn(&T) -> String,
) -> anyhow::Result<()> {
    let mut list = pin!(list);
    for printed in 0..most {
        match list.try_next().await? {
            Some(element) => say(&line(&element))?,
            None if printed == 0 => return Ok(say(none)?),
            None => return Ok(()),
        }
    }
    if list.try_next().await?.is_some() {
        say("and more")?;
    }
    Ok(())
}

/// Creates the error for an answer from a program other than PluckIt.
pub fn foreign(address: &str) -> String {
    format!("the answer of {address} is not PluckIt's: is that the address of the service (--url)?")
}

/// Reads the JSON of an answer.
///
/// # Errors
/// When the answer is truncated or something else.
pub async fn read<T: DeserializeOwned>(response: Response) -> anyhow::Result<T> {
    let address = response.url().origin().ascii_serialization();
    let body = response.bytes().await.context("the response ended early")?;
    serde_json::from_slice(&body).map_err(|_| anyhow!(foreign(&address)))
}

/// Builds a path below `base`; the steps are escaped.
pub fn path_below(base: &str, steps: &[&str]) -> String {
    let mut url = Url::parse("http://localhost").and_then(|url| url.join(base)).expect("a path of this program");
    url.path_segments_mut().expect("an http URL has a path").extend(steps);
    url.path().to_owned()
}

/// Returns the message in an error body, on one line.
fn detail(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = match &body["detail"] {
        Value::String(text) => text.clone(),
        Value::Array(faults) => faults.iter().map(fault).collect::<Vec<_>>().join("; "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    Some(words(&text))
}

/// Formats one entry of a 422 body: location and message.
fn fault(fault: &Value) -> String {
    let steps = fault["loc"].as_array().map(Vec::as_slice).unwrap_or_default();
    let place: Vec<String> =
        steps.iter().map(|step| step.as_str().map_or_else(|| step.to_string(), str::to_owned)).collect();
    format!("{}: {}", place.join("."), fault["msg"].as_str().unwrap_or("not accepted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_part_of_the_path() {
        assert_eq!(path_below("/api/jobs", &["0a", "restart"]), "/api/jobs/0a/restart");
        assert_eq!(path_below("/api/jobs", &["../admin/jobs"]), "/api/jobs/..%2Fadmin%2Fjobs");
        assert_eq!(path_below("/api/jobs", &["a?b#c"]), "/api/jobs/a%3Fb%23c");
    }

    #[test]
    fn an_error_is_told_in_one_line() {
        assert_eq!(detail(br#"{"detail":"Missing\nheader."}"#).unwrap(), "Missing header.");
        let faults =
            br#"{"detail":[{"loc":["body","recentMessages",3],"msg":"Too long"},{"loc":["body"],"msg":"No"}]}"#;
        assert_eq!(detail(faults).unwrap(), "body.recentMessages.3: Too long; body: No");
        assert_eq!(detail(b"<html>"), None);
    }
}
