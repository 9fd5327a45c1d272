//! Processing of a taste-analysis job: takes its lease, analyses the picture, and updates the profile.

use tracing::{info, warn};

use super::Taste;
use super::analysis::AnalysisError;
use crate::base::backoff::{Backoff, Jitter};
use crate::base::chain::Chain;
use crate::data::lease::{self, Claimed, Decision, Held, Standing};
use crate::data::{self, taste_jobs::TasteJobs};
use crate::domain::work::WorkError;
use crate::llm::CallContext;
use crate::model::taste_job::{LONGEST_LEASE, TasteJob, TasteJobStatus, TasteMessage, TastePayload, Tastes};
use crate::queue::QueueMessage;

/// Outcome of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worked {
    /// The picture is analysed.
    Done {
        /// Whether the profile changed.
        is_news: bool,
    },
    /// Nothing was left to do.
    Final,
}

impl QueueMessage for TasteMessage {
    fn check(&self) -> Result<(), String> {
        let TastePayload { job_id, user_id, item_id, image_url, .. } = &self.payload;
        let fields = [
            ("job_id", job_id.as_str()),
            ("user_id", user_id.as_str()),
            ("item_id", item_id.as_str()),
            ("image_url", image_url),
        ];
        if let Some((name, _)) = fields.iter().find(|(_, value)| value.trim().is_empty()) {
            return Err(format!("{name} is empty"));
        }
        if !TasteJobs::is_valid_id(job_id) {
            return Err("job_id is not an id".to_owned());
        }
        if !data::profiles::Profiles::key(user_id).is_valid() {
            return Err("user_id is not an id".to_owned());
        }
        Ok(())
    }
}

impl Taste {
    /// Processes a message.
    ///
    /// # Errors
    /// See [`WorkError`].
    pub async fn work(&self, message: TasteMessage) -> Result<Worked, WorkError> {
        let Some(held) = self.claim(message).await? else { return Ok(Worked::Final) };
        let job = held.document();
        let outcome = match held.keep(self.do_job(&held, &job)).await {
            Ok(outcome) => outcome,
            Err(lost) => Err(WorkError::Failed(lost.into())),
        };
        match outcome {
            Ok(is_news) => {
                self.finish(&held).await?;
                info!(job.id = %job.id, is_news, "picture analysed");
                Ok(Worked::Done { is_news })
            }
            Err(error) => {
                self.fail(&held, &error).await;
                Err(error)
            }
        }
    }

    /// Claims the job of a message; `None` if there is nothing left to do.
    async fn claim(&self, message: TasteMessage) -> Result<Option<Held<TasteJob>>, WorkError> {
        let now = self.now();
        let length = self.base.config.taste.dedupe_ttl.min(LONGEST_LEASE);
        let leases = self.base.data.leases(&self.base.clock, length);
        let take =
            |job: TasteJob| Decision::Take(TasteJob { status: TasteJobStatus::InFlight, updated_at: Some(now), ..job });
        let claimed =
            leases.claim(TasteJobs::key(&message.payload.job_id), |found, standing| match (found, standing) {
                (Some(TasteJob { status: TasteJobStatus::Completed | TasteJobStatus::DeadLettered, .. }), _) => {
                    Decision::Leave(Ok(()))
                }
                (Some(_), Standing::Held(_)) => Decision::Leave(Err(WorkError::HeldElsewhere)),
                (Some(job), Standing::Free) => take(job),
                // The document has expired, or another service sent the message.
                (None, _) => take(TasteJob::queued(message.payload.clone(), now, now)),
            });
        match claimed.await? {
            Claimed::Ours(held) => Ok(Some(held)),
            Claimed::Left(reason) => reason.map(|()| None),
        }
    }

    /// Analyses the picture, retrying when a dependency fails, and adds the result to the profile. Returns whether the
    /// profile changed.
    async fn do_job(&self, held: &Held<TasteJob>, job: &TasteJob) -> Result<bool, WorkError> {
        let Tastes { styles, brand } = match &job.tastes {
            Some(tastes) => tastes.clone(),
            None => {
                let tastes = self.analyse_patiently(job).await.map_err(|error| match error.is_final() {
                    true => WorkError::Permanent(error.into()),
                    false => WorkError::Failed(error.into()),
                })?;
                // Before the profile is updated: after a crash in between, the next worker uses this result.
                held.edit(|job| job.tastes = Some(tastes.clone())).await?;
                tastes
            }
        };
        let attempts = 1 + self.base.config.taste.profile_update_retries as usize;
        let brands: Vec<String> = brand.into_iter().collect();
        Ok(self.base.data.profiles.add_tastes(&job.user_id, &styles, &brands, attempts).await?)
    }

