//! Sources of the discover feed.
//!
//! Other services also write these documents, so edits change single fields by compare-and-swap and keep all others. A
//! source has one lease, held by a client that fetches it or by a run of the service ([`super::lease`]). The owner's
//! name distinguishes them.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use futures::stream::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lease::{Claimed, Decision, Leased, Leases, Standing};
use super::update::{self, Edit};
use super::{Result, pages, records};
use crate::model::ids::{SourceId, UserId};
use crate::model::lease::Lease;
use crate::model::source::{PageVersion, Source, SourceType};
use crate::model::timestamp::Timestamp;
use crate::store::{Container, DocumentStore, Filter, Key, Query};

/// Most sources shown to a user, of global and own ones each.
const MOST_SHOWN: usize = 500;

type Document = Map<String, Value>;

/// All sources.
#[derive(Clone)]
pub struct Sources(pub(super) Arc<dyn DocumentStore>);

/// A source's document, with all its fields.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceDocument(Document);

impl Leased for SourceDocument {
    const LONGEST: Duration = Source::LONGEST_LEASE;

    fn lease(&self) -> Lease {
        let text = |name| self.0.get(name).and_then(Value::as_str);
        // Other services may lease a source without a name; their leases also count.
        Lease::from_parts(
            Some(text("leaseOwner").unwrap_or_default().to_owned()),
            text("leaseExpiresAt").and_then(Timestamp::parse),
        )
    }

    fn set_lease(&mut self, lease: Lease) {
        self.0.insert("leaseOwner".to_owned(), lease.owner().into());
        self.0.insert("leaseExpiresAt".to_owned(), lease.expires_at().map(|until| until.to_string()).into());
    }
}

impl SourceDocument {
    /// The source, unless the document is not one.
    pub fn source(&self) -> Option<Source> {
        serde_json::from_value(Value::Object(self.0.clone())).ok()
    }

    /// Records the results of a finished scrape.
    pub fn note_scrape(&mut self, finish: &Finish<'_>) {
        let Some(source) = self.source() else { return };
        let Self(document) = self;
        end_queueing(document);
        if source.last_scraped_at.is_none_or(|at| at < finish.at) {
            document.insert("lastScrapedAt".to_owned(), finish.at.to_string().into());
        }
        if let Some(day) = finish.day.filter(|day| !source.is_done_for(day)) {
            document.insert("lastDailyRun".to_owned(), day.into());
        }
        if let Some(Ok(version)) = finish.version.map(serde_json::to_value) {
            document.insert("pageVersion".to_owned(), version);
        }
    }
}

/// Why a lease was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotClaimed {
    /// Another worker holds the lease.
    Theirs,
    /// The source does not exist.
    Gone,
}

/// Outcome of a client's claim of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientClaim {
    /// The client holds it.
    Granted,
    /// Another worker holds the lease.
    Theirs,
    /// The source currently needs nothing from clients.
    NotNeeded,
    /// The user leased it before without submitting anything, and has to wait until this time.
    Waits(Timestamp),
    /// The source does not exist.
    Gone,
}

/// Results of a finished scrape.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a> {
    /// End of the scrape.
    pub at: Timestamp,
    /// Day of the daily scrape, if it was one.
    pub day: Option<&'a str>,
    /// Version of the scraped page, if it has one.
    pub version: Option<&'a PageVersion>,
}

/// Outcome of a suggestion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suggested {
    /// The source was saved.
    Saved,
    /// Another user's source, or a global one, has this id.
    Taken,
}

impl Sources {
    fn key(source_type: SourceType, id: &SourceId) -> Key {
        Key::new(Container::ScraperSources, source_type.name(), id.as_str())
    }

    fn key_of(source: &Source) -> Key {
        Self::key(source.source_type, &source.id)
    }

    /// Finds a source of any kind.
    pub async fn find(&self, id: &SourceId) -> Result<Option<Source>> {
        let keys = SourceType::ALL.map(|kind| Self::key(kind, id));
        let found = try_join_all(keys.iter().map(|key| self.0.read(key))).await?;
        Ok(found.into_iter().flatten().find_map(|stored| records::parse(Container::ScraperSources, &stored)))
    }

