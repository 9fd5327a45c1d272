//! Infers a user's climate zone from their city or from the weather recorded with their wears.
//!
//! The five zones are the main groups of the Köppen–Geiger classification: A tropical, B arid, C temperate, D
//! continental, E
//! polar. Known cities are looked up; otherwise monthly mean temperatures decide, by the thresholds of that
//! classification.

use std::time::Duration;

use time::{Month, OffsetDateTime};

use crate::model::vocabulary;
use crate::model::wardrobe::Wear;

const TROPICAL: &str = "tropical";
const ARID: &str = "arid";
const TEMPERATE: &str = "temperate";
const CONTINENTAL: &str = "continental";
const POLAR: &str = "polar";

/// Large cities by zone, separated by `;`, in the form of [`vocabulary::words`]. From the present-day map of Beck et
/// al.,
/// "Present and future Köppen-Geiger climate classification maps at 1-km resolution" (2018).
const CITIES: &[(&str, &str)] = &[
    (
        TROPICAL,
        "abidjan;accra;bali;bangalore;bengaluru;bangkok;belo horizonte;bogor;brasilia;brasília;cali;cancun;cancún;cartagena;\
         cebu;chennai;chittagong;colombo;conakry;dar es salaam;darwin;denpasar;dhaka;fortaleza;guatemala;guayaquil;havana;\
         ho chi minh city;saigon;honolulu;jakarta;kampala;kingston;kinshasa;kochi;kolkata;kuala lumpur;lagos;\
         libreville;managua;manaus;manila;medellin;medellín;miami;mombasa;monrovia;mumbai;panama city;phnom penh;phuket;\
         port au prince;recife;rio de janeiro;rio;salvador;san juan;santo domingo;singapore;surabaya;yangon",
    ),
    (
        ARID,
        "abu dhabi;alicante;almeria;almería;amman;antofagasta;ashgabat;baghdad;baku;bikaner;cairo;damascus;denver;\
         doha;dubai;el paso;gaborone;jaipur;jeddah;jodhpur;karachi;khartoum;kuwait;\
         kuwait city;las vegas;lima;lubbock;luanda;manama;marrakech;marrakesh;mecca;medina;mendoza;monterrey;\
         muscat;niamey;nouakchott;ouagadougou;phoenix;riyadh;sharjah;tehran;tripoli;tucson;windhoek;\
         zaragoza",
    ),
    (
        TEMPERATE,
        "addis ababa;adelaide;algiers;amsterdam;antalya;antwerp;athens;atlanta;auckland;austin;barcelona;bath;beirut;belfast;\
         belgrade;bergen;bilbao;birmingham;bogota;bogotá;bologna;bordeaux;bremen;brighton;brisbane;bristol;brussels;buenos aires;\
         cape town;canberra;cardiff;casablanca;charlotte;chengdu;chongqing;christchurch;cologne;copenhagen;cordoba;córdoba;curitiba;\
         dallas;dublin;durban;düsseldorf;dusseldorf;edinburgh;essen;florence;frankfurt;fukuoka;geneva;genoa;\
         ghent;glasgow;guangzhou;hamburg;hangzhou;hanoi;hobart;hong kong;houston;istanbul;izmir;jerusalem;johannesburg;kobe;\
         kyoto;leeds;leicester;lille;lisbon;lisboa;liverpool;ljubljana;london;los angeles;lucknow;luxembourg;lyon;madrid;\
         malaga;málaga;manchester;marseille;melbourne;mexico city;milan;milano;montevideo;montpellier;nagoya;nairobi;nantes;\
         naples;napoli;nashville;new orleans;new york;new york city;nyc;brooklyn;newcastle;nice;nottingham;oakland;osaka;oxford;\
         palermo;palma;paris;perth;philadelphia;porto;porto alegre;portland;pretoria;quito;raleigh;rennes;rome;roma;rotterdam;\
         sacramento;san antonio;san diego;san francisco;san jose;santiago;sao paulo;são paulo;seattle;seville;sevilla;shanghai;\
         sheffield;shenzhen;southampton;split;stuttgart;strasbourg;suzhou;sydney;taipei;tel aviv;the hague;tokyo;toulouse;tunis;\
         turin;torino;utrecht;valencia;vancouver;venice;verona;washington;washington dc;wellington;wuhan;yokohama;zagreb;zurich;\
         zürich",
    ),
    (
        CONTINENTAL,
        "aarhus;almaty;ankara;astana;beijing;berlin;boston;bratislava;brno;bucharest;budapest;buffalo;calgary;changchun;\
         chicago;chisinau;cleveland;columbus;detroit;dresden;edmonton;gdansk;gdańsk;gothenburg;graz;harbin;\
         helsinki;indianapolis;innsbruck;irkutsk;kazan;kharkiv;krakow;kraków;kyiv;kiev;leipzig;lviv;malmo;malmö;milwaukee;\
         minneapolis;minsk;montreal;montréal;moscow;munich;münchen;novosibirsk;odesa;omaha;oslo;ottawa;pittsburgh;poznan;poznań;\
         prague;praha;pyongyang;quebec;québec;riga;saint petersburg;st petersburg;salt lake city;salzburg;\
         sapporo;sarajevo;seoul;shenyang;sofia;stockholm;tallinn;tampere;tartu;timisoara;toronto;trondheim;turku;ulaanbaatar;\
         uppsala;vienna;wien;vilnius;warsaw;winnipeg;wroclaw;wrocław;yekaterinburg",
    ),
    (POLAR, "alert;barentsburg;iqaluit;longyearbyen;nuuk;tiksi;utqiagvik;vardo;vardø"),
];

