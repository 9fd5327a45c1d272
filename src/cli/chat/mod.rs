//! `pluckit chat`: talks to the stylist of a running service, through the public API.
//!
//! With a message, it runs one turn; without, a conversation, line by line, until the end of the input. Ctrl-C stops
//! the answer, also in the service, and ends the conversation at the prompt. If the connection is lost, it rejoins the
//! answer.

mod pieces;
mod prompt;
mod run;
mod screen;

use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::pieces::{Piece, named};
use self::prompt::Prompt;
use self::run::{AnswerStream, Chat, Event, last_runs};
use self::screen::Screen;
use super::block_on;
use super::client::{Service, ServiceArguments};
use super::output::{harmless, is_reader_gone, is_terminal, words};
use crate::domain::chat::LONGEST_MESSAGE;

const HELP: &str = "\
/help     show this
/memory   show what the stylist remembers
/new      begin a new conversation; what the stylist remembers is kept
/quit     leave, like Ctrl-D
Ctrl-C    stop the answer; at the prompt, leave
Arrow keys edit the line and go through earlier ones.
";
/// Most earlier messages sent with a turn: as many as the service passes to the model.
const MOST_REMEMBERED: usize = 50;

/// Flags of `chat`.
#[derive(Args)]
pub struct Arguments {
    /// Message to send; without it, an interactive conversation
    message: Option<String>,
    /// Resume the last conversation, and its answer if it is still being written
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    service_arguments: ServiceArguments,
}

