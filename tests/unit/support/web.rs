//! A simulated internet for tests: names, certificates and sites on this machine, which the guarded client uses like
//! the real one.
//!
//! Names resolve to whatever a test says. The two addresses of [`PUBLIC`] lead to the sites here; every other address
//! that the client connects to leads to [`PrivateNetwork`], which counts: no test should ever find a connection there.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::{self, Debug};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, header};
use bytes::Bytes;
use futures::{StreamExt, stream};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pluckit::net::guarded::{Dial, GuardedClient, GuardedOptions, Resolve};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// The addresses of the sites.
pub const PUBLIC: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x2800, 0x21f, 0xcb07, 0x6820, 0x80da, 0xaf6b, 0x8b2c)),
];

/// An internet in which no name exists, for services whose test has no use for one.
pub fn nowhere() -> GuardedOptions {
    let nothing = Arc::new(Nothing);
    GuardedOptions { resolver: nothing.clone(), dial: nothing, ..GuardedOptions::default() }
}

struct Nothing;

#[async_trait]
impl Resolve for Nothing {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::new(io::ErrorKind::NotFound, format!("{name} is not a name of this test")))
    }
}

impl Dial for Nothing {
    fn socket(&self, checked: IpAddr) -> SocketAddr {
        panic!("{checked} is not an address of this test")
    }
}

/// What a site received.
#[derive(Debug, Clone)]
pub struct Received {
    /// The URL, without its fragment.
    pub url: String,
    pub headers: HeaderMap,
}

/// What is wrong with a site's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It is signed by an untrusted authority.
    Untrusted,
    /// It is another site's.
    OtherName,
    /// Its time is over.
    Expired,
}

/// An answer with this type and content.
pub fn page(content_type: &str, body: impl Into<Body>) -> Response<Body> {
    Response::builder().header(header::CONTENT_TYPE, content_type).body(body.into()).unwrap()
}

/// An answer that leads elsewhere.
pub fn redirect(location: &str) -> Response<Body> {
    Response::builder().status(302).header(header::LOCATION, location).body(Body::empty()).unwrap()
}

/// Content that repeats this piece without end.
pub fn endless(piece: impl Into<Bytes>) -> Body {
    let piece = piece.into();
    Body::from_stream(stream::repeat_with(move || Ok::<_, Infallible>(piece.clone())))
}

/// Content that begins with this piece and never goes on.
pub fn stalling(piece: impl Into<Bytes>) -> Body {
    Body::from_stream(stream::iter([Ok::<_, Infallible>(piece.into())]).chain(stream::pending()))
}

type Maker = Arc<dyn Fn(&Received) -> Option<Response<Body>> + Send + Sync>;

