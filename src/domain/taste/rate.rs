//! Votes on scraped items, and analysis of liked ones.

use std::time::Duration;

use tracing::{Instrument, warn};

use super::{Error, Taste};
use crate::base::chain::Chain;
use crate::data;
use crate::data::votes::Cast;
use crate::model::ids::{ScrapedItemId, UserId};
use crate::model::vote::Signal;
use crate::store;

/// How long a vote waits for its taste-analysis job to be queued; then queueing continues in the background.
const QUEUE_PATIENCE: Duration = Duration::from_secs(1);

impl Taste {
    /// Casts a user's vote on an item of the feed, and queues the analysis of a liked item's picture, or the one at
    /// `gallery_index`. Returns the item's score; `None` if the user sees no such item. A repeated vote counts once.
    ///
    /// # Errors
    /// When the documents fail.
    pub async fn rate(
        &self,
        user: &UserId,
        item: &ScrapedItemId,
        signal: Signal,
        gallery_index: Option<u64>,
    ) -> data::Result<Option<i64>> {
        let cast = self.base.data.votes.cast(user, item, signal, self.now()).await?;
        let Some(Cast { score, item: found }) = cast else { return Ok(None) };
        if signal == Signal::Up
            && let Some(liked) = found
        {
            let (taste, user) = (self.clone(), user.clone());
            let queueing = async move { taste.request(&user, &liked, gallery_index).await };
            let queueing = self.base.tasks.spawn(queueing.in_current_span());
            // The sweeper finds a job that is stored but not queued. If the job could not be stored, sending the vote
            // again requests it, and the vote still counts once.
            match tokio::time::timeout(QUEUE_PATIENCE, queueing).await {
                Ok(Ok(Err(Error::Data(error)))) if is_outage(&error) => return Err(error),
                Ok(Ok(Err(error))) => {
                    warn!(item.id = %item, error = %Chain(&error), "analysis of a liked picture not queued");
                }
                Ok(Ok(Ok(_))) => {}
                Ok(Err(_)) | Err(_) => warn!(item.id = %item, "analysis of a liked picture not queued in time"),
            }
        }
        Ok(Some(score))
    }
}

fn is_outage(error: &data::Error) -> bool {
    match error {
        data::Error::Store(store::Error::Unavailable(_)) | data::Error::Contended => true,
        data::Error::Store(_) | data::Error::Unwritable(_) => false,
    }
}