/// Well-known places south of the equator that have seasons, in the form of [`CITIES`].
const SOUTHERN: &str = "adelaide;brisbane;canberra;hobart;melbourne;perth;sydney;darwin;auckland;christchurch;wellington;\
     queenstown;cape town;durban;johannesburg;pretoria;gaborone;windhoek;maputo;harare;antananarivo;buenos aires;cordoba;\
     córdoba;mendoza;rosario;bariloche;ushuaia;montevideo;punta del este;santiago;valparaiso;antofagasta;la paz;cusco;lima;\
     asuncion;asunción;belo horizonte;brasilia;brasília;curitiba;florianopolis;porto alegre;rio de janeiro;rio;sao paulo;\
     são paulo;salvador;recife;jakarta;bali;denpasar;luanda;australia;new zealand;south africa;argentina;chile;uruguay;\
     paraguay;brazil;peru;bolivia;namibia;botswana;zimbabwe;madagascar;patagonia;tasmania";

/// Mean temperature of the year and half the difference between its warmest and coldest month, by zone, in degrees
/// Celsius.
const YEARS: &[(&str, f64, f64)] =
    &[(TROPICAL, 28.0, 1.0), (ARID, 25.0, 9.0), (TEMPERATE, 16.0, 7.5), (CONTINENTAL, 10.0, 12.0), (POLAR, -6.0, 10.0)];

/// Oldest wear that counts; a year has each season once.
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Fewest wears with a temperature that allow a conclusion.
const FEWEST_WEARS: u32 = 10;
/// Fewest months in which the extremes seen can be those of the year.
const FEWEST_MONTHS: usize = 6;
/// Share of wet wears below which a warm place counts as dry.
const DRY_SHARE: f64 = 0.03;

/// Weather of wears, by month.
#[derive(Debug, Default)]
pub struct Weather {
    months: [(f64, u32); 12],
    described: u32,
    wet: u32,
}

impl Weather {
    /// Adds a wear.
    pub fn add(&mut self, wear: &Wear, now: OffsetDateTime) {
        let (Some(at), Some(weather)) = (wear.occurred_at, &wear.weather_snapshot) else { return };
        let at = at.get();
        if at > now || at < now - YEAR {
            return;
        }
        // Temperatures never measured on Earth are data errors.
        if let Some(celsius) = weather.temp_celsius.filter(|celsius| (-90.0..=60.0).contains(celsius)) {
            let (sum, count) = &mut self.months[usize::from(u8::from(at.month())) - 1];
            *sum += celsius;
            *count += 1;
        }
        if let Some(conditions) = &weather.conditions {
            self.described += 1;
            let is_wet = |word: &String| {
                ["rain", "drizzle", "shower", "snow", "thunderstorm", "sleet", "hail"].contains(&word.as_str())
            };
            self.wet += u32::from(vocabulary::folded_words(conditions).iter().any(is_wet));
        }
    }

