//! The weather in a city, from Open-Meteo: now and on the next days, in plain text for the model and in numbers for the
//! planning of outfits. A service outage or unknown city is not an error: the model gets a friendly message and
//! continues.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::warn;
use url::Url;

use super::{Tool, ToolError, ToolParts, Traits, parameters, read_arguments};
use crate::base::cache::ExpiringCache;
use crate::base::chain::Chain;
use crate::base::text::{collapse, cut};
use crate::domain::base::Base;
use crate::llm::{CallContext, ToolSpec};
use crate::model::ids::UserId;
use crate::net::read_at_most;

/// The longest name of a city, in characters; the longest real one has 85 (Taumatawhakatangihanga…).
const MAX_CITY: usize = 100;

/// Largest accepted answer of the service; a forecast has about 1.2 KB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Time limit of both requests to the service.
const PATIENCE: Duration = Duration::from_secs(5);

const PLACE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
const FORECAST_LIFE: Duration = Duration::from_secs(15 * 60);
const KEPT_PLACES: usize = 1024;
const KEPT_FORECASTS: usize = 256;

/// Why there is no weather.
#[derive(Debug, thiserror::Error)]
enum WeatherError {
    #[error("the weather service cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the weather service answered with status {0}")]
    Refused(u16),
    #[error("the weather service's answer is too long")]
    TooLong,
    #[error("the weather service's answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    #[error("the weather service took too long")]
    TooSlow,
}

impl From<reqwest::Error> for WeatherError {
    fn from(error: reqwest::Error) -> Self {
        // The URL contains the user's city, so keep it out of the log.
        Self::Unreachable(error.without_url())
    }
}

/// A place as the service knows it.
#[derive(Debug, Clone, Deserialize)]
struct Place {
    name: String,
    country: Option<String>,
    latitude: f64,
    longitude: f64,
}

#[derive(Deserialize)]
struct Places {
    /// Missing when nothing was found.
    #[serde(default)]
    results: Vec<Place>,
}

#[derive(Debug, Clone, Deserialize)]
struct Forecast {
    current: Current,
    daily: Daily,
}

#[derive(Debug, Clone, Deserialize)]
struct Current {
    temperature_2m: f64,
    precipitation: Option<f64>,
    weather_code: Option<u8>,
    wind_speed_10m: Option<f64>,
}

/// A column for each measure, a row for each day.
#[derive(Debug, Clone, Deserialize)]
struct Daily {
    time: Vec<String>,
    #[serde(default)]
    weather_code: Vec<Option<u8>>,
    #[serde(default)]
    temperature_2m_max: Vec<Option<f64>>,
    #[serde(default)]
    temperature_2m_min: Vec<Option<f64>>,
    #[serde(default)]
    precipitation_sum: Vec<Option<f64>>,
}

/// Days of a forecast, and days returned by default.
const FORECAST_DAYS: usize = 7;
const USUAL_DAYS: usize = 3;

/// A day of a forecast, in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Day {
    /// `YYYY-MM-DD`.
    pub date: String,
    /// The temperature to dress for, in degrees Celsius: that of the afternoon rather than of the night.
    pub celsius: f64,
    /// Whether it rains or snows.
    pub is_wet: bool,
    /// The condition in words.
    pub condition: &'static str,
}

/// Why there is no weather, in words for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoWeather(String);

/// Fetches and caches forecasts. Cheap to clone.
#[derive(Clone)]
pub struct Forecasts(Arc<Client>);

struct Client {
    base: Arc<Base>,
    places: ExpiringCache<String, Option<Place>>,
    forecasts: ExpiringCache<String, Forecast>,
}

impl Forecasts {
    /// Forecasts of the configured service.
    pub fn new(base: Arc<Base>) -> Self {
        Self(Arc::new(Client {
            places: ExpiringCache::new(KEPT_PLACES, PLACE_LIFE, base.clock.clone())
                .observed(base.telemetry.metrics.of_cache("places")),
            forecasts: ExpiringCache::new(KEPT_FORECASTS, FORECAST_LIFE, base.clock.clone())
                .observed(base.telemetry.metrics.of_cache("forecasts")),
            base,
        }))
    }

