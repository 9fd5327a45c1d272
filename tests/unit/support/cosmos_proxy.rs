//! A proxy between the SDK and the Cosmos DB emulator, with configurable latency, that decides the fate of each
//! request.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Passage {
    /// It is passed on, and so is its answer.
    Open,
    /// It is not passed on. This is the answer, head and all.
    Refused(String),
    /// It is passed on; then the connection is closed.
    AnswerLost,
    /// It is passed on; then nothing comes.
    AnswerWithheld,
}

/// Decides the fate of a request.
type Decide = dyn Fn(&[u8]) -> Passage + Send + Sync;

/// The proxy. It ends with the runtime that it was started on.
pub struct CosmosProxy {
    target: String,
    address: String,
    delay: Duration,
    decide: Box<Decide>,
}

impl CosmosProxy {
    /// Passes requests on to the emulator at `endpoint` after `delay`, if `decide` lets it.
    pub async fn start(
        endpoint: &Url,
        delay: Duration,
        decide: impl Fn(&[u8]) -> Passage + Send + Sync + 'static,
    ) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Arc::new(Self {
            target: format!("{}:{}", endpoint.host_str().unwrap(), endpoint.port().unwrap()),
            address: listener.local_addr().unwrap().to_string(),
            delay,
            decide: Box::new(decide),
        });
        // The account's answer names the emulator, and the SDK must come back to us. Both addresses have the same
        // length, or the announced one would be wrong.
        assert_eq!(proxy.target.len(), proxy.address.len(), "ports have five digits");
        let accepting = proxy.clone();
        #[expect(clippy::disallowed_methods, reason = "the proxy ends with the runtime")]
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                client.set_nodelay(true).unwrap();
                tokio::spawn(accepting.clone().pass_on(client));
            }
        });
        proxy
    }

    /// Where it listens.
    pub fn endpoint(&self) -> Url {
        Url::parse(&format!("http://{}/", self.address)).unwrap()
    }

    async fn pass_on(self: Arc<Self>, mut client: TcpStream) {
        let mut server = TcpStream::connect(&self.target).await.unwrap();
        server.set_nodelay(true).unwrap();
        while let Some(request) = message(&mut client).await {
            if !self.delay.is_zero() {
                let delay = self.delay;
                // The runtime's timer counts in whole milliseconds, and adds one.
                tokio::task::spawn_blocking(move || std::thread::sleep(delay)).await.unwrap();
            }
            let passage = (self.decide)(&request);
            if let Passage::Refused(answer) = passage {
                if client.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
                continue;
            }
            server.write_all(&request).await.unwrap();
            let Some(answer) = message(&mut server).await else { return };
            match passage {
                Passage::AnswerLost => return,
                Passage::AnswerWithheld => std::future::pending().await,
                Passage::Open | Passage::Refused(_) => {}
            }
            let answer = String::from_utf8_lossy(&answer).replace(&self.target, &self.address);
            if client.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Reads one HTTP message: its head and as many bytes as it announces.
async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 8192];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        if text.contains("transfer-encoding: chunked") {
            if bytes.ends_with(b"0\r\n\r\n") {
                return Some(bytes);
            }
            continue;
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        if bytes.len() >= head + 4 + length.unwrap_or(0_usize) {
            return Some(bytes);
        }
    }
}
