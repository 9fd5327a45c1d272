//! Digests: purchase ideas for a wardrobe, on demand or weekly.
//!
//! A digest is about one set of owned items; without a change no new one is created, except on demand. In the weekly
//! run (`weekly`) each user gets at most one: a document per user holds the lease, and receives the digest together
//! with the outcome in one write. From there the digest is copied to the other digests and recorded in the profile, by
//! a later attempt if necessary. Work of a dead process is taken over when its lease expires.

mod prompt;
mod score;
mod weekly;

use std::fmt::Write;
use std::sync::Arc;

use tracing::warn;

use self::prompt::Person;
use self::score::Summary;
pub use self::weekly::{Counts, Starter};
use crate::base::chain::Chain;
use crate::base::text::{cut, cut_each, escape_markdown};
use crate::data;
use crate::data::digests::Digests as Store;
use crate::data::lease::{self, Claimed, Decision, Held, Leased, Standing};
use crate::data::profiles::DigestNote;
use crate::data::update::Edit;
use crate::domain::base::Base;
use crate::domain::climate;
use crate::llm::{self, CallContext};
use crate::model::conversation::PreferenceKind;
use crate::model::digest::{Digest, Week, WeeklyOutcome, WeeklyRun};
use crate::model::garment::{Description, Garment};
use crate::model::ids::UserId;
use crate::model::lease::Lease;
use crate::model::profile::UserProfile;
use crate::model::timestamp::Timestamp;
use crate::queue;
use crate::telemetry::observe::{Observation, Subject};

/// Most styles, and most colours, of the profile that are considered, favourite first.
const MOST_WORDS: usize = 10;
const LONGEST_WORD: usize = 60;

/// What triggers a digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trigger {
    /// Whether to create one even if nothing changed or the user opted out.
    pub force: bool,
    /// The week, for the weekly run; `None` on demand.
    pub week: Option<Week>,
}

/// Outcome of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A new digest was created.
    Generated(Box<Digest>),
    /// No digest was needed.
    Skipped(Reason),
}

/// Why no digest was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The user opted out.
    OptedOut,
    /// The user owns nothing.
    NoItems,
    /// The latest digest is about the same items.
    Unchanged,
    /// The week is done already.
    WeekDone,
}

impl Reason {
    /// Returns the reason for callers.
    pub const fn text(self) -> &'static str {
        match self {
            Self::OptedOut => "opted out",
            Self::NoItems => "no wardrobe items",
            Self::Unchanged => "wardrobe unchanged",
            Self::WeekDone => "already created this week",
        }
    }
}

