//! What the built-in stylist knows without a tool: small talk, what it cannot do, how to look after clothes, and which
//! colours go together.

use super::turn::Turn;
use super::understand::Ask;
use crate::model::garment::{Description, is_plural};
use crate::model::thesaurus::TermId;

/// What it says of itself.
const SELF: &str = "I'm PluckIt's built-in model, which understands English and knows your wardrobe";

/// Answers to what needs no tool.
pub fn small_talk(turn: &Turn<'_>, ask: Ask) -> String {
    let text = match ask {
        "thanks" => turn.pick(&[
            "You're welcome! I'm here whenever you want to get dressed.",
            "My pleasure. Enjoy wearing it!",
            "Any time. You're welcome!",
        ]),
        "bye" => turn.pick(&["See you soon, and enjoy your clothes!", "Bye! Come back when you need an outfit."]),
        "greet" => turn.pick(&["Hello! I'm your stylist, and I know your wardrobe.", "Hi! Good to see you."]),
        "howareyou" => "Very well, thank you, and ready to dress you. What's the occasion?",
        "who" => {
            return format!(
                "{SELF}: rules and a thesaurus of fashion rather than a large language model. Ask me what to wear, what goes \
                 with what, what you wore when, or what to pack."
            );
        }
        "help" => {
            return format!(
                "I put outfits together from your clothes, find pieces, tell what you wore when and what it cost, pack for trips, \
                 check the weather, spot gaps and trends, and remember what you like. {SELF}."
            );
        }
        "injection" => "I'll stay your stylist and keep to clothes. Ask me what to wear, or about what you own.",
        "cannot" => return cannot(turn),
        _ => return lost(turn),
    };
    text.to_owned()
}

/// Something that it cannot do, in one sentence.
fn cannot(turn: &Turn<'_>) -> String {
    let asked = &turn.asked;
    let what = if asked.says(&["add", "upload", "put", "bought", "got", "save"]) {
        "add pieces to your wardrobe; add it in the app with a photo, and I'll style it"
    } else if asked.says(&["delete", "remove", "throw", "sold", "donated"]) {
        "remove pieces; you can do that in the app"
    } else if asked.says(&["log", "record", "mark", "wore"]) {
        "log what you wear; do that in the app, and I'll take it into account"
    } else if asked.says(&["edit", "change", "update", "rename"]) {
        "change your pieces or your profile; you can do that in the app"
    } else if asked.says(&["buy", "order", "book", "purchase", "sell"]) {
        "buy, sell or order things; I can show you what's in the feeds"
    } else if asked.says(&["picture", "photo", "image", "selfie", "photos", "pictures", "try", "generate", "draw"]) {
        "see or show pictures; describe it in words, and I'll help"
    } else if asked.says(&["remind", "alarm", "reminder"]) {
        "set reminders"
    } else if asked.says(&["send", "email", "text", "call", "message", "share", "post"]) {
        "send anything to anybody"
    } else {
        "do that"
    };
    format!("I can't {what}. {SELF}.")
}

/// What it says when it does not understand.
pub fn lost(turn: &Turn<'_>) -> String {
    let start = if turn.asked.words.len() > 2 {
        turn.pick(&["That's beyond me, sorry.", "I can't help with that one.", "I didn't get that, sorry."])
    } else {
        "I'm not sure what you mean."
    };
    format!("{start} {SELF}: ask me what to wear, what goes with a piece, what you own or wore, or what to pack.")
}

/// Stains, and what helps.
const STAINS: [(&[&str], &str); 11] = [
    (
        &["wine"],
        "Blot it at once, don't rub; cover it with salt or soda water, then soak it in cold water with a little vinegar and detergent before you wash it",
    ),
    (
        &["coffee", "tea"],
        "Rinse it from the back with cold water, work in a little detergent, and wash it; no heat before it's gone",
    ),
    (
        &["oil", "grease", "butter", "curry", "sauce", "mayo"],
        "Cover it with talc or cornflour for half an hour, brush that off, and treat it with washing-up liquid before you wash it as warm as the label allows",
    ),
    (&["blood"], "Rinse it in cold water only, with a little salt or soap, and never with heat"),
    (&["ink", "pen"], "Dab it with rubbing alcohol on a cloth, from the outside in, and keep paper under it"),
    (&["grass"], "Dab it with alcohol or vinegar, then wash it with an enzyme detergent"),
    (
        &["makeup", "lipstick", "foundation"],
        "Dab it with micellar water or washing-up liquid and rinse it with cold water",
    ),
    (
        &["sweat", "deodorant", "yellowing"],
        "Soak it for half an hour in water with baking soda or a little white vinegar, and air-dry it",
    ),
    (&["mud"], "Let it dry, brush it off, and treat the rest with detergent"),
    (
        &["ketchup", "tomato", "chocolate"],
        "Scrape it off, rinse it from the back with cold water, and soak it with enzyme detergent",
    ),
    (
        &["stain", "stains", "stained", "spilled", "spilt", "spill"],
        "Blot it at once, don't rub; rinse it with cold water, work in a little detergent, and keep heat away until it's gone",
    ),
];

