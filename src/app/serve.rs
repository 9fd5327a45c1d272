//! Listens, answers requests, and stops.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::extract::Request;
use axum::http;
use axum::http::header::EXPECT;
use axum::response::Response;
use futures::FutureExt;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};
use tracing::{debug, info, warn};

use super::connections::{Connections, LastOf, Place, Refusals, is_out_of_files, raise_file_limit};
use super::linger::{Drain, Lingering};
use super::router;
use crate::base::chain::Chain;
use crate::config::Config;
use crate::domain::quota::subscriber;
use crate::http::layers::flusher::Flusher;
use crate::http::layers::limits::Peer;
use crate::state::AppState;

/// How long open streams may continue at shutdown.
const GRACE: Duration = Duration::from_secs(10);

/// How long shutdown waits for telemetry to be sent.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// How long streams that are still open after the grace period have for a final event.
const FAREWELL: Duration = Duration::from_secs(2);

/// Largest request head, and read-ahead of a body, in bytes; each connection may hold this much.
const LARGEST_HEAD: usize = 80 * 1024;

/// Delay after a failed accept, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes of a response that the system buffers for a slow reader. The default is megabytes, which would let a model
/// generate tokens for a stalled reader.
#[cfg(target_os = "linux")]
const MOST_UNSENT_BYTES: u32 = 16 * 1024;

/// Opens the port. Connections wait until [`serve`] accepts them.
///
/// # Errors
/// When the address is taken or not local.
pub async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(config.server.bind, config.server.port);
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Starts checking the embedded databases for damage, in the background.
pub fn look_for_damage(app: &AppState) {
    let checked = app.clone();
    app.tasks.spawn(async move {
        let app = checked;
        let documents = app.readiness.inspect("documents", app.data.store.find_damage());
        let queue = app.readiness.inspect("queue", app.queue.find_damage());
        tokio::select! {
            _ = futures::future::join(documents, queue) => {}
            () = app.shutdown.cancelled() => {}
        }
    });
}

/// Serves requests until the process is signalled (SIGTERM, SIGINT or SIGHUP), then lets open streams finish for a
/// limited time, or until Ctrl-C (SIGINT) is pressed again, and ends the rest.
///
/// # Errors
/// When signal handlers cannot be installed.
pub async fn serve(listener: TcpListener, app: AppState) -> anyhow::Result<()> {
    let mut told_to_end = pin!(told_to_end()?);
    let (shutdown, ending) = (app.shutdown.clone(), app.ending.clone());
    let (tasks, telemetry) = (app.tasks.clone(), app.telemetry.clone());
    let is_hosted = app.config.server.under_functions_host;
    let flusher = is_hosted.then(|| Flusher::start(&telemetry, &tasks, shutdown.clone(), FLUSH_LIMIT)).flatten();
    let limits = &app.config.limits;
    let places = Connections::new(limits.connections, raise_file_limit(), limits.trusts_proxy);
    let connections = GracefulShutdown::new();
    let close_overdue = places.clone().close_overdue();
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(close_overdue));
    let service = router::app(app);
    let service = ServiceExt::<Request>::map_response(service, move |response| match &flusher {
        Some(flusher) => flusher.watch(response),
        None => response,
    });
    let mut refusals = Refusals::default();
    let drain = Drain::new(tasks.clone());
    loop {
        let accepted = async {
            let (stream, peer) = listener.accept().await?;
            let place =
                places.admit(subscriber(peer.ip())).await.ok_or_else(|| io::Error::other("too many of one address"))?;
            Ok((stream, Peer(peer), place))
        };
        tokio::select! {
            accepted = accepted => match accepted {
                Ok((stream, peer, place)) => accept(stream, peer, place, service.clone(), &connections, &tasks, &drain),
                Err(error) => {
                    refusals.note(&error);
                    if is_out_of_files(&error) {
                        places.make_way();
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            },
            () = &mut told_to_end => break,
            () = shutdown.cancelled() => break,
        }
    }
    // Only signals from now on count, not the one just received.
    let mut again = signal(SignalKind::interrupt())?;
    drop(listener);
    info!(streams = connections.count(), grace_s = GRACE.as_secs(), "stopping");
    shutdown.cancel();
    tasks.close();
    let mut drained = pin!(async {
        connections.shutdown().await;
        tasks.wait().await;
    });
    let drained_in_time = tokio::select! {
        () = &mut drained => true,
        () = tokio::time::sleep(GRACE) => {
            warn!("streams still open after the grace period");
            false
        }
        _ = again.recv() => {
            info!("second signal to stop: closing open streams");
            false
        }
    };
    if !drained_in_time {
        ending.cancel();
        let all_ended = tokio::time::timeout(FAREWELL, drained).await.is_ok();
        info!(all_ended, "open streams were ended");
    }
    telemetry.shut_down(FLUSH_LIMIT).await;
    Ok(())
}

/// Resolves when a signal asks the process to stop.
fn told_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    let mut kinds = vec![SignalKind::terminate(), SignalKind::interrupt()];
    // A program started with `nohup` continues when its terminal is closed.
    if !ignores_hangup() {
        kinds.push(SignalKind::hangup());
    }
    let signals: Vec<_> = kinds.into_iter().map(signal).collect::<io::Result<_>>()?;
    Ok(async {
        let waits = signals.into_iter().map(|mut signal| async move { signal.recv().await }.boxed());
        futures::future::select_all(waits).await;
    })
}

/// Whether SIGHUP was ignored when the process started.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    // SIGHUP is signal 1, the lowest bit.
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

fn accept<S>(
    stream: TcpStream,
    peer: Peer,
    place: Place,
    service: S,
    connections: &GracefulShutdown,
    tasks: &TaskTracker,
    drain: &Drain,
) where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    // Send every token at once, however small.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(error = %Chain(&error), "TCP_NODELAY not set");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(MOST_UNSENT_BYTES) {
        debug!(error = %Chain(&error), "limit on unsent bytes not set");
    }
    let (requests, drain) = (place.requests(), drain.clone());
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (under_way, mut service) = (requests.begin(), service.clone());
        let request = take_in(request, peer, &drain);
        async move {
            let Some(under_way) = under_way else {
                // The connection is closed before a client could read an answer.
                return std::future::pending().await;
            };
            let response = service.ready().await?.call(request).await?;
            Ok::<_, Infallible>(response.map(|body| LastOf::new(body, under_way)))
        }
    });
    let connection = http1::Builder::new()
        // [`Connections`] limits the time for request heads; unlike this timeout, that does not apply between requests.
        .header_read_timeout(None)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(place.watch(stream)), service);
    let connection = connections.watch(connection);
    tasks.spawn(async move {
        tokio::select! {
            outcome = connection => if let Err(error) = outcome {
                debug!(error = %Chain(&error), "connection failed");
            },
            () = place.closed() => debug!("connection closed by the service"),
        }
    });
}

/// Prepares a request for the router.
fn take_in(mut request: http::Request<Incoming>, peer: Peer, drain: &Drain) -> Request {
    request.extensions_mut().insert(peer);
    if request.body().is_end_stream() {
        return request.map(|_| Body::empty());
    }
    // A client that waits for "100 Continue" has not started to send, and is not asked to.
    if request.headers().contains_key(EXPECT) {
        return request.map(Body::new);
    }
    request.map(|body| Body::new(Lingering::new(body, drain.clone())))
}
