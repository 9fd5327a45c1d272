//! The profile, gaps, wear patterns and preferences.

use pluckit::domain::chat::tools::ToolError;
use pluckit::store::Container;
use serde_json::{Value, json};

use super::Bench;

#[tokio::test]
async fn the_profile_has_defaults_until_somebody_fills_it() {
    let bench = Bench::new();
    let empty = bench.try_run("get_user_profile", "{}").await.unwrap();
    insta::assert_snapshot!(empty, @r#"{"style_preferences":[],"favorite_brands":[],"preferred_colours":[],"location_city":null,"height_cm":null,"preferred_size_system":"US","currency_code":"USD","recommendation_opt_in":true,"style_confidence_profile":null,"climate_zone":null}"#);
    bench
        .profile(json!({ "stylePreferences": ["Classic"], "locationCity": "Oslo", "heightCm": 172, "weightKg": 60 }))
        .await;
    let profile = bench.run("get_user_profile", json!({})).await;
    assert_eq!((&profile["style_preferences"], &profile["location_city"]), (&json!(["Classic"]), &json!("Oslo")));
    assert!(profile.get("weightKg").is_none() && profile["height_cm"] == 172.0);
}

#[tokio::test]
async fn gaps_are_measured_against_the_users_styles() {
    let bench = Bench::new();
    bench.profile(json!({ "stylePreferences": ["Minimalist"], "preferredColours": [" ", "Olive"] })).await;
    for (id, category, worn) in
        [("a", "tees", 3), ("b", "Tops", 9), ("c", "Jeans", 5), ("d", "FOOTWEAR", 1), ("e", "Shoes", 7)]
    {
        bench.own(id, json!({ "category": category, "wearCount": worn, "colours": [{ "name": "Black" }] })).await;
    }
    let result = bench.run("analyze_wardrobe_gaps", json!({})).await;
    let gaps = result["gaps"].as_array().unwrap();
    let short: Vec<_> =
        gaps.iter().map(|gap| (gap["category"].as_str().unwrap(), gap["shortage"].as_u64().unwrap())).collect();
    assert_eq!(short, [("tops", 3), ("bottoms", 3), ("outerwear", 1), ("accessories", 1)]);
    assert_eq!(gaps[1]["example_items"][0], "olive cargo pants");
    assert_eq!(result["styles_considered"], json!(["Minimalist"]));
    let anchors: Vec<_> =
        result["anchor_pieces"].as_array().unwrap().iter().map(|anchor| anchor["id"].as_str().unwrap()).collect();
    assert_eq!(anchors, ["b", "e", "c"]);
}

#[tokio::test]
async fn without_a_preferred_colour_examples_take_the_most_owned_one() {
    let bench = Bench::new();
    bench.own("a", json!({ "category": "Tops", "colours": [{ "name": "Teal" }] })).await;
    bench.own("b", json!({ "category": "Tops", "colours": [{ "name": "teal" }, { "name": "red" }] })).await;
    let result = bench.run("analyze_wardrobe_gaps", json!({})).await;
    assert_eq!(result["gaps"][0]["example_items"][0], "teal cargo pants");
    assert_eq!(result["styles_considered"], json!(["default"]));
}

#[tokio::test]
async fn wear_patterns_need_five_worn_items() {
    let bench = Bench::new();
    for number in 0..4 {
        bench.own(&format!("worn{number}"), json!({ "category": "Tops", "wearCount": 2 })).await;
    }
    bench.own("unworn", json!({ "category": "shoes" })).await;
    let sparse = bench.run("get_wear_patterns", json!({ "query": "favourites" })).await;
    assert_eq!(sparse["sparse"], true);
    assert_eq!((&sparse["totalItems"], &sparse["categoryBreakdown"]), (&json!(5), &json!({ "tops": 4, "shoes": 1 })));
    assert!(!sparse["message"].as_str().unwrap().is_empty());

    let events: Vec<Value> = (1..=15)
        .map(|day| {
            let occasion = if day <= 5 { "old" } else { "Work" };
            let conditions = if day > 12 { "Rain" } else { "Clear" };
            json!({
                "occurredAt": format!("2026-02-{day:02}T08:00:00Z"), "occasion": occasion,
                "weatherSnapshot": { "tempCelsius": 5, "conditions": conditions },
            })
        })
        .collect();
    let fields = json!({
        "category": "Shoes", "brand": "Morjas", "wearCount": 18, "lastWornAt": "2026-03-10T08:00:00Z", "price": 180,
        "wearEvents": events, "aestheticTags": ["classic"],
    });
    bench.own("favourite", fields).await;
    // This one keeps no events of its own; they are looked up.
    let event = json!({ "id": "e1", "userId": "ada", "itemId": "worn0", "occurredAt": "2026-03-01T08:00:00Z", "occasion": "party" });
    bench.save(Container::WearEvents, "ada", event).await;
    let patterns = bench.run("get_wear_patterns", json!({})).await;
    assert_eq!((&patterns["sparse"], &patterns["itemsWithWearHistory"]), (&json!(false), &json!(5)));
    // Only the ten newest events of an item count.
    assert_eq!(patterns["topOccasions"], json!([{ "name": "work", "count": 10 }, { "name": "party", "count": 1 }]));
    assert_eq!(
        patterns["topClimateConditions"],
        json!([{ "name": "clear", "count": 7 }, { "name": "rain", "count": 3 }])
    );
    assert_eq!(patterns["categoryWearSummary"]["shoes"], json!({ "totalWears": 18, "avgScore": 9.0 }));
    let best = json!({
        "id": "favourite", "category": "Shoes", "brand": "Morjas", "aestheticTags": ["classic"], "wearCount": 18,
        "lastWornAt": "2026-03-10T08:00:00.000Z", "daysSinceLastWorn": 0, "score": 18.0, "costPerWear": 10.0,
        "currency": "USD",
    });
    assert_eq!(patterns["topRankedItems"][0], best);
    assert_eq!(patterns["topRankedItems"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn preferences_are_remembered_obeyed_and_forgotten() {
    let bench = Bench::new();
    for (id, category, colour, tags) in [
        ("t", "Tops", "white", json!(["shirt", "office"])),
        ("b", "Bottoms", "navy", json!(["chinos", "office"])),
        ("brown", "Shoes", "brown", json!(["loafers", "office"])),
        ("black", "Shoes", "black", json!(["boots"])),
        ("o", "Outerwear", "camel", json!(["coat"])),
    ] {
        bench.own(id, json!({ "category": category, "colours": [{ "name": colour }], "tags": tags })).await;
    }
    let worn = async || -> Vec<String> {
        let plan = bench.run("plan_outfits", json!({ "occasions": ["office"], "celsius": 12 })).await;
        let pieces = plan["outfits"][0]["pieces"].as_array().unwrap().clone();
        pieces.iter().map(|piece| piece["id"].as_str().unwrap().to_owned()).collect()
    };
    assert!(worn().await.contains(&"brown".to_owned()));
    let dislike = json!({ "text": " brown  shoes ", "kind": "dislike" });
    let result = bench.run("remember_preference", dislike.clone()).await;
    assert_eq!(result, json!({ "remembered": "brown shoes", "kind": "dislike" }));
    bench.run("remember_preference", dislike).await;
    assert!(worn().await.contains(&"black".to_owned()) && !worn().await.contains(&"brown".to_owned()));
    for arguments in [json!({ "text": "x", "kind": "hunch" }), json!({ "text": " ", "kind": "like" })] {
        let outcome = bench.try_run("remember_preference", &arguments.to_string()).await;
        assert!(matches!(outcome, Err(ToolError::BadArguments(_))));
    }
    let result = bench.run("forget_preference", json!({ "text": "brown shoes" })).await;
    assert_eq!(result, json!({ "forgotten": ["brown shoes"] }));
    assert!(worn().await.contains(&"brown".to_owned()));
}
