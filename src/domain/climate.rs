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

/// Places outside the zones: countries, islands, and towns between two zones.
const OTHER: &str = "";

/// Large cities by zone, separated by `;`, in the form of [`vocabulary::words`], each with its mean temperatures of
/// January and July in degrees Celsius. Zones are from the present-day map of Beck et al., "Present and future
/// Köppen-Geiger climate classification maps at 1-km resolution" (2018); temperatures are rounded.
const CITIES: &[(&str, &str)] = &[
    (
        TROPICAL,
        "abidjan 27 25;accra 28 26;bali 28 27;bangalore 22 24;bengaluru 22 24;bangkok 27 29;\
         belo horizonte 24 19;bogor 25 26;brasilia 22 19;brasília 22 19;cali 24 24;cancun 24 29;cancún 24 29;\
         cartagena 27 29;cebu 27 28;chennai 26 31;chittagong 20 28;colombo 27 28;conakry 27 26;\
         dar es salaam 28 24;darwin 28 25;denpasar 28 27;dhaka 19 29;fortaleza 27 26;guatemala 18 20;\
         guayaquil 26 24;havana 22 28;ho chi minh city 27 28;saigon 27 28;honolulu 23 27;jakarta 27 28;\
         kampala 23 22;kingston 26 29;kinshasa 26 23;kochi 28 27;kolkata 20 30;kuala lumpur 28 28;lagos 28 26;\
         libreville 27 25;managua 27 28;manaus 27 27;manila 26 29;medellin 22 22;medellín 22 22;miami 20 29;\
         mombasa 28 25;monrovia 27 25;mumbai 25 28;panama city 27 28;phnom penh 27 29;phuket 28 28;\
         port au prince 26 30;recife 27 25;rio de janeiro 27 22;rio 27 22;salvador 27 24;san juan 25 28;\
         santo domingo 25 28;singapore 27 28;surabaya 28 28;yangon 25 27",
    ),
    (
        ARID,
        "abu dhabi 19 35;alicante 12 26;almeria 13 26;almería 13 26;amman 9 26;antofagasta 20 14;\
         ashgabat 4 31;baghdad 10 36;baku 5 27;bikaner 14 34;cairo 14 29;damascus 7 28;denver 0 24;doha 18 37;\
         dubai 20 36;el paso 8 29;gaborone 26 13;jaipur 16 30;jeddah 24 34;jodhpur 17 32;karachi 19 31;\
         khartoum 24 32;kuwait 13 39;kuwait city 13 39;las vegas 9 34;lima 23 17;lubbock 5 27;luanda 27 22;\
         manama 18 35;marrakech 13 29;marrakesh 13 29;mecca 25 36;medina 18 37;mendoza 25 8;monterrey 15 29;\
         muscat 21 35;niamey 25 29;nouakchott 22 28;ouagadougou 25 28;phoenix 14 36;riyadh 15 37;\
         sharjah 19 35;tehran 5 31;tripoli 13 28;tucson 12 31;windhoek 24 14;zaragoza 7 25",
    ),
    (
        TEMPERATE,
        "addis ababa 16 16;adelaide 23 11;algiers 12 26;amsterdam 4 18;antalya 10 29;antwerp 4 19;\
         athens 10 29;atlanta 7 27;auckland 20 11;austin 11 30;barcelona 10 25;bath 5 17;beirut 14 28;\
         belfast 5 15;belgrade 2 24;bergen 3 15;bilbao 9 20;birmingham 4 17;bogota 14 14;bogotá 14 14;\
         bologna 3 25;bordeaux 7 22;bremen 2 18;brighton 5 17;brisbane 25 15;bristol 5 17;brussels 4 18;\
         buenos aires 25 11;cape town 21 13;canberra 21 6;cardiff 5 17;casablanca 13 23;charlotte 6 27;\
         chengdu 6 26;chongqing 8 29;christchurch 17 6;cologne 3 19;copenhagen 1 18;cordoba 10 28;\
         córdoba 10 28;curitiba 21 14;dallas 8 30;dublin 5 16;durban 25 17;düsseldorf 3 19;dusseldorf 3 19;\
         edinburgh 4 15;essen 3 18;florence 7 25;frankfurt 2 20;fukuoka 7 28;geneva 2 21;genoa 9 25;\
         ghent 4 18;glasgow 4 16;guangzhou 14 29;hamburg 2 18;hangzhou 5 30;hanoi 17 30;hobart 17 8;\
         hong kong 16 29;houston 12 29;istanbul 6 25;izmir 9 28;jerusalem 9 24;johannesburg 20 10;kobe 6 27;\
         kyoto 5 28;leeds 4 16;leicester 4 17;lille 4 19;lisbon 10 23;lisboa 10 23;liverpool 5 17;\
         ljubljana 0 22;london 6 19;los angeles 14 21;lucknow 15 30;luxembourg 1 19;lyon 4 23;madrid 6 26;\
         malaga 12 26;málaga 12 26;manchester 4 16;marseille 8 25;melbourne 21 10;mexico city 15 18;\
         milan 3 25;milano 3 25;montevideo 23 11;montpellier 7 25;nagoya 5 28;nairobi 20 17;nantes 6 20;\
         naples 9 25;napoli 9 25;nashville 4 27;new orleans 12 29;new york 1 25;new york city 1 25;nyc 1 25;\
         brooklyn 1 25;newcastle 4 15;nice 9 24;nottingham 4 17;oakland 10 18;osaka 6 28;oxford 5 18;\
         palermo 12 26;palma 12 26;paris 5 21;perth 24 13;philadelphia 1 26;porto 9 20;porto alegre 25 14;\
         portland 5 21;pretoria 23 12;quito 15 15;raleigh 5 27;rennes 6 19;rome 8 26;roma 8 26;rotterdam 4 18;\
         sacramento 9 25;san antonio 12 30;san diego 14 21;san francisco 11 17;san jose 11 21;santiago 21 9;\
         sao paulo 23 17;são paulo 23 17;seattle 5 19;seville 11 29;sevilla 11 29;shanghai 5 29;\
         sheffield 4 17;shenzhen 16 29;southampton 5 18;split 8 26;stuttgart 1 20;strasbourg 2 21;suzhou 4 29;\
         sydney 23 13;taipei 16 30;tel aviv 14 28;the hague 4 18;tokyo 5 26;toulouse 6 23;tunis 12 27;\
         turin 3 24;torino 3 24;utrecht 4 18;valencia 12 26;vancouver 4 18;venice 4 24;verona 3 25;\
         washington 3 27;washington dc 3 27;wellington 17 9;wuhan 4 30;yokohama 6 26;zagreb 1 23;zurich 1 19;\
         zürich 1 19;bournemouth 5 17;cambridge 4 18;cork 6 16;exeter 6 17;faro 12 24;funchal 17 22;\
         galway 6 16;las palmas 18 24;santander 10 20;tenerife 18 25;york 4 17",
    ),
    (
        CONTINENTAL,
        "aarhus 1 17;almaty -5 24;ankara 1 24;astana -14 21;beijing -3 27;berlin 1 20;boston -1 24;\
         bratislava 0 22;brno -1 20;bucharest -1 24;budapest 1 23;buffalo -3 22;calgary -7 17;\
         changchun -15 23;chicago -3 24;chisinau -2 23;cleveland -2 23;columbus -1 24;detroit -3 23;\
         dresden 1 20;edmonton -10 18;gdansk 0 18;gdańsk 0 18;gothenburg 0 17;graz 0 21;harbin -18 23;\
         helsinki -4 18;indianapolis -2 24;innsbruck -1 19;irkutsk -17 19;kazan -10 20;kharkiv -5 22;\
         krakow -1 20;kraków -1 20;kyiv -3 22;kiev -3 22;leipzig 1 20;lviv -2 20;malmo 1 18;malmö 1 18;\
         milwaukee -5 22;minneapolis -9 23;minsk -4 19;montreal -9 21;montréal -9 21;moscow -6 20;munich 0 19;\
         münchen 0 19;novosibirsk -16 20;odesa -1 24;omaha -5 25;oslo -3 18;ottawa -10 21;pittsburgh -1 23;\
         poznan 0 20;poznań 0 20;prague 0 20;praha 0 20;pyongyang -5 25;quebec -12 19;québec -12 19;\
         riga -2 19;saint petersburg -5 19;st petersburg -5 19;salt lake city 0 27;salzburg 0 20;\
         sapporo -3 21;sarajevo 0 20;seoul -2 25;shenyang -11 25;sofia 0 22;stockholm -1 19;tallinn -3 18;\
         tampere -6 17;tartu -4 18;timisoara 1 23;toronto -4 22;trondheim -1 15;turku -4 18;\
         ulaanbaatar -21 18;uppsala -3 18;vienna 1 22;wien 1 22;vilnius -4 19;warsaw -2 20;winnipeg -16 20;\
         wroclaw 0 20;wrocław 0 20;yekaterinburg -13 19;chamonix -4 16;davos -5 13;lillehammer -8 15;\
         st moritz -7 12;whistler -3 17;zermatt -5 13",
    ),
    (
        POLAR,
        "alert -32 4;barentsburg -12 6;iqaluit -27 8;longyearbyen -12 7;nuuk -8 7;tiksi -31 8;utqiagvik -25 5;\
         vardo -4 10;vardø -4 10",
    ),
    (
        OTHER,
        "alps -4 15;argentina 24 10;australia 25 14;austria -1 20;belgium 3 18;bolivia 14 9;botswana 26 14;brazil 26 22;\
         canada -9 20;chile 20 9;croatia 4 24;denmark 1 17;egypt 14 29;england 5 17;finland -7 17;france 5 21;\
         germany 1 19;greece 10 28;hawaii 23 27;hungary 0 22;iceland 0 11;ireland 5 16;italy 6 25;\
         lapland -13 15;madagascar 25 18;morocco 12 26;namibia 25 15;netherlands 4 18;new zealand 18 9;\
         norway -4 16;paraguay 28 18;patagonia 15 4;peru 20 15;poland -1 19;portugal 10 22;scotland 4 15;\
         south africa 22 12;spain 8 25;sweden -3 17;switzerland 0 19;tasmania 16 8;\
         the netherlands 4 18;uruguay 24 12;wales 5 16;zimbabwe 21 14;antananarivo 21 15;asuncion 28 18;\
         asunción 28 18;bariloche 15 3;cusco 13 11;florianopolis 25 17;harare 21 14;la paz 11 8;maputo 26 19;\
         punta del este 22 11;queenstown 16 4;rosario 25 11;ushuaia 10 2;valparaiso 18 12;crete 12 26;\
         ibiza 12 26;madeira 17 22;majorca 11 26;mallorca 11 26;mykonos 12 26;santorini 12 26;sardinia 10 25;\
         sicily 11 26;malta 13 27;cyprus 12 29;reykjavik 1 12;reykjavík 1 12;tromso -3 12;tromsø -3 12",
    ),
];