/// Sends one message, or runs a conversation. The exit code is 0 if every turn was answered.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let service = arguments.service_arguments.service()?;
    let mut conversation = Conversation::new(service);
    block_on(async {
        if arguments.resume {
            conversation.resume().await?;
        }
        let all_answered = match arguments.message {
            Some(message) => conversation.say(&message).await?,
            None if io::stdin().is_terminal() => conversation.on_a_terminal().await?,
            None => conversation.by_line().await?,
        };
        Ok(if all_answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

struct Conversation {
    service: Service,
    chat: Chat,
    /// The conversation so far, oldest message first, sent as `recentMessages`.
    said: VecDeque<Value>,
    screen: Screen,
    /// The wardrobe, once an answer was shown at a terminal.
    pieces: Option<Vec<Piece>>,
}

/// The parts of an answer that were received.
#[derive(Default)]
struct Answer {
    /// Pieces of the text, with the numbers of their events.
    pieces: Vec<(u64, String)>,
    /// Whether an `error` event arrived.
    failed: bool,
    /// Whether the `done` event arrived.
    complete: bool,
}

impl Conversation {
    fn new(service: Service) -> Self {
        Self { service, chat: Chat::new(), said: VecDeque::new(), screen: Screen::new(), pieces: None }
    }

    /// Runs one turn. Returns whether it was answered.
    async fn say(&mut self, message: &str) -> anyhow::Result<bool> {
        ensure!(!message.trim().is_empty(), "the message is empty");
        let length = message.chars().count();
        ensure!(length <= LONGEST_MESSAGE, "a message has at most {LONGEST_MESSAGE} characters; this one has {length}");
        let mut answer = Answer::default();
        self.screen.wait();
        let outcome = tokio::select! {
            outcome = self.take_turn(message, &mut answer) => outcome,
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).map(|()| Ended::Interrupted),
        };
        if matches!(outcome, Ok(Ended::Interrupted)) {
            self.chat.stop(&self.service).await;
        }
        let text = answer.text();
        let is_answered = self.finish(message, answer, outcome.map(drop))?;
        self.show_pieces(&text).await?;
        Ok(is_answered)
    }

    /// Shows the pieces that an answer names, on a terminal only; programs just get the text.
    async fn show_pieces(&mut self, answer: &str) -> anyhow::Result<()> {
        if !is_terminal() || answer.is_empty() {
            return Ok(());
        }
        if self.pieces.is_none() {
            // A service may have no wardrobe; the answer is unaffected.
            self.pieces = Some(pieces::load(&self.service).await.unwrap_or_default());
        }
        let named = named(answer, self.pieces.as_deref().unwrap_or_default());
        if !named.is_empty() {
            self.screen.write("\n")?;
        }
        for piece in named {
            self.screen.tell_aside(&format!("  {}", piece.line()))?;
        }
        Ok(())
    }

    /// Streams the answer to `message` into `answer` and onto the screen.
    async fn take_turn(&mut self, message: &str, answer: &mut Answer) -> anyhow::Result<Ended> {
        let events = self.chat.ask(&self.service, message, &self.said).await?;
        read(events, &mut self.screen, answer).await
    }

    /// Continues the last conversation: shows its last answer, live if it is still being written.
    async fn resume(&mut self) -> anyhow::Result<()> {
        let mut runs = last_runs(&self.service).await?;
        let last = runs.pop().context("there is no conversation to resume")?;
        if let Some(chat) = &last.chat_id {
            self.chat = Chat { id: chat.clone() };
        }
        for run in runs {
            self.remember("user", &run.message);
            self.remember("assistant", &run.answer);
        }
        self.screen.write(&format!("> {}\n", harmless(&last.message)))?;
        let mut answer = Answer::default();
        let outcome = if last.status == "running" {
            let events = AnswerStream::join(&self.service, &last.id).await?;
            tokio::select! {
                outcome = read(events, &mut self.screen, &mut answer) => outcome,
                interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).map(|()| Ended::Interrupted),
            }
        } else {
            let event = Event::Token { content: last.answer };
            self.screen.show(&event)?;
            answer.note(1, event);
            Ok(Ended::Complete)
        };
        if matches!(outcome, Ok(Ended::Interrupted)) {
            self.chat.stop(&self.service).await;
        }
        self.finish(&last.message, answer, outcome.map(drop)).map(drop)
    }

    /// Ends the turn on the screen and adds it to the conversation, even if the answer is incomplete.
    fn finish(&mut self, message: &str, answer: Answer, outcome: anyhow::Result<()>) -> anyhow::Result<bool> {
        self.screen.end_turn()?;
        let text = answer.text();
        if !text.is_empty() {
            self.remember("user", message);
            self.remember("assistant", &text);
        }
        outcome?;
        Ok(answer.complete && !answer.failed)
    }

    fn remember(&mut self, role: &str, content: &str) {
        let content: String = content.chars().take(LONGEST_MESSAGE).collect();
        self.said.push_back(json!({ "role": role, "content": content }));
        while self.said.len() > MOST_REMEMBERED {
            self.said.pop_front();
        }
    }

    /// Reads messages from a pipe or file, one per line. A failed turn does not end the conversation.
    async fn by_line(&mut self) -> anyhow::Result<bool> {
        let mut lines = lines_of_input();
        let mut all_answered = true;
        let mut number = 0;
        while let Some(line) = lines.recv().await {
            number += 1;
            let Ok(line) = String::from_utf8(line?) else {
                self.screen.complain(&format!("line {number} is not UTF-8: it was not sent"));
                all_answered = false;
                continue;
            };
            match self.obey(&line).await {
                Ok(Next::Leave) => break,
                Ok(Next::Go) => {}
                Ok(Next::Say(message)) => all_answered &= self.say_or_complain(&message).await?,
                Err(error) => {
                    self.screen.complain(&format!("{error:#}"));
                    all_answered = false;
                }
            }
        }
        Ok(all_answered)
    }

    async fn say_or_complain(&mut self, message: &str) -> anyhow::Result<bool> {
        match self.say(message).await {
            Err(error) if is_reader_gone(&error) => Err(error),
            Err(error) => {
                self.screen.complain(&format!("{error:#}"));
                Ok(false)
            }
            answered => answered,
        }
    }

    /// Reads messages from a terminal.
    async fn on_a_terminal(&mut self) -> anyhow::Result<bool> {
        // Check first, before a message is typed.
        self.service.get::<Value>("/api/health", &[]).await?;
        self.screen.tell(&format!("The stylist at {}. /help lists the commands.", self.service.address()))?;
        let mut prompt = Prompt::open()?;
        loop {
            self.screen.write("\n")?;
            let Some(line) = prompt.read().await? else { return Ok(true) };
            match self.obey(&line).await {
                Ok(Next::Leave) => return Ok(true),
                Ok(Next::Go) => {}
                Ok(Next::Say(message)) => {
                    self.say_or_complain(&message).await?;
                }
                Err(error) => self.screen.complain(&format!("{error:#}")),
            }
        }
    }

    /// Runs a line that is a command such as `/memory`.
    async fn obey(&mut self, line: &str) -> anyhow::Result<Next> {
        match line.trim() {
            "" => Ok(Next::Go),
            "/quit" | "/exit" => Ok(Next::Leave),
            "/help" => {
                self.screen.tell(HELP)?;
                Ok(Next::Go)
            }
            "/new" | "/clear" => {
                self.said.clear();
                self.chat = Chat::new();
                self.screen.tell("New conversation. What the stylist remembers is kept (/memory).")?;
                Ok(Next::Go)
            }
            "/memory" => {
                let memory: Value = self.service.get("/api/chat/memory", &[]).await?;
                let preferences = memory["preferences"].as_array().map(Vec::as_slice).unwrap_or_default();
                match memory["summary"].as_str().filter(|summary| !summary.is_empty()) {
                    Some(summary) => self.screen.tell(summary)?,
                    None if preferences.is_empty() => self.screen.tell("Nothing is remembered yet.")?,
                    None => {}
                }
                for preference in preferences {
                    let (kind, text) = (preference["kind"].as_str(), preference["text"].as_str());
                    let line = format!("- {}: {}", kind.unwrap_or("fact"), text.unwrap_or_default());
                    self.screen.tell(&words(&line))?;
                }
                Ok(Next::Go)
            }
            command if command.starts_with('/') => bail!("there is no command {}: /help lists them", words(command)),
            message => Ok(Next::Say(message.to_owned())),
        }
    }
}

/// Whether an answer was read to its end or Ctrl-C interrupted it.
enum Ended {
    Complete,
    Interrupted,
}

/// Reads an answer to its end.
async fn read(mut events: AnswerStream<'_>, screen: &mut Screen, answer: &mut Answer) -> anyhow::Result<Ended> {
    loop {
        let (seq, event) = events.next().await?;
        // Events already voided need not be shown.
        if !matches!(event, Event::StepReset { from_seq } if !answer.has_since(from_seq)) {
            screen.show(&event)?;
        }
        if let (Event::Error { .. }, Some(run)) = (&event, &events.run) {
            screen.tell(&format!("The log has more about run {run}."))?;
        }
        answer.note(seq, event);
        if answer.complete {
            return Ok(Ended::Complete);
        }
    }
}

impl Answer {
    fn note(&mut self, seq: u64, event: Event) {
        match event {
            Event::Token { content } => self.pieces.push((seq, content)),
            Event::StepReset { from_seq } => self.pieces.retain(|(seq, _)| *seq < from_seq),
            Event::Error { .. } => self.failed = true,
            Event::Done => self.complete = true,
            Event::ToolUse { .. } | Event::ToolResult { .. } | Event::Other => {}
        }
    }

    /// Whether the answer has text from this event on.
    fn has_since(&self, from_seq: u64) -> bool {
        self.pieces.last().is_some_and(|(seq, _)| *seq >= from_seq)
    }

    fn text(&self) -> String {
        self.pieces.iter().map(|(_, piece)| piece.as_str()).collect()
    }
}

/// The action that a line of input asks for.
enum Next {
    Say(String),
    Go,
    Leave,
}

/// Reads standard input line by line on a separate thread. Unlike tokio's standard input, the thread does not delay the
/// end of the program.
fn lines_of_input() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            let ended = line.is_err();
            if sender.blocking_send(line).is_err() || ended {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn a_long_conversation_keeps_to_the_limits_of_the_service() {
        let service = Service::new(Url::parse("http://127.0.0.1").unwrap(), None).unwrap();
        let mut conversation = Conversation::new(service);
        for number in 0..60 {
            conversation.remember("user", &format!("{number}{}", "é".repeat(LONGEST_MESSAGE)));
        }
        let lengths: Vec<_> =
            conversation.said.iter().map(|said| said["content"].as_str().unwrap().chars().count()).collect();
        assert_eq!(lengths, [LONGEST_MESSAGE; MOST_REMEMBERED]);
        assert!(conversation.said[0]["content"].as_str().unwrap().starts_with("10é"));
    }

    #[test]
    fn events_of_the_wire_are_read() {
        let read = |text| serde_json::from_str::<Event>(text).unwrap();
        assert_eq!(read(r#"{"type":"done","model":"offline","tokenCount":3,"runId":"x"}"#), Event::Done);
        assert_eq!(read(r#"{"type":"memory_update","updated":true}"#), Event::Other);
        assert_eq!(
            read(r#"{"type":"tool_result","name":"a","summary":"{\"a\":\n1}","toolLatencyMs":12,"traceId":"t"}"#),
            Event::ToolResult { name: "a".to_owned(), tool_latency_ms: Some(12) }
        );
    }
}