    async fn analyse_patiently(&self, job: &TasteJob) -> Result<Tastes, AnalysisError> {
        let context = CallContext::user(&job.user_id);
        let settings = &self.base.config.taste;
        let back_off = Backoff {
            first: settings.base_back_off,
            most: settings.max_back_off,
            jitter: Jitter::Added(settings.jitter),
        };
        let mut attempt = 1;
        loop {
            match self.analyse(&context, &job.payload.image_url).await {
                Ok(tastes) => return Ok(tastes),
                Err(error) if error.is_final() || attempt >= settings.max_attempts => return Err(error),
                Err(error) => {
                    warn!(job.id = %job.id, attempt, error = %Chain(&error), "picture not analysed yet");
                    tokio::time::sleep(back_off.pause(attempt)).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn finish(&self, held: &Held<TasteJob>) -> Result<(), WorkError> {
        let now = self.now();
        let finished = held.finish(|job| {
            job.status = TasteJobStatus::Completed;
            (job.updated_at, job.last_completed_at) = (Some(now), Some(now));
            (job.last_error, job.tastes, job.requeues) = (None, None, 0);
        });
        match finished.await {
            // The worker that took over will find nothing left to add.
            Ok(_) | Err(lease::Error::Lost) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Records the failure and releases the job, so that the next delivery can take it at once.
    async fn fail(&self, held: &Held<TasteJob>, error: &WorkError) {
        let now = self.now();
        let reason = Chain(error).to_string();
        let noted = held.finish(|job| {
            job.status = TasteJobStatus::Failed;
            (job.updated_at, job.last_error) = (Some(now), Some(reason.clone()));
            job.retry_count = job.retry_count.saturating_add(1);
        });
        match noted.await {
            Ok(_) | Err(lease::Error::Lost) => {}
            Err(error) => warn!(error = %Chain(&error), "failure of a job not recorded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::queue::read_message;

    const MESSAGE: &str = r#"{"job_id":"j","user_id":"ada","item_id":"i","image_url":"https://x.example/a.jpg"}"#;

    #[test]
    fn a_message_is_read_plain_or_in_base64() {
        let plain: TasteMessage = read_message(MESSAGE).unwrap();
        assert_eq!(plain.payload.user_id.as_str(), "ada");
        assert_eq!((plain.retry_count, plain.payload.gallery_image_index), (0, None));
        let encoded = STANDARD.encode(MESSAGE);
        assert_eq!(read_message::<TasteMessage>(&encoded).unwrap(), plain);
        assert_eq!(read_message::<TasteMessage>(&format!(" {}\n", encoded.trim_end_matches('='))).unwrap(), plain);
        assert_eq!(read_message::<TasteMessage>(&MESSAGE.replace("job_id", "jobId")).unwrap(), plain);
        let marked = format!("\u{feff}{MESSAGE}");
        assert_eq!(
            [&marked, &STANDARD.encode(&marked)].map(|text| read_message::<TasteMessage>(text).unwrap()),
            [plain.clone(), plain]
        );
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (text, reason) in [
            ("", "the text is not JSON"),
            ("{", "the text is not JSON"),
            ("[]", "a field is missing or of the wrong type"),
            (r#"{"job_id":"j"}"#, "a field is missing or of the wrong type"),
            (&MESSAGE.replace("\"ada\"", "7"), "a field is missing or of the wrong type"),
            (&MESSAGE.replace("ada", " "), "user_id is empty"),
            (&MESSAGE.replace("\"j\"", "\"a/b\""), "job_id is not an id"),
            (&MESSAGE.replace("ada", "a?b"), "user_id is not an id"),
        ] {
            assert_eq!(read_message::<TasteMessage>(text).unwrap_err(), reason, "{text}");
        }
    }
}