    /// Returns the zone that the temperatures indicate.
    fn zone(&self) -> Option<&'static str> {
        let means: Vec<f64> =
            self.months.iter().filter(|(_, count)| *count > 0).map(|(sum, count)| sum / f64::from(*count)).collect();
        if self.months.iter().map(|(_, count)| count).sum::<u32>() < FEWEST_WEARS {
            return None;
        }
        let coldest = means.iter().copied().fold(f64::INFINITY, f64::min);
        let warmest = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean = means.iter().sum::<f64>() / means.len() as f64;
        let is_dry = self.described >= FEWEST_WEARS && f64::from(self.wet) < DRY_SHARE * f64::from(self.described);
        if means.len() < FEWEST_MONTHS {
            // Part of a year proves an extreme zone only if its temperatures exceed those of every milder zone.
            return Some(match mean {
                mean if mean >= 26.0 && is_dry => ARID,
                mean if mean >= 26.0 => TROPICAL,
                mean if mean < -20.0 => POLAR,
                mean if mean < 0.0 => CONTINENTAL,
                _ => TEMPERATE,
            });
        }
        Some(match () {
            () if warmest < 10.0 => POLAR,
            () if is_dry && mean >= 18.0 => ARID,
            () if coldest >= 18.0 => TROPICAL,
            () if coldest < 0.0 => CONTINENTAL,
            () => TEMPERATE,
        })
    }
}

/// A part of the year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase", const_into_str)]
pub enum Season {
    /// December to February, north of the equator.
    Winter,
    /// March to May.
    Spring,
    /// June to August.
    Summer,
    /// September to November.
    Autumn,
}

impl Season {
    /// Returns the season of a month at a place; `None` in the tropics, which have no such seasons.
    pub fn of(month: Month, place: Option<&str>) -> Option<Self> {
        let is_tropical = place.and_then(of_city) == Some(TROPICAL);
        (!is_tropical).then(|| match (northern(month, place) % 12) / 3 {
            0 => Self::Winter,
            1 => Self::Spring,
            2 => Self::Summer,
            _ => Self::Autumn,
        })
    }

    /// Name of the climate zone.
    pub const fn name(self) -> &'static str {
        self.into_str()
    }
}

/// Returns the typical temperature of a day in this month, in degrees Celsius, by the zone of the place (temperate if
/// unknown) and its hemisphere.
pub fn usual_temperature(month: Month, place: Option<&str>, zone: Option<&str>) -> f64 {
    let zone = place.and_then(of_city).or(zone);
    let year = YEARS.iter().find(|(name, ..)| Some(*name) == zone).unwrap_or(&YEARS[2]);
    // July is the warmest month, January the coldest.
    let angle = f64::from(northern(month, place) - 7) * std::f64::consts::PI / 6.0;
    (year.1 + year.2 * angle.cos()).round()
}

/// Returns the number of the month with the same season north of the equator.
fn northern(month: Month, place: Option<&str>) -> i32 {
    let number = i32::from(u8::from(month));
    let named = place.unwrap_or_default().split(',').map(|part| vocabulary::words(part).join(" "));
    let is_southern = { named }.any(|name| !name.is_empty() && SOUTHERN.split(';').any(|known| known == name));
    if is_southern { (number + 5) % 12 + 1 } else { number }
}

/// Infers the climate zone from city and weather.
pub fn infer(city: Option<&str>, weather: &Weather) -> Option<&'static str> {
    city.and_then(of_city).or_else(|| weather.zone())
}

