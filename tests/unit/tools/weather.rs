//! The weather.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::get;
use pluckit::domain::chat::tools::ToolError;
use serde_json::{Value, json};

use super::Bench;

/// A weather service on a free port. Knows Oslo; counts its calls.
pub(super) struct WeatherService {
    pub(super) address: SocketAddr,
    places: Arc<AtomicUsize>,
    forecasts: Arc<AtomicUsize>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for WeatherService {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(serde::Deserialize)]
struct Named {
    name: String,
}

#[derive(serde::Deserialize)]
struct Located {
    latitude: String,
    forecast_days: String,
}

impl WeatherService {
    #[expect(clippy::disallowed_methods, reason = "there is no AppState here; the server is aborted on drop")]
    async fn start(forecast: (StatusCode, String)) -> Self {
        let (places, forecasts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (places_asked, forecasts_asked) = (places.clone(), forecasts.clone());
        let router = Router::new()
            .route(
                "/geo/v1/search",
                get(move |Query(named): Query<Named>| async move {
                    places_asked.fetch_add(1, Ordering::SeqCst);
                    let oslo =
                        json!({ "name": "Oslo", "country": "Norway", "latitude": 59.91273, "longitude": 10.74609 });
                    let known = named.name.eq_ignore_ascii_case("oslo");
                    let answer = if known { json!({ "results": [oslo] }) } else { json!({ "generationtime_ms": 0.1 }) };
                    answer.to_string()
                }),
            )
            .route(
                "/sky/v1/forecast",
                get(move |Query(located): Query<Located>| async move {
                    forecasts_asked.fetch_add(1, Ordering::SeqCst);
                    assert_eq!((located.latitude.as_str(), located.forecast_days.as_str()), ("59.9127", "7"));
                    forecast
                }),
            );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, places, forecasts, server }
    }

    pub(super) async fn sunny() -> Self {
        Self::start((StatusCode::OK, forecast().to_string())).await
    }

    fn calls(&self) -> (usize, usize) {
        (self.places.load(Ordering::SeqCst), self.forecasts.load(Ordering::SeqCst))
    }
}

fn forecast() -> Value {
    json!({
        "current": { "temperature_2m": -0.3, "precipitation": 0.0, "weather_code": 71, "wind_speed_10m": 12.6 },
        "daily": {
            "time": ["2026-03-10", "2026-03-11", "2026-03-12"],
            "weather_code": [71, 3, null],
            "temperature_2m_max": [1.2, 4.0, 6.0],
            "temperature_2m_min": [-5.0, -1.0, null],
            "precipitation_sum": [2.4, 0.0, null],
        },
    })
}

#[tokio::test]
async fn the_weather_is_told_in_words() {
    let service = WeatherService::sunny().await;
    let bench = Bench::with_weather(service.address);
    bench.profile(json!({ "locationCity": "  Oslo " })).await;
    let text = bench.try_run("get_weather", "").await.unwrap();
    insta::assert_snapshot!(text, @"
    Weather in Oslo, Norway now: 0 °C, light snow, wind 13 km/h, precipitation 0.0 mm.
    2026-03-10: light snow, -5 °C to 1 °C, rain 2.4 mm.
    2026-03-11: overcast, -1 °C to 4 °C, rain 0.0 mm.
    2026-03-12: unknown conditions.
    ");
}

#[tokio::test]
async fn places_are_kept_a_day_and_forecasts_a_quarter_of_an_hour() {
    let service = WeatherService::sunny().await;
    let bench = Bench::with_weather(service.address);
    bench.profile(json!({ "locationCity": "oslo" })).await;
    for (wait_minutes, calls) in [(0, (1, 1)), (14, (1, 1)), (1, (1, 2)), (24 * 60, (2, 3))] {
        bench.app.clock.advance(Duration::from_secs(wait_minutes * 60));
        bench.try_run("get_weather", "").await.unwrap();
        assert_eq!(service.calls(), calls, "after {wait_minutes} more minutes");
    }
}

#[tokio::test]
async fn no_city_and_unknown_cities_get_friendly_words() {
    let service = WeatherService::sunny().await;
    let bench = Bench::with_weather(service.address);
    assert!(bench.try_run("get_weather", "").await.unwrap().contains("No city is set"));
    assert_eq!(service.calls(), (0, 0));
    bench.profile(json!({ "locationCity": "Atlantis" })).await;
    for _ in 0..2 {
        assert!(bench.try_run("get_weather", "").await.unwrap().contains("does not know a city named \"Atlantis\""));
    }
    assert_eq!(service.calls(), (1, 0), "that nobody knows it is kept, too");
}

#[tokio::test]
async fn the_name_of_a_city_has_a_limit() {
    let service = WeatherService::sunny().await;
    let bench = Bench::with_weather(service.address);
    bench.profile(json!({ "locationCity": "x".repeat(10_000) })).await;
    let text = bench.try_run("get_weather", "").await.unwrap();
    assert!(text.len() < 300 && text.contains("does not know"), "{text}");
    assert_eq!(service.calls(), (0, 0));
}

#[tokio::test]
async fn a_weather_service_that_fails_costs_nothing_but_the_weather() {
    let huge = forecast().to_string() + &" ".repeat(100_000);
    for answer in [
        (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        (StatusCode::OK, "<html>".to_owned()),
        (StatusCode::OK, huge),
    ] {
        let service = WeatherService::start(answer).await;
        let bench = Bench::with_weather(service.address);
        bench.profile(json!({ "locationCity": "Oslo" })).await;
        let text = bench.try_run("get_weather", "").await.unwrap();
        assert!(text.starts_with("The weather for Oslo is not available right now: the weather service"), "{text}");
        assert!(text.ends_with(". Advise without it."), "{text}");
    }
    let bench = Bench::new();
    bench.profile(json!({ "locationCity": "Oslo" })).await;
    assert!(bench.try_run("get_weather", "").await.unwrap().contains("not available right now"));
}

#[tokio::test]
async fn the_weather_of_another_city_comes_for_up_to_seven_days() {
    let service = WeatherService::sunny().await;
    let bench = Bench::with_weather(service.address);
    let text = bench.try_run("get_weather", r#"{"city": "Oslo", "days": 1}"#).await.unwrap();
    assert!(text.starts_with("Weather in Oslo") && text.lines().count() == 2, "{text}");
    for days in ["0", "8"] {
        let outcome = bench.try_run("get_weather", &format!(r#"{{"days": {days}}}"#)).await;
        assert!(matches!(outcome, Err(ToolError::BadArguments(_))));
    }
}
