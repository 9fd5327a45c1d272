//! The service's own kinds of long operation.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Fault, Finished, Kind, Link, Report, Run};
use crate::data::Data;
use crate::domain::digest::{self, Digests, Outcome, Reason, Trigger};
use crate::model::digest::Digest;
use crate::telemetry::observe::Observer;

/// A digest for the user who asks.
pub const DIGEST: &str = "digest.run";

/// What the kinds work with.
#[derive(Clone)]
pub struct Services {
    /// The documents.
    pub data: Data,
    /// Purchase ideas.
    pub digests: Digests,
    /// Who watches the model at work.
    pub observer: Observer,
}

/// Every kind.
pub fn all(services: &Services) -> Vec<Kind> {
    let digests = services.clone();
    vec![Kind::new(DIGEST, false, move |run, input| make_digest(digests.clone(), run, input))]
}

/// What a digest is asked for with.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct DigestInput {
    /// Whether it is made although nothing has changed, or the user does not want any.
    #[serde(default)]
    pub force: bool,
}

/// What came of it: a digest, or the reason why there is none.
#[derive(Serialize, Deserialize)]
enum Made {
    Digest(Box<Digest>),
    Nothing(String),
}

async fn make_digest(services: Services, run: Run, input: DigestInput) -> Result<Finished, Fault> {
    run.progress(0, 1, "Looking through the wardrobe").await?;
    let step = async {
        let observed = services.observer.begin(&digest::subject(run.user(), None));
        let trigger = Trigger { force: input.force, week: None };
        let outcome = observed.scope(services.digests.run(run.user(), trigger)).await.map_err(digest_fault)?;
        let made = match outcome {
            Outcome::Generated(digest) => Made::Digest(digest),
            Outcome::Skipped(reason) => match services.data.digests.latest(run.user()).await? {
                // Made by a worker of this job that died before it could say so.
                Some(digest) if reason == Reason::Unchanged && digest.generated_at >= run.asked_at() => {
                    Made::Digest(Box::new(digest))
                }
                Some(_) | None => Made::Nothing(reason.text().to_owned()),
            },
        };
        if let Made::Digest(digest) = &made {
            run.write_output("digest.md", digest::markdown(digest)).await?;
        }
        Ok(made)
    };
    match run.step("digest", Box::pin(step)).await? {
        Made::Digest(digest) => {
            run.progress(1, 1, "There are new ideas").await?;
            let ideas = digest.suggestions.iter();
            let report = Report {
                title: "Ideas for your wardrobe".to_owned(),
                summary: digest::facts(&digest),
                counts: vec![
                    ("ideas", digest.suggestions.len() as u64),
                    ("pieces in the wardrobe", digest.total_items),
                    ("of them worn", digest.items_with_wear_history),
                ],
                troubles: Vec::new(),
                links: [Link { text: "The digest".to_owned(), url: run.output_url("digest.md") }]
                    .into_iter()
                    .chain(ideas.map(|idea| Link { text: idea.item.clone(), url: String::new() }))
                    .collect(),
            };
            Ok(Finished { result: json!({ "status": "ok", "digest": shown(&digest) }), report })
        }
        Made::Nothing(reason) => {
            run.progress(1, 1, "There was nothing to do").await?;
            let report = Report {
                title: "No new ideas".to_owned(),
                summary: format!("No digest was made: {reason}."),
                ..Report::default()
            };
            Ok(Finished { result: json!({ "status": "skipped", "reason": reason }), report })
        }
    }
}

/// A digest as the route shows it.
fn shown(digest: &Digest) -> Value {
    json!({
        "id": digest.id,
        "userId": digest.user_id,
        "generatedAt": digest.generated_at,
        "wardrobeHash": digest.wardrobe_hash,
        "suggestions": digest.suggestions,
        "stylesConsidered": digest.styles_considered,
        "totalItems": digest.total_items,
        "itemsWithWearHistory": digest.items_with_wear_history,
        "climateZone": digest.climate_zone,
    })
}

fn digest_fault(error: digest::Error) -> Fault {
    let message = match &error {
        digest::Error::Model(_) => "The model could not be asked for ideas.",
        digest::Error::Nonsense(_) => "The model's answer was no digest.",
        digest::Error::Elsewhere
        | digest::Error::LeaseLost
        | digest::Error::Data(_)
        | digest::Error::Queue(_)
        | digest::Error::Unwritable(_) => "The digest could not be made.",
    };
    Fault::retry(message, error)
}