/// Mean temperatures of January and July, in degrees Celsius, at a place that is not known but in this zone.
const ZONES: &[(&str, f64, f64)] = &[
    (TROPICAL, 27.0, 27.0),
    (ARID, 16.0, 32.0),
    (TEMPERATE, 8.0, 23.0),
    (CONTINENTAL, -2.0, 20.0),
    (POLAR, -15.0, 6.0),
];

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

/// What a usual temperature is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The place itself.
    Place,
    /// The climate zone of a place that is not known.
    Zone(&'static str),
    /// A temperate climate, as neither place nor zone is known.
    Guess,
}

/// Returns the mean temperature of this month in degrees Celsius, and what it is based on: the place if it is known,
/// else the climate zone, else a temperate climate.
pub fn usual(month: Month, place: Option<&str>, zone: Option<&str>) -> (f64, Basis) {
    let zone = ZONES.iter().find(|(name, ..)| Some(*name) == zone);
    let (january, july, basis) = match (place.and_then(of_place), zone) {
        (Some((_, january, july)), _) => (january, july, Basis::Place),
        (None, Some((name, january, july))) => (*january, *july, Basis::Zone(name)),
        (None, None) => (ZONES[2].1, ZONES[2].2, Basis::Guess),
    };
    // January and July are the extremes of the year.
    let angle = f64::from(u8::from(month)) * std::f64::consts::PI / 6.0 - 7.0 * std::f64::consts::PI / 6.0;
    (january.midpoint(july) + (july - january) / 2.0 * angle.cos(), basis)
}

