//! A scripted segmentation service that records its requests.

use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use image::{DynamicImage, ImageFormat, Rgba, RgbaImage};
use pluckit::net::segmentation::ServiceOptions;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What the service answers.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// The picture, with its left half transparent.
    Cut,
    /// The same, once [`SegmentationServer::release`] is called.
    CutLater,
    /// Nothing, for ever.
    Silence,
    /// A status and a text.
    Status(u16, &'static str),
    /// A picture without alpha.
    Opaque,
    /// A picture of other proportions.
    Distorted,
    /// More than any answer has.
    Endless,
}

/// The service.
pub struct SegmentationServer {
    pub options: ServiceOptions,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    next: Mutex<VecDeque<Behaviour>>,
    seen: Mutex<Vec<(HeaderMap, Bytes)>>,
    released: Notify,
}

pub const TOKEN: &str = "segmentation-token";

impl SegmentationServer {
    /// Answers in this order, the last one for ever.
    #[expect(clippy::disallowed_methods, reason = "this server is not part of the service")]
    pub async fn start(behaviours: impl IntoIterator<Item = Behaviour>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/cut", listener.local_addr().unwrap()).parse().unwrap();
        let shared = Arc::new(Shared {
            next: Mutex::new(behaviours.into_iter().collect()),
            seen: Mutex::default(),
            released: Notify::new(),
        });
        let router =
            Router::new().route("/cut", post(answer)).layer(DefaultBodyLimit::disable()).with_state(shared.clone());
        let server = tokio::task::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { options: ServiceOptions::new(endpoint, Some(TOKEN.into())), shared, server }
    }

    /// The same with a shorter patience of the client.
    pub fn options_within(&self, limit: Duration) -> ServiceOptions {
        ServiceOptions { limit, ..self.options.clone() }
    }

    /// What it got so far.
    pub fn seen(&self) -> Vec<(HeaderMap, Bytes)> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Lets one request go on that waits, or the next one.
    pub fn release(&self) {
        self.shared.released.notify_one();
    }
}

impl Drop for SegmentationServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    shared.seen.lock().unwrap().push((headers.clone(), body.clone()));
    let behaviour = {
        let mut next = shared.next.lock().unwrap();
        if next.len() > 1 { next.pop_front().unwrap() } else { next.front().unwrap().clone() }
    };
    if headers.get(AUTHORIZATION).is_none_or(|token| token.as_bytes() != format!("Bearer {TOKEN}").as_bytes()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let picture = image::load_from_memory_with_format(&body, ImageFormat::Jpeg).unwrap();
    match behaviour {
        Behaviour::Cut => png(cut(&picture)),
        Behaviour::CutLater => {
            shared.released.notified().await;
            png(cut(&picture))
        }
        Behaviour::Silence => std::future::pending().await,
        Behaviour::Status(status, text) => (StatusCode::from_u16(status).unwrap(), text).into_response(),
        Behaviour::Opaque => png(picture.to_rgb8().into()),
        Behaviour::Distorted => png(cut(&DynamicImage::new_rgb8(picture.width() * 2, picture.height()))),
        Behaviour::Endless => {
            let pieces = futures::stream::repeat(Ok::<_, std::convert::Infallible>(Bytes::from(vec![0; 1 << 20])));
            Body::from_stream(pieces).into_response()
        }
    }
}

fn cut(picture: &DynamicImage) -> DynamicImage {
    let middle = picture.width() / 2;
    let source = picture.to_rgb8();
    let mut cut = RgbaImage::new(picture.width(), picture.height());
    for (x, y, pixel) in cut.enumerate_pixels_mut() {
        let [red, green, blue] = source.get_pixel(x, y).0;
        *pixel = Rgba([red, green, blue, if x < middle { 0 } else { 255 }]);
    }
    cut.into()
}

fn png(picture: DynamicImage) -> Response {
    let mut file = Vec::new();
    picture.write_to(&mut Cursor::new(&mut file), ImageFormat::Png).unwrap();
    ([(CONTENT_TYPE, "image/png")], file).into_response()
}
