//! The state of a run, computed from its events.

use super::live::Live;
use super::{Error, Runs};
use crate::data;
use crate::model::chat_run::{ChatEvent, ChatRun, LoggedEvent, RunStatus, RunSummary, StopReason};
use crate::model::ids::{ChatId, RunId, UserId};
use crate::model::usage::RunUsage;

/// A run with its answer, tools and usage so far.
pub struct RunView {
    /// The run.
    pub summary: RunSummary,
    /// The whole answer so far.
    pub answer: String,
    /// The tools that were used.
    pub tools: Vec<ToolView>,
    /// The model, once it has answered.
    pub model: Option<String>,
    /// Model calls and tokens of the run.
    pub usage: RunUsage,
    /// Error message for the user, if the run failed.
    pub error: Option<String>,
    /// Why the run was stopped, if it was.
    pub stopped: Option<StopReason>,
}

/// A tool that was used.
pub struct ToolView {
    /// Id of the call within the run.
    pub call_id: String,
    /// Name of the tool.
    pub name: String,
    /// The first characters of the result, and how long it took in milliseconds.
    pub result: Option<(String, u64)>,
}

/// State computed from events.
#[derive(Default)]
pub(super) struct Fold {
    pub last_seq: u64,
    pub answer: String,
    pub tools: Vec<ToolView>,
    pub error: Option<String>,
    /// Model, usage and reason of the last event.
    pub done: Option<(String, RunUsage, Option<StopReason>)>,
}

impl Fold {
    /// Computes the state from a log, from its beginning.
    pub fn of(events: Vec<LoggedEvent>) -> Self {
        let mut fold = Self { last_seq: events.len() as u64, ..Self::default() };
        let mut valid: Vec<(u64, ChatEvent)> = Vec::new();
        for (seq, event) in (1..).zip(events.into_iter().map(ChatEvent::from)) {
            match event {
                ChatEvent::StepReset { from_seq } => valid.retain(|(seq, _)| *seq < from_seq),
                event => valid.push((seq, event)),
            }
        }
        for (_, event) in valid {
            fold.see(event);
        }
        fold
    }

    fn see(&mut self, event: ChatEvent) {
        match event {
            ChatEvent::Token { content } => self.answer.push_str(&content),
            ChatEvent::ToolUse { name, call_id, .. } => self.tools.push(ToolView { call_id, name, result: None }),
            ChatEvent::ToolResult { call_id, summary, tool_latency_ms, .. } => {
                if let Some(tool) = self.tools.iter_mut().find(|tool| tool.call_id == call_id) {
                    tool.result = Some((summary, tool_latency_ms));
                }
            }
            ChatEvent::Error { content } => self.error = Some(content.into_owned()),
            ChatEvent::Done { model, usage, stopped, .. } => self.done = Some((model, usage, stopped)),
            ChatEvent::MemoryUpdate { .. } | ChatEvent::StepReset { .. } => {}
        }
    }

    /// Returns the run's status according to its events.
    pub fn status(&self) -> RunStatus {
        match &self.done {
            None => RunStatus::Running,
            Some((_, _, Some(_))) => RunStatus::Stopped,
            Some(_) if self.error.is_some() => RunStatus::Failed,
            Some(_) => RunStatus::Completed,
        }
    }
}

impl Runs {
    /// Lists a page of a user's runs, like [`ChatRuns::page`](crate::data::chat_runs::ChatRuns::page). The last number
    /// of a run in this process is the one in memory: the stored run has it only from the end of a step.
    ///
    /// # Errors
    /// When the documents cannot be read.
    pub async fn page(
        &self,
        user: &UserId,
        chat: Option<&ChatId>,
        status: Option<RunStatus>,
        after: Option<String>,
        limit: usize,
    ) -> data::Result<(Vec<RunSummary>, Option<String>)> {
        let (mut runs, next) = self.0.base.data.chat_runs.page(user, chat, status, after, limit).await?;
        for run in &mut runs {
            if let Some(live) = self.here(user, &run.id) {
                run.last_seq = run.last_seq.max(live.last());
            }
        }
        Ok((runs, next))
    }

    /// Returns a run with its answer, tools and usage so far.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user has no such run, or when the documents cannot be read.
    pub async fn find(&self, user: &UserId, id: &RunId) -> Result<RunView, Error> {
        if let Some(live) = self.here(user, id)
            && let Some(events) = self.events_here(&live).await?
        {
            return Ok(view(live.summary.clone(), events));
        }
        let run = self.0.base.data.chat_runs.find(user, id).await?.ok_or(Error::NotFound)?;
        let events = self.events(&run).await?;
        let mut view = view(run.summary(), events);
        // The end of the log could not be stored.
        if run.status.is_final() {
            view.summary.status = run.status;
        }
        if view.usage.calls == 0 {
            view.usage = run.usage;
        }
        view.error = view.error.or(run.error);
        view.stopped = view.stopped.or(run.stopped);
        Ok(view)
    }

