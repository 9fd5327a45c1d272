//! Embeddings without a model, by feature hashing of words and letter groups.
//!
//! Every word adds to one component of the vector, with a sign, both derived from a hash of the word; so do, with less
//! weight, its groups of three letters and the category of a garment. Texts that share words have similar vectors,
//! others nearly orthogonal ones. Words for clothes and colours weigh twice, and early words more than late ones,
//! because titles come before descriptions.

use crate::llm::EMBEDDING_DIMENSIONS;
use crate::model::vocabulary::{self, Category};

/// Most words of a text; titles, tags and a short description have fewer.
const MAX_WORDS: usize = 200;

/// Weights, tuned on realistic titles: similar ones score above 0.3, unrelated ones below 0.2.
const FASHION_WORD: f32 = 2.0;
const OTHER_WORD: f32 = 1.0;
const CATEGORY_SHARE: f32 = 0.5;
const LETTERS_SHARE: f32 = 0.5;
const FADING_WORDS: f32 = 12.0;

/// Returns a unit vector. The empty text also has one, orthogonal to most others.
pub fn embed(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0; EMBEDDING_DIMENSIONS];
    let mut seen: Vec<String> = Vec::new();
    for word in vocabulary::folded_words(text) {
        if seen.len() == MAX_WORDS {
            break;
        }
        if !vocabulary::is_stop_word(&word) && !seen.contains(&word) {
            add_word(&mut vector, &word, seen.len());
            seen.push(word);
        }
    }
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|number| *number /= length);
    } else {
        vector[0] = 1.0;
    }
    vector
}

fn add_word(vector: &mut [f32], word: &str, position: usize) {
    let category = Category::of_garment(word);
    let is_fashion = category.is_some() || vocabulary::colour(word).is_some();
    let importance = if is_fashion { FASHION_WORD } else { OTHER_WORD };
    let weight = importance / (1.0 + position as f32 / FADING_WORDS).sqrt();
    add(vector, "word", word, weight);
    if let Some(category) = category {
        add(vector, "category", category.name(), weight * CATEGORY_SHARE);
    }
    let framed: Vec<char> = std::iter::once('^').chain(word.chars()).chain(['$']).collect();
    let groups = framed.windows(3);
    // The total weight of a word's groups is independent of its length.
    let share = weight * LETTERS_SHARE / (groups.len() as f32).sqrt();
    for group in groups {
        add(vector, "letters", &group.iter().collect::<String>(), share);
    }
}

fn add(vector: &mut [f32], kind: &str, feature: &str, weight: f32) {
    let hash = hash(kind, feature);
    let place = (hash % EMBEDDING_DIMENSIONS as u64) as usize;
    let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
    vector[place] += sign * weight;
}

/// Hashes with FNV-1a and the finalizer of `MurmurHash3`. It must never change, because stored vectors must stay
/// comparable.
fn hash(kind: &str, feature: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in kind.bytes().chain([0]).chain(feature.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(one: &str, other: &str) -> f32 {
        embed(one).iter().zip(embed(other)).map(|(one, other)| one * other).sum()
    }

    const TITLES: [&str; 8] = [
        "streetwear urban casual [FIND] Carhartt WIP Detroit jacket in hamilton brown, thrifted for $40",
        "classic heritage footwear Morjas The Penny Loafer, brown suede, storm welted in Almansa. Review after two years of \
         wear: the sole holds up well, the lining is soft and the last is comfortable for wide feet",
        "minimalist clean neutral Uniqlo U crew neck t-shirt white, three years in, still the best basic tee",
        "sneakers streetwear footwear New Balance 990v6 grey, on feet pictures",
        "denim workwear casual 18 months raw denim jeans fade Iron Heart 634S selvedge",
        "formal romantic occasion Sage green satin midi dress for an outdoor wedding in June",
        "Arket merino wool roll-neck sweater in navy, slim fit",
        "black leather Chelsea boots with a chunky sole by Dr. Martens",
    ];

    #[test]
    fn similar_texts_are_close_and_others_are_not() {
        for (query, fitting) in [
            ("brown suede loafers", 1),
            ("white t-shirt", 2),
            ("grey New Balance sneakers", 3),
            ("raw denim jeans", 4),
            ("green dress for a wedding", 5),
            ("navy wool sweater", 6),
            ("black chelsea boots", 7),
            ("brown jacket", 0),
        ] {
            let cosines: Vec<f32> = TITLES.iter().map(|title| cosine(query, title)).collect();
            let best = (0..cosines.len()).max_by(|one, other| cosines[*one].total_cmp(&cosines[*other])).unwrap();
            assert_eq!(best, fitting, "{query}: {cosines:?}");
            assert!(cosines[fitting] >= 0.3, "{query}: {cosines:?}");
        }
    }

    #[test]
    fn unrelated_texts_are_far_apart() {
        for (query, title) in [
            ("red swim shorts", 6),
            ("silver necklace", 0),
            ("yellow raincoat", 4),
            ("straw hat", 3),
            ("quarterly tax return", 5),
        ] {
            let cosine = cosine(query, TITLES[title]);
            assert!(cosine < 0.2, "{query}: {cosine}");
        }
    }

    #[test]
    fn vectors_have_unit_length_and_never_change() {
        for text in ["", "   ", "navy blazer", "ЧЁРНОЕ пальто", "what should i wear"] {
            let vector = embed(text);
            let length: f32 = vector.iter().map(|number| number * number).sum();
            assert_eq!(vector.len(), EMBEDDING_DIMENSIONS);
            assert!((length - 1.0).abs() < 1e-5, "{text}");
            assert_eq!(vector, embed(text));
        }
        // New vectors are compared with stored ones.
        assert_eq!(hash("word", "navy"), 11_748_169_304_742_891_215);
    }
}
