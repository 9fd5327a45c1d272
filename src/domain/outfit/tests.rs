use proptest::prelude::*;
use serde_json::{Value, json};
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-03-10 12:00 UTC);

fn piece(id: &str, category: &str, colour: &str, tags: &[&str]) -> Piece {
    with(id, category, colour, tags, json!({}))
}

fn with(id: &str, category: &str, colour: &str, tags: &[&str], more: Value) -> Piece {
    let mut document =
        json!({ "id": id, "userId": "ada", "category": category, "colours": [{ "name": colour }], "tags": tags });
    for (name, value) in more.as_object().unwrap() {
        document[name] = value.clone();
    }
    Piece::new(&serde_json::from_value(document).unwrap(), NOW)
}

fn wardrobe() -> Vec<Piece> {
    vec![
        piece("tee", "Tops", "grey", &["tee", "casual"]),
        piece("shirt", "Tops", "white", &["shirt", "office", "dinner"]),
        piece("chinos", "Bottoms", "navy", &["chinos", "office", "casual"]),
        piece("jeans", "Jeans", "indigo", &["casual"]),
        piece("shorts", "Shorts", "beige", &["summer", "casual"]),
        piece("leggings", "Activewear", "black", &["gym", "leggings"]),
        piece("trainers", "Shoes", "white", &["running shoes", "sport"]),
        piece("loafers", "Footwear", "brown", &["loafers", "office", "suede"]),
        piece("boots", "Shoes", "black", &["boots", "rain", "winter"]),
        piece("sandals", "Shoes", "tan", &["sandals", "summer"]),
        piece("sweater", "Knitwear", "navy", &["wool", "sweater"]),
        piece("parka", "Outerwear", "olive", &["parka", "winter", "rain"]),
        piece("blazer", "Outerwear", "charcoal", &["blazer", "office", "formal"]),
        piece("belt", "Accessories", "brown", &["belt"]),
        piece("gown", "Dresses", "green", &["evening dress", "wedding", "formal"]),
        piece("trunks", "Swimwear", "blue", &["beach"]),
    ]
}

fn situation(text: &str, celsius: f64, wet: bool) -> Situation {
    Situation::new(text, celsius, wet, format!("{celsius} \u{b0}C"))
}

fn ids(outfit: &Outfit, pieces: &[Piece]) -> Vec<String> {
    outfit.pieces().map(|place| pieces[place].id.as_str().to_owned()).collect()
}

fn composed(text: &str, celsius: f64, wet: bool) -> Vec<String> {
    let pieces = wardrobe();
    ids(&compose(&pieces, &situation(text, celsius, wet), &Taste::default(), Choice::default()), &pieces)
}

#[test]
fn an_outfit_fits_its_occasion_and_weather() {
    for (text, celsius, wet, has, lacks) in [
        ("office", 20.0, false, &["shirt", "chinos", "loafers"][..], &["leggings", "shorts", "trainers"][..]),
        ("gym", 15.0, false, &["tee", "leggings", "trainers"], &["parka", "sweater", "loafers"]),
        ("casual", 28.0, false, &["tee"], &["parka", "sweater", "boots", "leggings"]),
        ("casual", 3.0, false, &["sweater", "parka", "boots"], &["shorts", "sandals"]),
        ("dinner", 10.0, true, &["boots", "parka"], &["loafers", "sandals"]),
        ("wedding", 24.0, false, &["gown"], &["jeans", "trainers", "tee"]),
        ("casual dinner", 16.0, false, &["shirt", "jeans"], &["gown", "leggings", "sandals"]),
    ] {
        let found = composed(text, celsius, wet);
        for id in has {
            assert!(found.contains(&(*id).to_owned()), "{text} at {celsius}: no {id} in {found:?}");
        }
        for id in lacks {
            assert!(!found.contains(&(*id).to_owned()), "{text} at {celsius}: {id} in {found:?}");
        }
    }
}

#[test]
fn anchors_are_worn_and_what_is_avoided_is_not() {
    let pieces = wardrobe();
    let place = |id: &str| pieces.iter().position(|piece| piece.id.as_str() == id).unwrap();
    let (anchors, avoided) = ([place("sandals")], [place("shirt")]);
    let choice = Choice { anchors: &anchors, avoided: &avoided, ..Choice::default() };
    let found = ids(&compose(&pieces, &situation("office", 25.0, false), &Taste::default(), choice), &pieces);
    assert!(found.contains(&"sandals".to_owned()) && !found.contains(&"shirt".to_owned()), "{found:?}");
}

#[test]
fn what_is_disliked_is_never_worn_and_what_is_liked_comes_first() {
    let pieces = wardrobe();
    let taste = Taste {
        dislikes: vec![Description::of("brown shoes")],
        likes: vec![Description::of("white sneakers")],
        ..Taste::default()
    };
    let found = ids(&compose(&pieces, &situation("office", 20.0, false), &taste, Choice::default()), &pieces);
    assert!(!found.contains(&"loafers".to_owned()), "{found:?}");
}