    /// Returns the chat of a run and its events so far.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the user has no such run, or when the documents cannot be read.
    pub async fn snapshot(&self, user: &UserId, id: &RunId) -> Result<(Option<ChatId>, Vec<ChatEvent>), Error> {
        let chat_events = |events: Vec<LoggedEvent>| events.into_iter().map(ChatEvent::from).collect();
        if let Some(live) = self.here(user, id)
            && let Some(events) = self.events_here(&live).await?
        {
            return Ok((live.summary.chat_id.clone(), chat_events(events)));
        }
        let run = self.0.base.data.chat_runs.find(user, id).await?.ok_or(Error::NotFound)?;
        let events = self.events(&run).await?;
        Ok((run.chat_id, chat_events(events)))
    }

    /// Returns all events so far of a run in this process: the oldest from the store, if they are not in memory. `None`
    /// if the oldest are lost because the log is not stored, or if another process goes on with the log.
    async fn events_here(&self, live: &Live) -> data::Result<Option<Vec<LoggedEvent>>> {
        let (first, recent) = live.recent();
        if first == 1 {
            return Ok(Some(recent));
        }
        let stored = self.stored_events(&live.user, &live.id).await?;
        let last = first - 1 + recent.len() as u64;
        let is_ours = (first - 1..=last).contains(&(stored.len() as u64));
        let older = stored.into_iter().zip(1..first).map(|(event, _)| event);
        Ok(is_ours.then(|| older.chain(recent).collect()))
    }

    /// Reads all stored events of a run.
    pub(super) async fn events(&self, run: &ChatRun) -> data::Result<Vec<LoggedEvent>> {
        match &run.events {
            Some(events) => Ok(events.clone()),
            None => self.stored_events(&run.user_id, &run.id).await,
        }
    }

    /// Reads the pieces of a run's log.
    async fn stored_events(&self, user: &UserId, id: &RunId) -> data::Result<Vec<LoggedEvent>> {
        let mut events = Vec::new();
        loop {
            let pieces = self.0.base.data.chat_runs.pieces_after(user, id, events.len() as u64).await?;
            let before = events.len();
            for piece in pieces {
                if piece.first_seq == events.len() as u64 + 1 {
                    events.extend(piece.events);
                }
            }
            if events.len() == before {
                return Ok(events);
            }
        }
    }
}

fn view(summary: RunSummary, events: Vec<LoggedEvent>) -> RunView {
    let fold = Fold::of(events);
    let summary = RunSummary { status: fold.status(), last_seq: fold.last_seq.max(summary.last_seq), ..summary };
    let (model, usage, stopped) = match fold.done {
        Some((model, usage, stopped)) => (Some(model), usage, stopped),
        None => (None, RunUsage::default(), None),
    };
    RunView { summary, answer: fold.answer, tools: fold.tools, model, usage, error: fold.error, stopped }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(content: &str) -> ChatEvent {
        ChatEvent::Token { content: content.to_owned() }
    }

    fn tool_use(call_id: &str) -> ChatEvent {
        ChatEvent::ToolUse { name: "search".to_owned(), call_id: call_id.to_owned(), input: "{}".to_owned() }
    }

    fn tool_result(call_id: &str, summary: &str) -> ChatEvent {
        ChatEvent::ToolResult {
            name: "search".to_owned(),
            call_id: call_id.to_owned(),
            summary: summary.to_owned(),
            output: String::new(),
            is_error: false,
            tool_latency_ms: 7,
        }
    }

    fn done(stopped: Option<StopReason>) -> ChatEvent {
        ChatEvent::Done {
            model: "m".to_owned(),
            token_count: 1,
            run_id: "r".into(),
            stopped,
            usage: RunUsage::default(),
        }
    }

    fn fold(events: Vec<ChatEvent>) -> Fold {
        Fold::of(events.into_iter().map(LoggedEvent::from).collect())
    }

    #[test]
    fn a_step_that_was_broken_off_does_not_count() {
        let seen = fold(vec![
            token("One"),
            tool_use("a"),
            tool_use("b"),
            tool_result("b", "second"),
            token("broken"),
            tool_use("c"),
            ChatEvent::StepReset { from_seq: 5 },
            ChatEvent::StepReset { from_seq: 5 },
            token(" two"),
        ]);
        assert_eq!((seen.answer.as_str(), seen.last_seq), ("One two", 9));
        let tools: Vec<_> = seen.tools.iter().map(|tool| (&*tool.call_id, tool.result.clone())).collect();
        assert_eq!(tools, [("a", None), ("b", Some(("second".to_owned(), 7)))]);
    }

    #[test]
    fn a_log_tells_how_the_run_ended() {
        let error = || ChatEvent::Error { content: "It failed.".into() };
        for (events, status) in [
            (vec![], RunStatus::Running),
            (vec![token("a"), error()], RunStatus::Running),
            (vec![token("a"), done(None)], RunStatus::Completed),
            (vec![error(), done(None)], RunStatus::Failed),
            (vec![token("a"), done(Some(StopReason::User))], RunStatus::Stopped),
            (vec![error(), ChatEvent::StepReset { from_seq: 1 }, done(None)], RunStatus::Completed),
        ] {
            assert_eq!(fold(events.clone()).status(), status, "{events:?}");
        }
    }
}