/// Why a digest could not be created.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another worker holds the user's week.
    #[error("another worker is creating the digest")]
    HeldElsewhere,
    /// Another worker took over the user's week.
    #[error("the lease was lost")]
    LeaseLost,
    /// The model failed.
    #[error("the model failed")]
    Model(#[from] llm::Error),
    /// The model's answer was unusable.
    #[error("the model's answer is not a digest: {0}")]
    Nonsense(&'static str),
    /// The store failed.
    #[error("a document could not be read or written")]
    Data(#[from] data::Error),
    /// The queue failed.
    #[error("a message could not be queued")]
    Queue(#[from] queue::Error),
    /// A record cannot be serialized; a bug.
    #[error("a record cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

impl From<lease::Error> for Error {
    fn from(error: lease::Error) -> Self {
        match error {
            lease::Error::Lost => Self::LeaseLost,
            lease::Error::Data(error) => Self::Data(error),
        }
    }
}

/// Creates digests. Cheap to clone.
#[derive(Clone)]
pub struct Digests(Arc<Base>);

impl Digests {
    /// Creates the service.
    pub fn new(base: Arc<Base>) -> Self {
        Self(base)
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now().into()
    }

    /// Creates a digest for a user, if there is a reason to. On demand, a user without a profile gets one; the weekly
    /// run creates none, since a missing profile means that the user is gone. The user pays for the model, and
    /// `observation` traces the call.
    ///
    /// # Errors
    /// See [`Error`]. Running it again continues.
    pub async fn run(&self, user: &UserId, trigger: Trigger, observation: Observation) -> Result<Outcome, Error> {
        let context = CallContext::user(user).observed_by(observation);
        let Trigger { force, week } = trigger;
        if let Some(week) = week
            && let Some(run) = self.0.data.digests.weekly_run(user).await?
        {
            if run.is_settled(week) {
                self.finish(&run).await?;
                return Ok(Outcome::Skipped(Reason::WeekDone));
            }
            if run.lease.is_live(self.now(), WeeklyRun::LONGEST) {
                return Err(Error::HeldElsewhere);
            }
        }
        let profile = self.0.data.profiles.find(user).await?;
        match &profile {
            // Record nothing about users who are gone.
            None if week.is_some() => return Ok(Outcome::Skipped(Reason::NoItems)),
            Some(profile) if !profile.recommendation_opt_in && !force => {
                return self.skip(user, week, Reason::OptedOut).await;
            }
            Some(_) | None => {}
        }
        let wardrobe = Summary::read(&self.0.data, user, self.0.clock.now()).await?;
        if wardrobe.total_items == 0 {
            return self.skip(user, week, Reason::NoItems).await;
        }
        let previous_hash = profile.as_ref().and_then(|profile| profile.wardrobe_hash_at_last_digest.clone());
        let previous_hash = previous_hash.filter(|hash| !hash.is_empty());
        if !force && previous_hash.as_ref() == Some(&wardrobe.hash) {
            return self.skip(user, week, Reason::Unchanged).await;
        }
        let digest = match week {
            None => {
                let digest = self.write(&context, user, profile.as_ref(), &wardrobe).await?;
                self.0.data.digests.save(&digest).await?;
                self.0.data.profiles.note_digest(user, &note(&digest, previous_hash, true)).await?;
                digest
            }
            Some(week) => match self.claim(user, week).await? {
                Claimed::Ours(held) => {
                    let writing = self.write(&context, user, profile.as_ref(), &wardrobe);
                    let written = held.keep(writing).await.unwrap_or(Err(Error::LeaseLost));
                    let settled = match written {
                        Ok(digest) => self.settle(&held, week, digest, previous_hash).await,
                        Err(error) => Err(error),
                    };
                    if settled.is_err() {
                        self.fail(&held, week).await;
                    }
                    settled?
                }
                Claimed::Left(Some(reason)) => return Ok(Outcome::Skipped(reason)),
                Claimed::Left(None) => return Err(Error::HeldElsewhere),
            },
        };
        Ok(Outcome::Generated(Box::new(digest)))
    }

    /// Returns the latest digest if it was created since `moment`, and updates the profile if that is missing.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn made_since(&self, user: &UserId, moment: Timestamp) -> Result<Option<Digest>, Error> {
        let digest = self.0.data.digests.latest(user).await?.filter(|digest| digest.generated_at >= moment);
        if let Some(digest) = &digest {
            let profile = self.0.data.profiles.find(user).await?;
            let heard_of = profile.and_then(|profile| profile.wardrobe_hash_at_last_digest);
            let heard_of = heard_of.filter(|hash| !hash.is_empty());
            if heard_of.as_ref() != Some(&digest.wardrobe_hash) {
                self.0.data.profiles.note_digest(user, &note(digest, heard_of, true)).await?;
            }
        }
        Ok(digest)
    }

    /// Asks the model for ideas.
    async fn write(
        &self,
        context: &CallContext,
        user: &UserId,
        profile: Option<&UserProfile>,
        wardrobe: &Summary,
    ) -> Result<Digest, Error> {
        let few = |texts: &[String]| cut_each(texts, LONGEST_WORD, MOST_WORDS);
        let climate_zone = match profile.and_then(|profile| known(profile.climate_zone.as_deref())) {
            Some(zone) => Some(cut(zone, LONGEST_WORD)),
            None => {
                let city = profile.and_then(|profile| known(profile.location_city.as_deref()));
                climate::infer(city, &wardrobe.weather).map(str::to_owned)
            }
        };
        let (thumbs, memory) = tokio::try_join!(
            self.0.data.digest_feedback.newest(user, prompt::RECENT_FEEDBACK),
            self.0.data.conversations.find(user),
        )?;
        let said = |kind| -> Vec<String> {
            let preferences = memory.iter().flat_map(|memory| &memory.preferences);
            preferences.filter(|preference| preference.kind == kind).map(|preference| preference.text.clone()).collect()
        };
        let person = Person {
            likes: said(PreferenceKind::Like),
            dislikes: said(PreferenceKind::Dislike),
            styles: profile.map(|profile| few(&profile.style_preferences)).unwrap_or_default(),
            preferred_colours: profile.map(|profile| few(&profile.preferred_colours)).unwrap_or_default(),
            climate_zone,
        };
        let request = prompt::request(wardrobe, &person, &thumbs)?;
        let reply = self.0.model.complete(context, request).await?;
        let mut suggestions = prompt::read(&reply.text).map_err(Error::Nonsense)?;
        // Enforce dislikes even if the model ignores them.
        let disliked: Vec<Description> = person.dislikes.iter().map(|text| Description::of(text)).collect();
        suggestions.retain(|idea| {
            let piece = Garment::described(&idea.item);
            !disliked.iter().any(|dislike| dislike.fits(&piece))
        });
        if suggestions.is_empty() {
            return Err(Error::Nonsense("every idea is something that the user dislikes"));
        }
        Ok(Digest {
            id: Store::id(user, &wardrobe.hash),
            user_id: user.clone(),
            generated_at: self.now(),
            wardrobe_hash: wardrobe.hash.clone(),
            style_confidence: score::style_confidence(&suggestions, &wardrobe.categories),
            suggestions,
            styles_considered: person.styles,
            total_items: wardrobe.total_items,
            items_with_wear_history: wardrobe.worn_items,
            climate_zone: person.climate_zone,
            other: serde_json::Map::new(),
        })
    }

    /// Claims a user's week; otherwise returns why there is nothing to do, or that another worker holds it.
    async fn claim(&self, user: &UserId, week: Week) -> Result<Claimed<WeeklyRun, Option<Reason>>, Error> {
        let leases = self.0.data.leases(&self.0.clock, self.0.config.digest.lease);
        let claimed = leases.claim(Store::run_key(user), |found: Option<WeeklyRun>, standing| match standing {
            _ if found.is_some_and(|run| run.is_settled(week)) => Decision::Leave(Some(Reason::WeekDone)),
            Standing::Held(_) => Decision::Leave(None),
            Standing::Free => Decision::Take(weekly_run(user, week, WeeklyOutcome::Running, self.now())),
        });
        Ok(claimed.await?)
    }

    /// Records the digest and completes the user's week in one write, then finishes it.
    async fn settle(
        &self,
        held: &Held<WeeklyRun>,
        week: Week,
        digest: Digest,
        previous_hash: Option<String>,
    ) -> Result<Digest, Error> {
        let settled = WeeklyRun {
            digest_id: Some(digest.id.clone()),
            digest: Some(Box::new(digest.clone())),
            previous_hash,
            ..weekly_run(&digest.user_id, week, WeeklyOutcome::Generated, self.now())
        };
        let settled = held.finish(|run| *run = settled.clone()).await?;
        self.finish(&settled).await?;
        Ok(digest)
    }

    /// Records the failure and releases the week, so that the next delivery can claim it at once. Does nothing if the
    /// lease was lost.
    async fn fail(&self, held: &Held<WeeklyRun>, week: Week) {
        let now = self.now();
        let failed = held.finish(|run| *run = weekly_run(&run.user_id, week, WeeklyOutcome::Failed, now));
        match failed.await {
            Ok(_) | Err(lease::Error::Lost) => {}
            Err(error) => warn!(error = %Chain(&error), "failure not recorded: the lease will expire"),
        }
    }

    /// Records that a user needs no digest in a week.
    async fn skip(&self, user: &UserId, week: Option<Week>, reason: Reason) -> Result<Outcome, Error> {
        if let Some(week) = week {
            let now = self.now();
            let skipped = weekly_run(user, week, WeeklyOutcome::Skipped, now);
            let noted = self.0.data.digests.edit_weekly_run(user, |found| match found {
                Some(run) if run.is_settled(week) || run.lease.is_live(now, WeeklyRun::LONGEST) => Edit::Keep(()),
                Some(_) | None => Edit::Save(skipped.clone(), ()),
            });
            noted.await?;
        }
        Ok(Outcome::Skipped(reason))
    }

    /// Saves a week's digest and updates the profile. Repeating it changes nothing.
    async fn finish(&self, run: &WeeklyRun) -> Result<(), Error> {
        let (digests, user) = (&self.0.data.digests, &run.user_id);
        let digest = match (&run.digest, &run.digest_id) {
            (Some(digest), _) => {
                digests.save_unless_newer(digest).await?;
                Some(Digest::clone(digest))
            }
            (None, Some(id)) => digests.find(user, id).await?,
            (None, None) => None,
        };
        if let Some(digest) = digest
            && run.previous_hash.as_ref() != Some(&digest.wardrobe_hash)
        {
            self.0.data.profiles.note_digest(user, &note(&digest, run.previous_hash.clone(), false)).await?;
        }
        if run.digest.is_some() {
            let finished = digests.edit_weekly_run(user, |found| match found {
                Some(found) if found.week == run.week && found.digest.is_some() => {
                    Edit::Save(WeeklyRun { digest: None, ..found }, ())
                }
                Some(_) | None => Edit::Keep(()),
            });
            finished.await?;
        }
        Ok(())
    }
}

/// Describes the trace of a digest.
pub fn subject<'a>(user: &'a UserId, trace_id: Option<&'a str>) -> Subject<'a> {
    Subject { name: "digest", trace_id, user: Some(user.as_str()), session: None, input: "" }
}

fn weekly_run(user: &UserId, week: Week, outcome: WeeklyOutcome, now: Timestamp) -> WeeklyRun {
    WeeklyRun {
        id: WeeklyRun::ID.to_owned(),
        user_id: user.clone(),
        week,
        outcome,
        digest_id: None,
        digest: None,
        previous_hash: None,
        lease: Lease::default(),
        updated_at: now,
        ttl: WeeklyRun::life(),
    }
}

fn note(digest: &Digest, previous_hash: Option<String>, may_create: bool) -> DigestNote {
    DigestNote {
        wardrobe_hash: digest.wardrobe_hash.clone(),
        previous_hash,
        style_confidence: digest.style_confidence,
        climate_zone: digest.climate_zone.clone(),
        may_create,
    }
}

fn known(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

/// Formats a digest as Markdown.
pub fn markdown(digest: &Digest) -> String {
    let mut text = format!("# Ideas for your wardrobe\n\n{}\n", facts(digest));
    for (number, suggestion) in (1..).zip(&digest.suggestions) {
        let (item, rationale) = (escape_markdown(&suggestion.item), escape_markdown(&suggestion.rationale));
        write!(text, "\n## {number}. {item}\n\n{rationale}\n").expect("writing to a String cannot fail");
    }
    text
}

/// Describes in a sentence what a digest is about.
pub fn facts(digest: &Digest) -> String {
    let Digest { generated_at, total_items, items_with_wear_history, .. } = digest;
    let pieces = if *total_items == 1 { "piece" } else { "pieces" };
    let mut text =
        format!("{}: {total_items} {pieces}, {items_with_wear_history} of them worn.", generated_at.get().date());
    if !digest.styles_considered.is_empty() {
        text += &format!(" Styles: {}.", digest.styles_considered.join(", "));
    }
    if let Some(zone) = &digest.climate_zone {
        text += &format!(" Climate: {zone}.");
    }
    text
}