    /// Returns the days of the forecast; empty if there is none.
    pub(super) async fn days(&self, city: &str) -> Vec<Day> {
        let Ok((_, forecast)) = self.of(city).await else { return Vec::new() };
        let daily = &forecast.daily;
        let day = |(row, date): (usize, &String)| {
            let (least, most) = (at(&daily.temperature_2m_min, row)?, at(&daily.temperature_2m_max, row)?);
            let condition = condition(at(&daily.weather_code, row));
            let is_wet = at(&daily.precipitation_sum, row).is_some_and(|rain| rain >= 1.0);
            Some(Day { date: cut(date, 10), celsius: (least + 2.0 * most) / 3.0, is_wet, condition })
        };
        daily.time.iter().enumerate().filter_map(day).collect()
    }

    /// Returns the weather in a city, or why there is none.
    async fn of(&self, city: &str) -> Result<(Place, Forecast), NoWeather> {
        let city = collapse(city);
        let shown = cut(&city, MAX_CITY);
        if shown != city {
            return Err(unknown(&shown));
        }
        let weather = tokio::time::timeout(PATIENCE, self.0.weather(&city)).await;
        match weather.unwrap_or(Err(WeatherError::TooSlow)) {
            Ok(Some(weather)) => Ok(weather),
            Ok(None) => Err(unknown(&shown)),
            Err(error) => {
                warn!(error = %Chain(&error), "weather not available");
                Err(NoWeather(format!(
                    "The weather for {shown} is not available right now: {error}. Advise without it."
                )))
            }
        }
    }
}

impl Client {
    /// Fetches the weather in a city; `None` if the service does not know the city.
    async fn weather(&self, city: &str) -> Result<Option<(Place, Forecast)>, WeatherError> {
        let Some(place) = self.place(city).await? else { return Ok(None) };
        let forecast = self.forecast(&place).await?;
        Ok(Some((place, forecast)))
    }

    async fn place(&self, city: &str) -> Result<Option<Place>, WeatherError> {
        let key = city.to_lowercase();
        if let Some(place) = self.places.get(&key) {
            return Ok(place);
        }
        let parameters = [("name", city), ("count", "1"), ("language", "en"), ("format", "json")];
        let found: Places = self.ask(&self.base.config.stylist.geocoding_url, "v1/search", &parameters).await?;
        let place = found.results.into_iter().next();
        self.places.insert(key, place.clone());
        Ok(place)
    }