/// Looks up a city, with or without a country or region after a comma.
fn of_city(city: &str) -> Option<&'static str> {
    let name = city.split(',').next().unwrap_or_default();
    let name = vocabulary::words(name).join(" ");
    let zone = CITIES.iter().find(|(_, cities)| cities.split(';').any(|known| known == name));
    zone.map(|(zone, _)| *zone).filter(|_| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-12-31 12:00 UTC);

    /// Creates two wears in each month with a temperature.
    fn weather(months: &[f64], conditions: &str) -> Weather {
        let mut weather = Weather::default();
        for (month, celsius) in (1..).zip(months) {
            for day in [3, 17] {
                let wear = json!({
                    "occurredAt": format!("2026-{month:02}-{day:02}"),
                    "weatherSnapshot": {"tempCelsius": celsius, "conditions": conditions},
                });
                weather.add(&serde_json::from_value(wear).unwrap(), NOW);
            }
        }
        weather
    }

    #[test]
    fn a_known_city_tells_its_zone() {
        for (city, zone) in [
            ("Lisbon", TEMPERATE),
            (" são paulo , Brazil", TEMPERATE),
            ("SINGAPORE", TROPICAL),
            ("Dubai, UAE", ARID),
            ("Helsinki", CONTINENTAL),
            ("Longyearbyen", POLAR),
        ] {
            assert_eq!(infer(Some(city), &Weather::default()), Some(zone), "{city}");
        }
        for city in ["", ",", "Nowhere", ";"] {
            assert_eq!(infer(Some(city), &Weather::default()), None, "{city}");
        }
    }

    #[test]
    fn seasons_depend_on_the_hemisphere() {
        for (month, place, season) in [
            (Month::December, Some("Lisbon"), Season::Winter),
            (Month::December, Some("Sydney, Australia"), Season::Summer),
            (Month::June, Some("cape town"), Season::Winter),
            (Month::April, None, Season::Spring),
            (Month::April, Some("Buenos Aires"), Season::Autumn),
        ] {
            assert_eq!(Season::of(month, place), Some(season), "{place:?}");
        }
        let usual = |month, place| usual_temperature(month, Some(place), None);
        assert!(usual(Month::January, "Oslo") < 0.0 && usual(Month::January, "Sydney") > 20.0);
        assert!(usual(Month::January, "Singapore") > 25.0 && usual(Month::November, "Lisbon") < 14.0);
    }

    #[test]
    fn every_city_is_written_as_it_is_looked_up_and_only_once() {
        let mut seen = std::collections::BTreeSet::new();
        for city in CITIES.iter().flat_map(|(_, cities)| cities.split(';')) {
            assert_eq!(vocabulary::words(city).join(" "), city);
            assert!(seen.insert(city), "{city} is there twice");
        }
    }

    #[test]
    fn the_temperatures_of_a_year_tell_the_zone() {
        // Monthly means of weather stations, 1991-2020, rounded: Porto, Kuala Lumpur, Riyadh, Oulu, Svalbard.
        let porto = [10.0, 10.0, 12.0, 14.0, 16.0, 19.0, 20.0, 20.0, 19.0, 16.0, 13.0, 11.0];
        let kuala_lumpur = [27.0, 28.0, 28.0, 28.0, 29.0, 28.0, 28.0, 28.0, 28.0, 28.0, 27.0, 27.0];
        let riyadh = [15.0, 17.0, 22.0, 27.0, 33.0, 36.0, 37.0, 37.0, 34.0, 28.0, 21.0, 16.0];
        let oulu = [-9.0, -9.0, -4.0, 2.0, 9.0, 14.0, 17.0, 15.0, 10.0, 3.0, -2.0, -6.0];
        let svalbard = [-11.0, -11.0, -12.0, -8.0, -1.0, 4.0, 7.0, 6.0, 2.0, -4.0, -7.0, -9.0];
        for (months, conditions, zone) in [
            (&porto, "Light rain", TEMPERATE),
            (&kuala_lumpur, "Thunderstorm", TROPICAL),
            (&riyadh, "Clear", ARID),
            (&oulu, "Snow", CONTINENTAL),
            (&svalbard, "Clear", POLAR),
        ] {
            assert_eq!(infer(Some("Nowhere"), &weather(months, conditions)), Some(zone));
        }
    }

    #[test]
    fn little_weather_tells_little() {
        assert_eq!(weather(&[5.0; 4], "Rain").zone(), None);
        // A winter alone does not make a polar climate.
        assert_eq!(weather(&[4.0; 5], "Rain").zone(), Some(TEMPERATE));
        assert_eq!(weather(&[-4.0; 5], "Snow").zone(), Some(CONTINENTAL));
        let mut impossible = weather(&[5.0; 4], "Rain");
        for wear in [
            json!({"occurredAt": "2026-08-01", "weatherSnapshot": {"tempCelsius": 9000.0}}),
            json!({"occurredAt": "2027-08-01", "weatherSnapshot": {"tempCelsius": 20.0}}),
            json!({"occurredAt": "2020-08-01", "weatherSnapshot": {"tempCelsius": 20.0}}),
            json!({"weatherSnapshot": {"tempCelsius": 20.0}}),
            json!({"occurredAt": "2026-08-01"}),
        ] {
            impossible.add(&serde_json::from_value(wear).unwrap(), NOW);
        }
        assert_eq!(impossible.zone(), None);
    }
}