struct Sites {
    names: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    lookups: AtomicUsize,
    pages: Mutex<HashMap<String, Maker>>,
    received: Mutex<Vec<Received>>,
    listener: SocketAddr,
    private: PrivateNetwork,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Resolve for Sites {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let mut names = lock(&self.names);
        let answers = names.get_mut(name).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"))?;
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

impl Dial for Sites {
    fn socket(&self, checked: IpAddr) -> SocketAddr {
        if PUBLIC.contains(&checked) { self.listener } else { self.private.address() }
    }
}

/// The internet. It ends when it is dropped.
pub struct Web {
    sites: Arc<Sites>,
    certificates: Arc<Certificates>,
    task: JoinHandle<()>,
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Web {
    #[expect(clippy::disallowed_methods, reason = "the sites belong to the test and end with it")]
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sites = Arc::new(Sites {
            names: Mutex::default(),
            lookups: AtomicUsize::new(0),
            pages: Mutex::default(),
            received: Mutex::default(),
            listener: listener.local_addr().unwrap(),
            private: PrivateNetwork::start().await,
        });
        let certificates = Arc::new(Certificates::new());
        let mut tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(certificates.clone());
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let task = tokio::spawn(serve(listener, acceptor, sites.clone()));
        Self { sites, certificates, task }
    }

    /// The client for this internet. Only its port is allowed besides 443, and that of the private network, so that
    /// URLs which lead to either are refused for no lesser reason.
    pub fn client(&self) -> GuardedClient {
        GuardedClient::new(self.options()).unwrap()
    }

    /// What that client rests on.
    pub fn options(&self) -> GuardedOptions {
        GuardedOptions {
            resolver: self.sites.clone(),
            dial: self.sites.clone(),
            roots: Some(vec![self.certificates.root()]),
            extra_ports: vec![self.sites.listener.port(), self.private().address().port()],
        }
    }

    /// What no fetch may reach.
    pub fn private(&self) -> &PrivateNetwork {
        &self.sites.private
    }

    /// The port on which the sites really listen.
    pub fn port(&self) -> u16 {
        self.sites.listener.port()
    }

    /// Makes a name resolve to these addresses.
    pub fn name(&self, name: &str, addresses: &[IpAddr]) {
        self.changing_name(name, &[addresses]);
    }

    /// Makes a name resolve to each of these answers in turn, and from then on to the last one.
    pub fn changing_name(&self, name: &str, answers: &[&[IpAddr]]) {
        lock(&self.sites.names).insert(name.to_owned(), answers.iter().map(|answer| answer.to_vec()).collect());
    }

    /// How many names were looked up.
    pub fn lookups(&self) -> usize {
        self.sites.lookups.load(Ordering::Relaxed)
    }

    /// Answers requests for this URL, whose name resolves to a public address unless it has one already. A URL without
    /// a query stands for those with one, too.
    pub fn page(&self, url: &str, make: impl Fn(&Received) -> Response<Body> + Send + Sync + 'static) {
        self.put(url, move |received| Some(make(received)));
    }

    /// Takes requests for this URL and never answers them.
    pub fn silence(&self, url: &str) {
        self.put(url, |_| None);
    }

    fn put(&self, url: &str, make: impl Fn(&Received) -> Option<Response<Body>> + Send + Sync + 'static) {
        let name = url.strip_prefix("https://").and_then(|rest| rest.split(['/', ':']).next()).unwrap();
        lock(&self.sites.names).entry(name.to_owned()).or_insert_with(|| vec![vec![PUBLIC[0]]]);
        lock(&self.sites.pages).insert(url.to_owned(), Arc::new(make));
    }

    /// Spoils the certificate of a site.
    pub fn flaw(&self, name: &str, flaw: Flaw) {
        lock(&self.certificates.flaws).insert(name.to_owned(), flaw);
    }

    /// The requests so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.sites.received).clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "the connections belong to the test and end with it")]
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, sites: Arc<Sites>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, sites) = (acceptor.clone(), sites.clone());
        tokio::spawn(async move {
            // A client that does not like the certificate leaves here.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| answer(sites.clone(), request));
            // So does one that has seen enough.
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

async fn answer(sites: Arc<Sites>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let received = Received { url: format!("https://{host}{}", request.uri()), headers: request.headers().clone() };
    lock(&sites.received).push(received.clone());
    let make = {
        let pages = lock(&sites.pages);
        let without_query = received.url.split('?').next().unwrap_or_default();
        pages.get(&received.url).or_else(|| pages.get(without_query)).cloned()
    };
    let Some(make) = make else {
        return Ok(Response::builder().status(404).body(Body::from("no such page")).unwrap());
    };
    Ok(match make(&received) {
        Some(response) => response,
        None => std::future::pending().await,
    })
}

/// An authority that signs a certificate for whatever name a client asks for.
struct Certificates {
    trusted: CertifiedIssuer<'static, KeyPair>,
    untrusted: CertifiedIssuer<'static, KeyPair>,
    flaws: Mutex<HashMap<String, Flaw>>,
}

impl Debug for Certificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl Certificates {
    fn new() -> Self {
        let authority = || {
            let mut parameters = CertificateParams::new(Vec::new()).unwrap();
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
        };
        Self { trusted: authority(), untrusted: authority(), flaws: Mutex::default() }
    }

    fn root(&self) -> reqwest::Certificate {
        reqwest::Certificate::from_der(self.trusted.der()).unwrap()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?;
        let flaw = lock(&self.flaws).get(name).copied();
        let subject = if flaw == Some(Flaw::OtherName) { "other.example" } else { name };
        let mut parameters = CertificateParams::new(vec![subject.to_owned()]).unwrap();
        if flaw == Some(Flaw::Expired) {
            parameters.not_before = date_time_ymd(2020, 1, 1);
            parameters.not_after = date_time_ymd(2021, 1, 1);
        }
        let issuer = if flaw == Some(Flaw::Untrusted) { &self.untrusted } else { &self.trusted };
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let key = ring::default_provider().key_provider.load_private_key(key).unwrap();
        Some(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
    }
}

/// A private network that must not be reached: a port on the loopback addresses, IPv4 and, if available, IPv6, that
/// accepts and counts connections without answering.
pub struct PrivateNetwork {
    listeners: Vec<SocketAddr>,
    peers: watch::Sender<Vec<SocketAddr>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for PrivateNetwork {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl PrivateNetwork {
    async fn start() -> Self {
        let mut network = Self { listeners: Vec::new(), peers: watch::Sender::default(), tasks: Vec::new() };
        network.listen(TcpListener::bind("127.0.0.1:0").await.unwrap());
        // Machines without IPv6, and ones where another test has the same port there, do with IPv4.
        if let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, network.address().port())).await {
            network.listen(listener);
        }
        network
    }

    #[expect(clippy::disallowed_methods, reason = "the listeners belong to the test and end with it")]
    fn listen(&mut self, listener: TcpListener) {
        self.listeners.push(listener.local_addr().unwrap());
        let peers = self.peers.clone();
        self.tasks.push(tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let Ok((stream, peer)) = listener.accept().await else { continue };
                open.push(stream);
                peers.send_modify(|peers| peers.push(peer));
            }
        }));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listeners[0]
    }

    /// How many connections there were. Listeners take connections in the order in which they are made, so this makes
    /// one of its own and waits for it: all before it are counted then.
    pub async fn connections(&self) -> usize {
        for listener in &self.listeners {
            let own = TcpStream::connect(listener).await.unwrap();
            let own = own.local_addr().unwrap();
            let mut peers = self.peers.subscribe();
            let seen = peers.wait_for(|peers| peers.contains(&own));
            tokio::time::timeout(Duration::from_secs(10), seen).await.expect("a listener takes connections").unwrap();
            self.peers.send_modify(|peers| peers.retain(|peer| *peer != own));
        }
        self.peers.borrow().len()
    }
}
