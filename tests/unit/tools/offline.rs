//! Plans, and the offline stylist with the real tools.

use pluckit::domain::chat::tools::ToolError;
use pluckit::llm::offline::OfflineModel;
use pluckit::llm::{CallContext, ChatRequest, Message, Model, Purpose, Tools};
use pluckit::store::Container;
use serde_json::json;

use super::Bench;
use super::weather::WeatherService;

/// A turn of the offline stylist with the real tools: its answer and the tools it used.
async fn ask_offline(bench: &Bench, message: &str) -> (String, Vec<String>) {
    let tools: Tools = bench.tools().iter().map(|tool| tool.spec()).collect();
    let today = Message::System("Today is Tuesday, 2026-03-10.".to_owned());
    let mut messages = vec![today, Message::User(message.to_owned())];
    let mut used = Vec::new();
    loop {
        let request = ChatRequest {
            purpose: Purpose::Stylist,
            messages: messages.clone(),
            tools: tools.clone(),
            max_tokens: None,
        };
        let reply = OfflineModel::new().complete(&CallContext::service(), request).await.unwrap();
        if reply.tool_calls.is_empty() {
            return (reply.text, used);
        }
        messages.push(Message::Assistant { content: reply.text, tool_calls: reply.tool_calls.clone() });
        for call in reply.tool_calls {
            let content = bench.try_run(&call.name, &call.arguments).await.unwrap();
            messages.push(Message::Tool { call_id: call.id, content });
            used.push(call.name);
        }
    }
}

#[tokio::test]
async fn the_offline_stylist_understands_what_the_tools_return() {
    let service = WeatherService::sunny().await;
    let bench = Bench::with_weather(service.address);
    bench
        .profile(json!({ "locationCity": "Oslo", "stylePreferences": ["Classic"], "preferredColours": ["navy"] }))
        .await;
    for (id, category, brand, colour, tags) in [
        ("t", "Tops", "Arket", "White", json!(["shirt", "smart casual", "dinner"])),
        ("t2", "Tops", "Nike", "Grey", json!(["gym"])),
        ("b", "Bottoms", "Uniqlo", "Navy", json!(["chinos", "casual"])),
        ("s", "Shoes", "Morjas", "Brown", json!(["loafers", "dinner"])),
        ("o", "Outerwear", "Barbour", "Olive", json!(["jacket", "rain"])),
    ] {
        let fields = json!({
            "category": category, "brand": brand, "colours": [{ "name": colour }], "tags": tags, "wearCount": 6,
            "lastWornAt": "2026-03-08", "wearEvents": [{ "occurredAt": "2026-03-08", "occasion": "Dinner" }],
        });
        bench.own(id, fields).await;
    }
    let mood = json!({ "id": "m", "primaryMood": "Coastal", "name": "Salt Air", "trendScore": 3, "moodSignals": { "keyPieces": ["linen shirt"] } });
    bench.save(Container::Moods, "Coastal", mood).await;
    let vector =
        bench.model.embed(&CallContext::service(), &["Brown suede loafers".to_owned()]).await.unwrap().remove(0);
    let item = json!({ "id": "i", "userId": "global", "title": "Brown suede loafers", "embedding": vector, "tags": ["classic"] });
    bench.save(Container::ScrapedItems, "global", item).await;

    for (message, tools, parts) in [
        (
            "What should I wear to a casual dinner?",
            &["plan_outfits"][..],
            &["white Arket shirt", "navy Uniqlo chinos", "olive Barbour jacket"][..],
        ),
        ("What should I wear today?", &["plan_outfits"], &["olive Barbour jacket", "Oslo", "light snow"]),
        ("What do I own?", &["get_wardrobe_summary"], &["You own 5 pieces", "2 tops"]),
        ("Will it be cold tomorrow?", &["get_weather"], &["Tomorrow in Oslo", "overcast, -1 \u{b0}C to 4 \u{b0}C"]),
        ("What is missing?", &["analyze_wardrobe_gaps"], &["classic", "bottoms: 1 of 4", "navy cap"]),
        ("What is trending?", &["get_trending_moods"], &["Salt Air (coastal): think linen shirt"]),
        ("What do I wear most?", &["search_wardrobe"], &["worn 6 times"]),
        ("When did I last wear the loafers?", &["search_wardrobe", "get_wear_history"], &["8 March", "dinner"]),
        ("Where can I buy brown loafers?", &["search_scraped_items"], &["Brown suede loafers"]),
        ("Show me my profile", &["get_user_profile"], &["styles are Classic", "colours are navy", "city is Oslo"]),
    ] {
        let (text, used) = ask_offline(&bench, message).await;
        assert_eq!(used[..tools.len()], *tools, "{message}");
        for part in parts {
            assert!(text.contains(part), "{message}: {part:?} is not in {text:?}");
        }
    }
}