    async fn forecast(&self, place: &Place) -> Result<Forecast, WeatherError> {
        let (latitude, longitude) = (format!("{:.4}", place.latitude), format!("{:.4}", place.longitude));
        let key = format!("{latitude},{longitude}");
        if let Some(forecast) = self.forecasts.get(&key) {
            return Ok(forecast);
        }
        let parameters = [
            ("latitude", latitude.as_str()),
            ("longitude", longitude.as_str()),
            ("current", "temperature_2m,precipitation,weather_code,wind_speed_10m"),
            ("daily", "weather_code,temperature_2m_max,temperature_2m_min,precipitation_sum"),
            ("forecast_days", "7"),
            ("timezone", "auto"),
        ];
        let forecast: Forecast = self.ask(&self.base.config.stylist.forecast_url, "v1/forecast", &parameters).await?;
        self.forecasts.insert(key, forecast.clone());
        Ok(forecast)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        base: &Url,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<T, WeatherError> {
        let mut url = base.clone();
        url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
        let response = self.base.http.get(url).query(parameters).send().await?;
        if !response.status().is_success() {
            return Err(WeatherError::Refused(response.status().as_u16()));
        }
        let body = read_at_most(response, MAX_ANSWER_BYTES).await?.ok_or(WeatherError::TooLong)?;
        serde_json::from_slice(&body).map_err(WeatherError::Unreadable)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WeatherArguments {
    city: Option<String>,
    days: Option<usize>,
}

/// Returns the weather in the user's city or another one.
pub struct GetWeather(pub(super) Arc<ToolParts>);

#[async_trait]
impl Tool for GetWeather {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "get_weather",
            description: "Tells the present weather and a forecast of up to 7 days for the user's city or another one, as \
                          plain text, or why there is none. Use it only when weather matters for the answer.",
            parameters: parameters(
                json!({
                    "city": { "type": "string", "description": "A city; without it the one in the user's profile." },
                    "days": {
                        "type": "integer", "minimum": 1, "maximum": 7, "description": "Days of the forecast; 3 without it.",
                    },
                }),
                &[],
            ),
        }
    }

    fn traits(&self) -> Traits {
        Traits::reads("Tell the weather").outside()
    }

    async fn run(&self, user: &UserId, _context: &CallContext, arguments: &str) -> Result<String, ToolError> {
        let WeatherArguments { city, days } = read_arguments(arguments)?;
        let days = days.unwrap_or(USUAL_DAYS);
        if !(1..=FORECAST_DAYS).contains(&days) {
            return Err(ToolError::BadArguments(format!("days is between 1 and {FORECAST_DAYS}")));
        }
        let city = match city.filter(|city| !city.trim().is_empty()) {
            Some(city) => city,
            None => self
                .0
                .base
                .data
                .profiles
                .find(user)
                .await?
                .and_then(|profile| profile.location_city)
                .unwrap_or_default(),
        };
        if city.trim().is_empty() {
            return Ok(
                "No city is set in the user's profile, so the weather is not known. The user can add a city there."
                    .into(),
            );
        }
        Ok(match self.0.forecasts.of(&city).await {
            Ok((place, forecast)) => describe(&place, &forecast, days),
            Err(NoWeather(reason)) => reason,
        })
    }
}

fn unknown(city: &str) -> NoWeather {
    NoWeather(format!(
        "The weather service does not know a city named \"{city}\". The user can correct it in the profile."
    ))
}

/// The weather in words.
fn describe(place: &Place, forecast: &Forecast, days: usize) -> String {
    let mut text = format!("Weather in {}", cut(&place.name, MAX_CITY));
    if let Some(country) = &place.country {
        text += &format!(", {}", cut(country, MAX_CITY));
    }
    let current = &forecast.current;
    text += &format!(" now: {}, {}", degrees(current.temperature_2m), condition(current.weather_code));
    if let Some(wind) = current.wind_speed_10m {
        text += &format!(", wind {wind:.0} km/h");
    }
    text += &format!(", precipitation {:.1} mm.", current.precipitation.unwrap_or_default());
    let daily = &forecast.daily;
    for (day, date) in daily.time.iter().take(days).enumerate() {
        text += &format!("\n{}: {}", cut(date, 10), condition(at(&daily.weather_code, day)));
        if let (Some(least), Some(most)) = (at(&daily.temperature_2m_min, day), at(&daily.temperature_2m_max, day)) {
            text += &format!(", {} to {}", degrees(least), degrees(most));
        }
        if let Some(rain) = at(&daily.precipitation_sum, day) {
            text += &format!(", rain {rain:.1} mm");
        }
        text.push('.');
    }
    text
}

pub(super) fn degrees(celsius: f64) -> String {
    // Adding zero turns a rounded -0 into 0.
    format!("{:.0} \u{b0}C", celsius.round() + 0.0)
}

fn at<T: Copy>(column: &[Option<T>], row: usize) -> Option<T> {
    column.get(row).copied().flatten()
}

/// A WMO weather interpretation code (table 4677, as Open-Meteo groups it) in words.
fn condition(code: Option<u8>) -> &'static str {
    match code {
        Some(0) => "clear sky",
        Some(1) => "mainly clear",
        Some(2) => "partly cloudy",
        Some(3) => "overcast",
        Some(45 | 48) => "fog",
        Some(51 | 53 | 55) => "drizzle",
        Some(56 | 57) => "freezing drizzle",
        Some(61) => "light rain",
        Some(63) => "rain",
        Some(65) => "heavy rain",
        Some(66 | 67) => "freezing rain",
        Some(71) => "light snow",
        Some(73 | 77) => "snow",
        Some(75) => "heavy snow",
        Some(80 | 81) => "rain showers",
        Some(82) => "violent rain showers",
        Some(85 | 86) => "snow showers",
        Some(95) => "thunderstorm",
        Some(96 | 99) => "thunderstorm with hail",
        Some(_) | None => "unknown conditions",
    }
}