    /// Streams the active global sources.
    pub fn global(&self) -> impl Stream<Item = Result<Source>> + Send + '_ {
        let query = Query::all(Container::ScraperSources)
            .matching(Filter::equal("isGlobal", true))
            .matching(Filter::equal("isActive", true));
        pages::walk(&*self.0, query)
    }

    /// Streams the user's own sources, active or not.
    pub fn own(&self, user: &UserId) -> impl Stream<Item = Result<Source>> + Send + '_ {
        pages::walk(&*self.0, Query::all(Container::ScraperSources).matching(Filter::equal("createdBy", user.as_str())))
    }

    /// Lists the active sources that a user sees: global ones, then their own.
    pub async fn visible_to(&self, user: &UserId) -> Result<Vec<Source>> {
        let private = self.own(user).filter(|source| {
            let is_shown = source.as_ref().map_or(true, |source| source.is_active && !source.is_global);
            std::future::ready(is_shown)
        });
        let (mut sources, private) =
            tokio::try_join!(pages::take(self.global(), MOST_SHOWN), pages::take(private, MOST_SHOWN))?;
        sources.extend(private);
        Ok(sources)
    }

    /// Finds at most `limit` sources whose scrape for a subscriber should have ended by now, oldest first.
    pub async fn overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<Source>> {
        pages::page(&*self.0, &overdue_query(now).limit(limit)).await
    }

    /// Claims the lease of a source for a run of this name. A live lease is replaced only if `may_replace` names its
    /// owner.
    pub async fn claim(
        &self,
        leases: &Leases,
        source: &Source,
        owner: &str,
        may_replace: impl Fn(&str) -> bool + Send,
    ) -> Result<Claimed<SourceDocument, NotClaimed>> {
        leases
            .claim_as(owner, Self::key_of(source), |found: Option<SourceDocument>, standing| match found {
                Some(document) if document.source().is_some() => {
                    let is_held = matches!(standing, Standing::Held(_));
                    if is_held && !document.lease().owner().is_some_and(&may_replace) {
                        return Decision::Leave(NotClaimed::Theirs);
                    }
                    Decision::Take(document)
                }
                Some(_) | None => Decision::Leave(NotClaimed::Gone),
            })
            .await
    }

    /// Claims the lease for a user's client until `until`, if the source needs posts from clients. Unless it then
    /// submits accepted posts, the user cannot lease the source again before `wait_until`.
    pub async fn claim_for_client(
        &self,
        source: &Source,
        user: &UserId,
        now: Timestamp,
        (until, wait_until): (Timestamp, Timestamp),
    ) -> Result<ClientClaim> {
        self.edit(source, |mut document, source| {
            if source.is_leased(now) {
                return Edit::Keep(ClientClaim::Theirs);
            }
            if !source.needs_client_ingest(now) {
                return Edit::Keep(ClientClaim::NotNeeded);
            }
            let mut waits = source.client_waits;
            waits.retain(|_, until| *until > now);
            if let Some(until) = waits.get(user) {
                return Edit::Keep(ClientClaim::Waits(*until));
            }
            waits.insert(user.clone(), wait_until);
            document.insert("leaseOwner".to_owned(), user.as_str().into());
            document.insert("leaseExpiresAt".to_owned(), until.to_string().into());
            let waits = waits.into_iter().map(|(user, until)| (user.to_string(), until.to_string().into()));
            document.insert("clientWaits".to_owned(), Value::Object(waits.collect()));
            Edit::Save(document, ClientClaim::Granted)
        })
        .await
        .map(|claim| claim.unwrap_or(ClientClaim::Gone))
    }

    /// Records that a scrape is about to be queued for a user, if `is_wanted` accepts the source; returns whether it
    /// was. Only one of many concurrent callers succeeds.
    pub async fn queue(
        &self,
        source: &Source,
        user: &UserId,
        until: Timestamp,
        is_wanted: impl Fn(&Source) -> bool + Send,
    ) -> Result<bool> {
        self.edit(source, |mut document, source| {
            if !is_wanted(&source) {
                return Edit::Keep(false);
            }
            document.insert("queuedUntil".to_owned(), until.to_string().into());
            document.insert("queuedFor".to_owned(), user.as_str().into());
            document.remove("requeues");
            Edit::Save(document, true)
        })
        .await
        .map(Option::unwrap_or_default)
    }

    /// Records that an overdue scrape was queued again, unless it is no longer that of `found`.
    pub async fn queue_again(&self, found: &Source, until: Timestamp) -> Result<()> {
        self.edit(found, |mut document, source| {
            if source.queued_until != found.queued_until {
                return Edit::Keep(());
            }
            document.insert("queuedUntil".to_owned(), until.to_string().into());
            document.insert("requeues".to_owned(), (source.requeues + 1).into());
            Edit::Save(document, ())
        })
        .await
        .map(Option::unwrap_or_default)
    }

    /// Withdraws the record of a queued scrape until this time.
    pub async fn unqueue(&self, source: &Source, until: Timestamp) -> Result<()> {
        self.edit(source, |mut document, source| {
            if source.queued_until != Some(until) {
                return Edit::Keep(());
            }
            end_queueing(&mut document);
            Edit::Save(document, ())
        })
        .await
        .map(Option::unwrap_or_default)
    }

    /// Records that a user's client submitted posts of a source, and releases the lease. Returns `false`, without
    /// recording, if another owner holds the lease.
    pub async fn finish_for_client(&self, source: &Source, user: &UserId, finish: &Finish<'_>) -> Result<bool> {
        self.edit(source, |mut document, source| {
            // A user who submitted posts need not wait, even if another owner has taken over the lease.
            let waits = document.get_mut("clientWaits").and_then(Value::as_object_mut);
            let waited = waits.is_some_and(|waits| waits.remove(user.as_str()).is_some());
            if source.lease_owner.as_deref() != Some(user.as_str()) {
                return if waited { Edit::Save(document, false) } else { Edit::Keep(false) };
            }
            let mut document = SourceDocument(document);
            document.set_lease(Lease::default());
            document.note_scrape(finish);
            Edit::Save(document.0, true)
        })
        .await
        .map(Option::unwrap_or_default)
    }

    /// Saves a site that a user suggested, visible to them alone, replacing their earlier one.
    pub async fn suggest(
        &self,
        id: &SourceId,
        name: &str,
        config: &Value,
        user: &UserId,
        now: Timestamp,
    ) -> Result<Suggested> {
        let key = Self::key(SourceType::BrandSite, id);
        update::update(&*self.0, &key, |found: Option<Document>| {
            let mut document = match found {
                Some(document) if !is_own(&document, user) => return Edit::Keep(Suggested::Taken),
                Some(document) => document,
                None => Document::from_iter([
                    ("id".to_owned(), id.as_str().into()),
                    ("sourceType".to_owned(), SourceType::BrandSite.name().into()),
                    ("isGlobal".to_owned(), false.into()),
                    ("createdBy".to_owned(), user.as_str().into()),
                    ("createdAt".to_owned(), now.to_string().into()),
                    ("lastScrapedAt".to_owned(), Value::Null),
                ]),
            };
            document.insert("name".to_owned(), name.into());
            document.insert("config".to_owned(), config.clone());
            document.insert("isActive".to_owned(), true.into());
            // The version belongs to the previously configured page.
            document.remove("pageVersion");
            Edit::Save(document, Suggested::Saved)
        })
        .await
    }

    /// Edits a source by compare-and-swap; `None` if it is gone.
    async fn edit<R>(
        &self,
        source: &Source,
        mut edit: impl FnMut(Document, Source) -> Edit<Document, R>,
    ) -> Result<Option<R>> {
        update::update(&*self.0, &Self::key_of(source), |found: Option<Document>| {
            let Some(document) = found else { return Edit::Keep(None) };
            let Ok(source) = serde_json::from_value(Value::Object(document.clone())) else { return Edit::Keep(None) };
            match edit(document, source) {
                Edit::Save(document, result) => Edit::Save(document, Some(result)),
                Edit::Keep(result) => Edit::Keep(Some(result)),
            }
        })
        .await
    }
}

/// Clears the record of a queued scrape.
fn end_queueing(document: &mut Document) {
    document.remove("queuedUntil");
    document.remove("queuedFor");
    document.remove("requeues");
}

/// Returns the query of [`Sources::overdue`].
pub fn overdue_query(now: Timestamp) -> Query {
    pages::due(Container::ScraperSources, "queuedUntil", now)
}

/// Whether the source belongs to the user alone; `false` if it cannot be read.
fn is_own(document: &Document, user: &UserId) -> bool {
    serde_json::from_value::<Source>(Value::Object(document.clone())).is_ok_and(|source| source.is_own(user))
}
