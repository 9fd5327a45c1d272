//! Recommended outfits: the drafts in the prompt, unchanged.

use serde_json::{Value, json};

use super::digest::data;

/// Returns the outfits as a JSON list.
pub fn recommend(prompt: &str) -> String {
    let mut told: Value = data(prompt).and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
    let drafts = told["drafts"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let outfits = drafts.into_iter().filter(Value::is_object).enumerate().map(|(place, mut draft)| {
        draft["id"] = json!(format!("outfit-{}", place + 1));
        draft
    });
    Value::Array(outfits.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_become_outfits() {
        let told = json!({ "wish": {}, "drafts": [{ "title": "Tee", "clothingItemIds": ["tee"] }], "items": [] });
        let answer = recommend(&format!("Before\n<wardrobe_data>\n{told}\n</wardrobe_data>\nafter"));
        let expected = json!([{ "id": "outfit-1", "title": "Tee", "clothingItemIds": ["tee"] }]);
        assert_eq!(serde_json::from_str::<Value>(&answer).unwrap(), expected);
        assert_eq!(recommend("nothing"), "[]");
    }
}
