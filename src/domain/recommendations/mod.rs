//! Outfits on request: the model composes them from the user's newest items.
//!
//! The prompt contains drafts made by the rules of [`outfit`], as a sound basis for a model and as answers for the
//! built-in one.

mod prompt;

use std::collections::BTreeSet;

use time::OffsetDateTime;

pub use self::prompt::Recommendation;
use self::prompt::{Draft, Wish};
use crate::base::text::capitalised;
use crate::data::wardrobe::{ItemOrder, ItemsQuery};
use crate::data::{self, Data};
use crate::domain::climate;
use crate::domain::outfit::{self, Choice, Outfit, Piece, Situation, Taste};
use crate::llm::{self, CallContext, Model};
use crate::model::garment::Description;
use crate::model::ids::UserId;
use crate::model::wardrobe::WardrobeItem;
use crate::store::Direction;
use crate::telemetry::observe::Subject;

/// Drafts in a prompt.
const DRAFTS: usize = 3;
/// Default occasion.
const EVERYDAY: &str = "casual";

/// What a user asks for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The style, in the user's words.
    pub style_prompt: Option<String>,
    /// Occasion.
    pub occasion: Option<String>,
    /// Colours that the user wants.
    pub preferred_colours: Vec<String>,
    /// Colours that the user does not want.
    pub excluded_colours: Vec<String>,
    /// Category of the items to choose from, in any case.
    pub category: Option<String>,
    /// Fewest and most wears of the items to choose from.
    pub wears: (Option<i64>, Option<i64>),
    /// Number of newest items to choose from.
    pub most_items: usize,
}

/// Why there are no recommendations.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No item is left to choose from.
    #[error("there is no item to choose from")]
    NoItems,
    /// The model failed.
    #[error("the model failed")]
    Model(#[from] llm::Error),
    /// The model's answer is not a list of outfits of these items.
    #[error("the model's answer cannot be read: {0}")]
    Nonsense(&'static str),
    /// The documents failed.
    #[error("a document could not be read")]
    Data(#[from] data::Error),
    /// The prompt cannot be serialized; a bug.
    #[error("the prompt cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

/// Describes recommendations of a user for an observer.
pub fn subject<'a>(user: &'a UserId, trace_id: Option<&'a str>) -> Subject<'a> {
    Subject { name: "recommendations", trace_id, user: Some(user.as_str()), session: None, input: "" }
}

/// Recommends outfits from the user's newest items. The payer of `context` pays for the model.
///
/// # Errors
/// See [`Error`].
pub async fn recommend(
    data: &Data,
    model: &dyn Model,
    context: &CallContext,
    user: &UserId,
    request: &Request,
    now: OffsetDateTime,
) -> Result<Vec<Recommendation>, Error> {
    let newest = ItemsQuery {
        category: request.category.clone(),
        brand: None,
        condition: None,
        tags: Vec::new(),
        aesthetic_tags: Vec::new(),
        price: (None, None),
        wears: request.wears,
        with_wishes: false,
        order: ItemOrder::DateAdded,
        direction: Direction::Descending,
        after: None,
        limit: request.most_items,
    };
    let ((items, _), profile, memory) =
        tokio::try_join!(data.wardrobe.page(user, &newest), data.profiles.find(user), data.conversations.find(user),)?;
    if items.is_empty() {
        return Err(Error::NoItems);
    }
    let mut taste = Taste::of(profile.as_ref(), memory.as_ref());
    taste.colours.extend(request.preferred_colours.iter().map(|colour| colour.to_lowercase()));
    taste.dislikes.extend(request.excluded_colours.iter().map(|colour| Description::of(colour)));
    let place = profile.as_ref().and_then(|profile| profile.location_city.as_deref());
    let zone = profile.as_ref().and_then(|profile| profile.climate_zone.as_deref());
    let celsius = climate::usual_temperature(now.month(), place, zone);
    let asked: Vec<&str> =
        [&request.occasion, &request.style_prompt].into_iter().filter_map(|text| text.as_deref()).collect();
    let asked = if asked.is_empty() { EVERYDAY.to_owned() } else { asked.join(" ") };
    let situation = Situation::new(&asked, celsius, false, now.month().to_string());
    let drafts = drafts(&items, &situation, &taste, now);
    let wish = Wish {
        style_prompt: request.style_prompt.as_deref(),
        occasion: request.occasion.as_deref(),
        preferred_colours: &request.preferred_colours,
        excluded_colours: &request.excluded_colours,
        month: now.month().to_string(),
    };
    let reply = model.complete(context, prompt::request(&wish, &items, &drafts)?).await?;
    prompt::read(&reply.text, &items).map_err(Error::Nonsense)
}

/// Composes outfits by the rules, each repeating as few pieces of earlier ones as possible.
fn drafts(items: &[WardrobeItem], situation: &Situation, taste: &Taste, now: OffsetDateTime) -> Vec<Draft> {
    let pieces: Vec<Piece> = items.iter().map(|item| Piece::new(item, now)).collect();
    let (mut drafts, mut seen, mut spared) = (Vec::new(), BTreeSet::new(), Vec::new());
    for _ in 0..DRAFTS {
        let outfit = outfit::compose(&pieces, situation, taste, Choice { spared: &spared, ..Choice::default() });
        let places: BTreeSet<usize> = outfit.pieces().collect();
        if places.is_empty() || !seen.insert(places) {
            break;
        }
        spared.extend(outfit.pieces());
        drafts.push(draft(&outfit, &pieces));
    }
    // If the pieces make no outfit, start with the newest.
    if drafts.is_empty()
        && let Some(piece) = pieces.iter().find(|piece| !taste.rejects(&piece.garment))
    {
        let description = "There is little to go with it yet: start with this piece.".to_owned();
        drafts.push(Draft { title: capitalised(&piece.garment.name), description, items: vec![piece.id.clone()] });
    }
    drafts
}

/// An outfit in words.
fn draft(outfit: &Outfit, pieces: &[Piece]) -> Draft {
    let names: Vec<&str> = outfit.worn.iter().map(|worn| pieces[worn.piece].garment.name.as_str()).collect();
    let title = match names[..] {
        [first, second, ..] => format!("{first} with {second}"),
        [only] => only.to_owned(),
        [] => String::new(),
    };
    let reasons = outfit.worn.iter().map(|worn| {
        let name = &pieces[worn.piece].garment.name;
        if worn.why.is_empty() { name.clone() } else { format!("{name} ({})", worn.why) }
    });
    let description = format!("{}.", capitalised(&reasons.collect::<Vec<_>>().join(", ")));
    let items = outfit.worn.iter().map(|worn| pieces[worn.piece].id.clone()).collect();
    Draft { title: capitalised(&title), description, items }
}