#[tokio::test]
async fn a_plan_is_for_days_and_has_a_packing_list() {
    let bench = Bench::new();
    let empty = bench.run("plan_outfits", json!({})).await;
    assert_eq!(empty["note"], "The wardrobe is empty.");
    for (number, colour) in ["navy", "grey", "white"].into_iter().enumerate() {
        for (category, tags) in [
            ("Tops", json!(["shirt", "casual"])),
            ("Trousers", json!(["casual"])),
            ("Shoes", json!(["boots", "casual"])),
            ("Outerwear", json!(["coat", "winter"])),
            ("Knitwear", json!(["sweater"])),
        ] {
            let fields = json!({ "category": category, "colours": [{ "name": colour }], "tags": tags });
            bench.own(&format!("{category}-{number}"), fields).await;
        }
    }
    let plan = bench.run("plan_outfits", json!({ "days": 4, "place": "Oslo", "include": ["purple hat"] })).await;
    assert_eq!(plan["note"], "Not in the wardrobe: purple hat.");
    let outfits = plan["outfits"].as_array().unwrap();
    assert_eq!((outfits.len(), &outfits[3]["date"]), (4, &json!("2026-03-13")));
    assert!(outfits[0]["weather"].as_str().unwrap().starts_with("no forecast: spring"), "{}", outfits[0]["weather"]);
    let pieces = |day: usize| -> Vec<&str> {
        outfits[day]["pieces"].as_array().unwrap().iter().map(|piece| piece["id"].as_str().unwrap()).collect()
    };
    for day in 1..4 {
        assert!(pieces(day).iter().all(|id| !pieces(day - 1).contains(id)), "{:?} {:?}", pieces(day - 1), pieces(day));
    }
    assert_eq!(plan["packing"][0]["kind"], "top");
    let few = json!({ "days": 4, "place": "Oslo", "most_pieces": 7 });
    let few = bench.run("plan_outfits", few).await;
    let packed = few["packing"].as_array().unwrap().iter().map(|packed| packed["count"].as_u64().unwrap());
    assert!((5..=7).contains(&packed.sum::<u64>()), "{}", few["packing"]);
    let warm = bench.run("plan_outfits", json!({ "celsius": 16, "warmer": true })).await;
    assert_eq!(warm["outfits"][0]["weather"], "16 \u{b0}C");
    assert!(warm["outfits"][0]["pieces"].to_string().contains("Knitwear"), "{warm}");
    let bali = bench.run("plan_outfits", json!({ "from": "2026-08-01", "place": "Bali" })).await;
    assert!(bali["outfits"][0]["weather"].as_str().unwrap().starts_with("no forecast: August"), "{bali}");
    for arguments in [json!({ "days": 0 }), json!({ "days": 15 }), json!({ "from": "x" })] {
        let outcome = bench.try_run("plan_outfits", &arguments.to_string()).await;
        assert!(matches!(outcome, Err(ToolError::BadArguments(_))), "{arguments}");
    }
}