/// Other care, by what the message is about.
const CARE: [(&[&str], &str); 12] = [
    (
        &["moth", "moths"],
        "Put it in a bag in the freezer for three days, wash or brush it, and store it clean with cedar or lavender",
    ),
    (
        &["pilling", "bobbles", "pills"],
        "Lay it flat and use a fabric shaver or a wool comb, gently; wash it inside out next time",
    ),
    (
        &["shrank", "shrunk", "shrink"],
        "Soak it in lukewarm water with hair conditioner for half an hour, press it out and stretch it back flat; it may not come back fully",
    ),
    (
        &["suede", "nubuck"],
        "Brush suede dry with a suede brush, use a suede eraser on marks, and spray it against water; no water and no cream",
    ),
    (&["leather"], "Wipe leather with a damp cloth, let it dry away from heat, and feed it with balm twice a year"),
    (
        &["wool", "cashmere", "merino", "lambswool", "mohair", "sweater", "cardigan", "knitwear", "jumper"],
        "Wash wool by hand or on the wool programme in cold water, press it out without wringing, and dry it flat",
    ),
    (
        &["silk", "satin"],
        "Wash silk by hand in cold water with mild soap if the label allows it, roll it in a towel, and iron it inside out on low",
    ),
    (&["jeans", "denim"], "Wash denim rarely, cold and inside out, and let it air-dry"),
    (&["down", "puffer"], "Wash down on gentle with mild detergent and tumble it low with two tennis balls"),
    (
        &["hole", "ripped", "torn", "tear", "zip", "zipper", "button", "broken"],
        "Mend it soon, before it grows: a tailor or a repair café does it for little, and for knits a darning needle and matching yarn will do",
    ),
    (
        &["iron", "creased", "creases", "wrinkles", "wrinkled", "steam", "linen"],
        "Steam it or iron it while it's slightly damp, inside out, at the heat the label allows",
    ),
    (&["store", "storing"], "Store it clean and dry, knits folded and coats on broad hangers, with room to breathe"),
];

/// Whether a message is about something that went wrong, which no care label helps with.
pub fn is_trouble(words: &[String]) -> bool {
    let trouble = [
        "moth", "moths", "pilling", "bobbles", "pills", "shrank", "shrunk", "hole", "ripped", "torn", "tear", "zip",
        "zipper", "button",
    ];
    STAINS.iter().any(|(names, _)| says(words, names)) || says(words, &trouble)
}

/// How to treat what a message is about.
pub fn care(words: &[String]) -> String {
    let found = STAINS.iter().chain(&CARE).find(|(names, _)| says(words, names)).map(|(_, text)| *text);
    let text =
        found.unwrap_or("Follow the care label; when in doubt wash it cold, inside out and gently, and let it air-dry");
    format!("{text}.")
}

fn says(words: &[String], names: &[&str]) -> bool {
    words.iter().any(|word| names.contains(&word.as_str()))
}

/// Whether two things go together, by their colours.
pub fn together(one: &Description, other: &Description, first: &str, second: &str) -> String {
    let (mine, theirs) = (one.colours.first(), other.colours.first());
    let go = if is_plural(first) { "go" } else { "goes" };
    let is_neutral = |colour: &TermId| colour.term().facts.neutral;
    match (mine, theirs) {
        (Some(mine), Some(theirs)) if is_neutral(mine) || is_neutral(theirs) => {
            let neutral = if is_neutral(mine) { mine } else { theirs };
            format!(
                "Yes, {first} {go} well with {second}: {} is neutral and gets along with nearly everything.",
                neutral.name()
            )
        }
        (Some(mine), Some(theirs)) if mine.with_broader().any(|broad| theirs.is_a(broad)) => {
            format!("Yes, {first} {go} with {second}, tone on tone; keep some contrast between the shades.")
        }
        (Some(mine), Some(theirs)) => format!(
            "It's bold: {} and {} compete. Keep everything else neutral, or swap one of them for navy, grey or white.",
            mine.name(),
            theirs.name()
        ),
        _ => format!(
            "Yes, {first} {go} with {second}, as long as the rest stays simple and one of them is in a quiet colour."
        ),
    }
}

/// What a kind of garment goes with, as a rule.
pub fn goes_with(garment: TermId, colours: &[TermId]) -> String {
    let with = match garment.group().name() {
        "shoes" => "straight trousers or jeans in a quiet colour and a simple top",
        "outerwear" => "a plain shirt or fine knit, straight trousers and clean shoes",
        "bottoms" => "a plain top that is closer to the body, and shoes as formal as the cloth",
        "dress" => "plain shoes and one layer over it",
        "accessories" => "plain clothes that let it stand out",
        _ => "straight trousers or a plain skirt, and simple shoes",
    };
    let loud = colours.iter().any(|colour| !colour.term().facts.neutral);
    let neutral = if loud { ", all of it in neutral colours" } else { "" };
    let name = garment.name();
    let (name, go) = if is_plural(name) { (name.to_owned(), "go") } else { (format!("a {name}"), "goes") };
    format!("{name} {go} with {with}{neutral}")
}