/// Returns the mean temperature of this month as [`usual`] does, rounded.
pub fn usual_temperature(month: Month, place: Option<&str>, zone: Option<&str>) -> f64 {
    usual(month, place, zone).0.round()
}

/// Returns the number of the month with the same season north of the equator.
fn northern(month: Month, place: Option<&str>) -> i32 {
    let number = i32::from(u8::from(month));
    let is_southern = place.and_then(of_place).is_some_and(|(_, january, july)| january > july);
    if is_southern { (number + 5) % 12 + 1 } else { number }
}

/// Infers the climate zone from city and weather.
pub fn infer(city: Option<&str>, weather: &Weather) -> Option<&'static str> {
    city.and_then(of_city).or_else(|| weather.zone())
}

/// Returns the zone of a city, with or without a country or region after a comma.
fn of_city(city: &str) -> Option<&'static str> {
    let (zone, ..) = look_up(city.split(',').next().unwrap_or_default())?;
    Some(zone).filter(|zone| *zone != OTHER)
}

/// Returns zone and mean temperatures of January and July of a place or, if only that is known, of its country.
fn of_place(place: &str) -> Option<(&'static str, f64, f64)> {
    place.split(',').find_map(look_up)
}

fn look_up(name: &str) -> Option<(&'static str, f64, f64)> {
    let name = vocabulary::words(name).join(" ");
    let of_zone = |(zone, places): &(&'static str, &'static str)| {
        let (_, january, july) = places.split(';').filter_map(entry).find(|(known, ..)| *known == name)?;
        Some((*zone, january, july))
    };
    CITIES.iter().find_map(of_zone)
}

/// Reads a place with its temperatures: "lisbon 10 23".
fn entry(text: &'static str) -> Option<(&'static str, f64, f64)> {
    let (text, july) = text.rsplit_once(' ')?;
    let (name, january) = text.rsplit_once(' ')?;
    Some((name, january.parse().ok()?, july.parse().ok()?))
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
        assert!(usual(Month::December, "Reykjavik, Iceland") < 4.0 && usual(Month::January, "Dubai") > 18.0);
        let basis = |place, zone| super::usual(Month::May, Some(place), zone).1;
        assert_eq!(basis("Tokyo", Some(POLAR)), Basis::Place);
        assert_eq!((basis("Nowhere", Some(POLAR)), basis("Nowhere", None)), (Basis::Zone(POLAR), Basis::Guess));
    }

    #[test]
    fn every_city_is_written_as_it_is_looked_up_and_only_once() {
        let mut seen = std::collections::BTreeSet::new();
        for text in CITIES.iter().flat_map(|(_, cities)| cities.split(';')) {
            let (city, january, july) = entry(text).unwrap_or_else(|| panic!("{text}"));
            assert!((-40.0..=40.0).contains(&january) && (-40.0..=40.0).contains(&july), "{text}");
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