#[test]
fn an_outfit_says_what_it_lacks() {
    let pieces = vec![piece("tee", "Tops", "grey", &[]), piece("shorts", "Shorts", "navy", &[])];
    let outfit = compose(&pieces, &situation("casual", 2.0, false), &Taste::default(), Choice::default());
    assert_eq!(outfit.missing, [Slot::Bottoms, Slot::Shoes, Slot::Outerwear]);
}

#[test]
fn each_rule_says_what_it_should() {
    let get = |id: &str| wardrobe().into_iter().find(|piece| piece.id.as_str() == id).unwrap();
    let garment = |id: &str| get(id).garment;
    // Formality: what fits, what is one step off, what is far off, sport.
    for (id, text, better) in [("shirt", "office", "tee"), ("gown", "wedding", "shirt"), ("trainers", "gym", "loafers")]
    {
        let situation = situation(text, 18.0, false);
        let (fits, other) =
            (rules::formality(&garment(id), &situation), rules::formality(&garment(better), &situation));
        assert!(fits > other, "{text}: {id} {fits}, {better} {other}");
    }
    // Weather: out of season, ruined, welcome.
    for (id, celsius, wet, allowed) in [
        ("sandals", 10.0, false, false),
        ("shorts", 12.0, false, false),
        ("parka", 26.0, false, false),
        ("loafers", 14.0, true, false),
        ("loafers", 14.0, false, true),
        ("boots", 8.0, true, true),
        ("sandals", 27.0, false, true),
    ] {
        assert_eq!(
            rules::weather(&garment(id), &situation("casual", celsius, wet)).is_some(),
            allowed,
            "{id} at {celsius}"
        );
    }
    let wet = |id: &str| rules::weather(&garment(id), &situation("casual", 10.0, true));
    assert!(wet("parka") > wet("blazer"));
    // Occasion: a tag counts.
    assert!(rules::occasion(&get("loafers"), &situation("office", 18.0, false)) > 0);
    assert_eq!(rules::occasion(&get("boots"), &situation("office", 18.0, false)), 0);
    // When it was worn last.
    let worn = |day: &str| with("x", "Tops", "white", &[], json!({ "wearCount": 3, "lastWornAt": day }));
    let recency: Vec<i32> = ["2026-03-09", "2026-03-07", "2026-03-04", "2026-02-10", "2025-12-01"]
        .map(worn)
        .iter()
        .map(rules::recency)
        .collect();
    assert!(recency.is_sorted() && recency[0] < recency[4], "{recency:?}");
    // Taste.
    let taste = Taste { colours: vec!["navy".into()], likes: vec![Description::of("blazer")], ..Taste::default() };
    assert!(
        rules::liking(&get("chinos"), &taste) > 0
            && rules::liking(&get("blazer"), &taste) > rules::liking(&get("chinos"), &taste)
    );
    assert_eq!(rules::liking(&get("tee"), &taste), 0);
    // Colours.
    let coloured = |category: &str, colour: &str| piece("x", category, colour, &[]).garment;
    for (one, other, is_good) in [
        (("tops", "white"), ("bottoms", "navy"), true),
        (("tops", "burgundy"), ("bottoms", "grey"), true),
        (("tops", "sage"), ("bottoms", "forest green"), true),
        (("tops", "pink"), ("bottoms", "orange red"), false),
        (("tops", "purple"), ("bottoms", "yellow"), false),
        (("tops", "beige"), ("bottoms", "beige"), false),
        (("tops", "black"), ("bottoms", "black"), true),
        (("shoes", "brown"), ("accessories", "brown"), true),
        (("shoes", "black"), ("accessories", "brown"), false),
    ] {
        let harmony = rules::harmony(&coloured(one.0, one.1), &coloured(other.0, other.1));
        assert_eq!(harmony >= 0, is_good, "{one:?} {other:?}: {harmony}");
    }
}

#[test]
fn no_piece_comes_twice_on_following_days() {
    let mut pieces = wardrobe();
    for (number, colour) in ["blue", "white", "grey", "cream"].into_iter().enumerate() {
        pieces.push(piece(&format!("more-top-{number}"), "Tops", colour, &["tee", "casual"]));
        pieces.push(piece(&format!("more-trousers-{number}"), "Trousers", colour, &["casual"]));
        pieces.push(piece(&format!("more-shoes-{number}"), "Shoes", colour, &["sneakers", "casual"]));
        pieces.push(piece(&format!("more-coat-{number}"), "Outerwear", colour, &["coat", "casual"]));
        pieces.push(piece(&format!("more-knit-{number}"), "Knitwear", colour, &["sweater", "casual"]));
    }
    let days: Vec<Day> = (0..7).map(|_| Day { situation: situation("casual", 9.0, false) }).collect();
    let outfits = plan(&pieces, &days, &Taste::default(), Choice::default(), Suitcase::NONE);
    assert_eq!(outfits.len(), 7);
    for pair in outfits.windows(2) {
        assert!(
            pair[0].missing.is_empty() && pair[1].pieces().all(|place| !pair[0].pieces().any(|other| other == place)),
            "{pair:?}"
        );
    }
    // With one coat it is worn every day.
    let few: Vec<Piece> = wardrobe().into_iter().filter(|piece| piece.id.as_str() != "blazer").collect();
    let outfits = plan(&few, &days[..2], &Taste::default(), Choice::default(), Suitcase::NONE);
    assert!(outfits.iter().all(|outfit| ids(outfit, &few).contains(&"parka".to_owned())));
}

#[test]
fn a_piece_of_an_earlier_day_is_not_due_for_an_outing() {
    let rested = json!({ "wearCount": 3, "lastWornAt": "2025-06-01" });
    let new = json!({ "wearCount": 0 });
    let pieces = [
        with("top-1", "Tops", "white", &["tee"], new.clone()),
        with("top-2", "Tops", "grey", &["tee"], new),
        with("jeans", "Trousers", "navy", &[], rested.clone()),
        with("shoes", "Shoes", "brown", &["sneakers"], rested.clone()),
        with("coat", "Outerwear", "camel", &["coat"], rested),
    ];
    let days: Vec<Day> = (0..4).map(|_| Day { situation: situation("casual", 16.0, false) }).collect();
    let outfits = plan(&pieces, &days, &Taste::default(), Choice::default(), Suitcase::NONE);
    let worn: Vec<_> = outfits.iter().flat_map(|outfit| &outfit.worn).collect();
    let waiting = |why: &str| why.contains("due for an outing") || why.contains("first outing");
    let told: Vec<usize> = worn.iter().filter(|worn| waiting(&worn.why)).map(|worn| worn.piece).collect();
    let once: std::collections::BTreeSet<usize> = told.iter().copied().collect();
    assert!(!told.is_empty() && once.len() == told.len(), "{worn:?}");
}

fn any_piece() -> impl Strategy<Value = Piece> {
    let category = prop::sample::select(vec![
        "Tops",
        "Bottoms",
        "Shoes",
        "Outerwear",
        "Knitwear",
        "Dresses",
        "Accessories",
        "Jeans",
        "Shorts",
        "Swimwear",
        "Heels",
    ]);
    let colour = prop::sample::select(vec!["black", "white", "navy", "red", "sage", "brown", "mustard", "pink"]);
    let tag =
        prop::sample::select(vec!["casual", "office", "formal", "summer", "winter", "rain", "gym", "suede", "party"]);
    (any::<u32>(), category, colour, prop::collection::vec(tag, 0..3), 0_u32..50).prop_map(
        |(id, category, colour, tags, wears)| {
            with(&format!("p{id}"), category, colour, &tags, json!({ "wearCount": wears }))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_outfit_is_wearable_and_without_what_is_rejected(
        pieces in prop::collection::vec(any_piece(), 0..40),
        text in prop::sample::select(vec!["casual", "office", "wedding", "gym", "dinner", "beach", ""]),
        celsius in -10.0..35.0_f64,
        wet in any::<bool>(),
        dislike in prop::sample::select(vec!["brown shoes", "red", "jeans", "formal dress", "black"]),
        days in 1_usize..5,
    ) {
        let taste = Taste { dislikes: vec![Description::of(dislike)], ..Taste::default() };
        let planned: Vec<Day> = (0..days).map(|_| Day { situation: situation(text, celsius, wet) }).collect();
        for outfit in plan(&pieces, &planned, &taste, Choice::default(), Suitcase::NONE) {
            let has = |slot: Slot| outfit.worn.iter().any(|worn| worn.slot == slot);
            let is_covered = has(Slot::Dress) || ((has(Slot::Top) || has(Slot::Knit)) && has(Slot::Bottoms));
            prop_assert!(!outfit.missing.is_empty() || (is_covered && has(Slot::Shoes)));
            prop_assert!(!(has(Slot::Dress) && (has(Slot::Top) || has(Slot::Bottoms))));
            let mut seen = std::collections::BTreeSet::new();
            for worn in &outfit.worn {
                let piece = &pieces[worn.piece];
                prop_assert!(seen.insert(worn.piece));
                prop_assert_eq!(piece.garment.slot, Some(worn.slot));
                prop_assert!(!taste.rejects(&piece.garment), "{} is disliked", piece.garment.name);
                prop_assert!(!worn.why.is_empty() && !worn.why.contains("tagged"));
                let is_bare = matches!(worn.slot, Slot::Bottoms | Slot::Shoes) && piece.garment.warmth == 0;
                prop_assert!(!(is_bare && celsius < 15.0 && text != "gym"), "{} at {celsius}", piece.garment.name);
            }
        }
    }
}
