//! `pluckit chat`: talks to the stylist of a running service, over the same wire as every other client.
//!
//! With a message: one turn. Without: a conversation, by line, until the end of the input. Ctrl-C stops the answer, at the
//! service too, and ends the conversation at the prompt. An answer whose connection is lost is rejoined.

use std::collections::VecDeque;
use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::thread;

use anyhow::Context;
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::block_on;
use super::chat_run::{AnswerStream, Chat, Event, last_runs};
use super::client::{Service, ServiceArguments};
use super::output::{Output, complain, harmless, is_reader_gone, is_terminal, styled, words};
use crate::domain::chat::LONGEST_MESSAGE;

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";
/// Moves the cursor to the start of the line and erases it.
const ERASE_LINE: &str = "\r\x1b[2K";
/// Messages of the conversation that are sent along: as many as the service passes to the model.
const MOST_REMEMBERED: usize = 50;

/// Flags of `chat`.
#[derive(Args)]
pub struct Arguments {
    /// Message to send; without it, an interactive conversation
    message: Option<String>,
    /// Go on with the last conversation, and with its answer if that is still being written
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
}

/// What an answer consisted of.
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
        Self { service, chat: Chat::new(), said: VecDeque::new(), screen: Screen::new() }
    }

    /// Runs one turn. Returns whether it was answered.
    async fn say(&mut self, message: &str) -> anyhow::Result<bool> {
        let mut answer = Answer::default();
        let outcome = tokio::select! {
            outcome = self.take_turn(message, &mut answer) => outcome,
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into).map(|()| Ended::Interrupted),
        };
        if matches!(outcome, Ok(Ended::Interrupted)) {
            self.chat.stop(&self.service).await;
        }
        self.finish(message, answer, outcome.map(drop))
    }

    /// Streams the answer to `message` into `answer` and onto the screen.
    async fn take_turn(&mut self, message: &str, answer: &mut Answer) -> anyhow::Result<Ended> {
        let events = self.chat.ask(&self.service, message, &self.said).await?;
        read(events, &mut self.screen, answer).await
    }

    /// Goes on with the last conversation: shows its last answer, as it is written if it still is.
    async fn resume(&mut self) -> anyhow::Result<()> {
        let mut runs = last_runs(&self.service).await?;
        let last = runs.pop().context("there is no conversation to go on with")?;
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
        while let Some(line) = lines.recv().await {
            match self.obey(&line?).await {
                Ok(Next::Leave) => break,
                Ok(Next::Go) => {}
                Ok(Next::Say(message)) => all_answered &= self.say_or_complain(&message).await?,
                Err(error) => {
                    complain(&format!("{error:#}"));
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
                complain(&format!("{error:#}"));
                Ok(false)
            }
            answered => answered,
        }
    }

    /// Reads messages from a terminal.
    async fn on_a_terminal(&mut self) -> anyhow::Result<bool> {
        self.screen.write(&format!(
            "Talking to {}. /memory shows what the stylist remembers, /clear begins anew, /quit leaves.\n",
            self.service.url
        ))?;
        let mut lines = lines_of_input();
        loop {
            self.screen.write("\n> ")?;
            let line = tokio::select! {
                line = lines.recv() => line,
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted?;
                    None
                }
            };
            let Some(line) = line else {
                self.screen.write("\n")?;
                return Ok(true);
            };
            match self.obey(&line?).await {
                Ok(Next::Leave) => return Ok(true),
                Ok(Next::Go) => {}
                Ok(Next::Say(message)) => {
                    self.say_or_complain(&message).await?;
                }
                Err(error) => complain(&format!("{error:#}")),
            }
        }
    }

    /// Runs a line that is a command such as `/memory`.
    async fn obey(&mut self, line: &str) -> anyhow::Result<Next> {
        match line.trim() {
            "" => Ok(Next::Go),
            "/quit" | "/exit" => Ok(Next::Leave),
            "/clear" => {
                self.said.clear();
                self.chat = Chat::new();
                self.screen.write("What was said is forgotten here; what the stylist remembers is not.\n")?;
                Ok(Next::Go)
            }
            "/memory" => {
                let response = self.service.send(self.service.request(Method::GET, "/api/chat/memory")).await?;
                let memory: Value = response.json().await.context("the service's answer cannot be read")?;
                let summary = memory["summary"].as_str().unwrap_or_default();
                let summary = if summary.is_empty() { "Nothing is remembered yet." } else { summary };
                self.screen.write(&format!("{}\n", harmless(summary)))?;
                Ok(Next::Go)
            }
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
        // What is void already need not be told.
        if !matches!(event, Event::StepReset { from_seq } if !answer.has_since(from_seq)) {
            screen.show(&event)?;
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

    /// Whether something was said from this event on.
    fn has_since(&self, from_seq: u64) -> bool {
        self.pieces.last().is_some_and(|(seq, _)| *seq >= from_seq)
    }

    fn text(&self) -> String {
        self.pieces.iter().map(|(_, piece)| piece.as_str()).collect()
    }
}

/// What to do after a line.
enum Next {
    Say(String),
    Go,
    Leave,
}

/// Reads standard input line by line on a thread of its own. Unlike tokio's standard input, the thread does not delay
/// the end of the program.
fn lines_of_input() -> mpsc::Receiver<io::Result<String>> {
    let (sender, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let ended = line.is_err();
            if sender.blocking_send(line).is_err() || ended {
                break;
            }
        }
    });
    receiver
}

/// Prints the answer as it arrives; on a terminal, a status line shows running tools.
struct Screen<W = Output> {
    out: W,
    is_terminal: bool,
    running: Vec<String>,
    /// Whether the cursor is in the middle of a line.
    mid_line: bool,
}

impl Screen {
    fn new() -> Self {
        Self { is_terminal: is_terminal(), out: styled(), running: Vec::new(), mid_line: false }
    }
}

impl<W: Write> Screen<W> {
    fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    fn show(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Token { content } if content.is_empty() => Ok(()),
            Event::Token { content } => {
                let erase = self.erase_status();
                self.mid_line = !content.ends_with('\n');
                self.write(&format!("{erase}{}", harmless(content)))
            }
            Event::ToolUse { name } => {
                let name = words(name);
                let erase = self.begin_line();
                self.running.push(name.clone());
                if self.is_terminal {
                    let status = self.status();
                    return self.write(&format!("{erase}{status}"));
                }
                self.write(&format!("{erase}[{name} …]\n"))
            }
            Event::ToolResult { name, summary, tool_latency_ms } => {
                let name = words(name);
                let erase = self.begin_line();
                if let Some(position) = self.running.iter().position(|running| *running == name) {
                    self.running.remove(position);
                }
                let took = tool_latency_ms.map(|latency| format!(", {latency} ms")).unwrap_or_default();
                let line = format!("[{name}{took}] {}", words(summary));
                if self.is_terminal {
                    let status = self.status();
                    return self.write(&format!("{erase}{DIM}{line}{PLAIN}\n{status}"));
                }
                self.write(&format!("{erase}{line}\n"))
            }
            Event::Error { content } => {
                let erase = self.begin_line();
                self.write(&format!("{erase}! {}\n", words(content)))
            }
            Event::StepReset { .. } => {
                let erase = self.begin_line();
                self.running.clear();
                self.write(&format!("{erase}[the service was interrupted and says this again]\n"))
            }
            Event::Done | Event::Other => Ok(()),
        }
    }

    /// Returns the characters that move the cursor to the start of an empty line.
    fn begin_line(&mut self) -> &'static str {
        let erase = self.erase_status();
        if std::mem::take(&mut self.mid_line) { "\n" } else { erase }
    }

    fn erase_status(&self) -> &'static str {
        if self.is_terminal && !self.mid_line && !self.running.is_empty() { ERASE_LINE } else { "" }
    }

    fn status(&self) -> String {
        if self.running.is_empty() { String::new() } else { format!("{DIM}{} …{PLAIN}", self.running.join(", ")) }
    }

    fn end_turn(&mut self) -> io::Result<()> {
        let end = self.begin_line();
        self.running.clear();
        self.write(end)
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn shown(is_terminal: bool, events: &[Event]) -> String {
        let mut screen = Screen { out: Vec::new(), is_terminal, running: Vec::new(), mid_line: false };
        for event in events {
            screen.show(event).unwrap();
        }
        screen.end_turn().unwrap();
        String::from_utf8(screen.out).unwrap()
    }

    fn token(content: &str) -> Event {
        Event::Token { content: content.to_owned() }
    }

    fn tool_use(name: &str) -> Event {
        Event::ToolUse { name: name.to_owned() }
    }

    fn tool_result(name: &str) -> Event {
        Event::ToolResult { name: name.to_owned(), summary: "{\"a\":\n1}".to_owned(), tool_latency_ms: Some(12) }
    }

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
    fn a_plain_answer_has_no_escapes() {
        let events = [tool_use("a"), tool_use("b"), tool_result("a"), tool_result("b"), token("Wear "), token("it.")];
        assert_eq!(shown(false, &events), "[a …]\n[b …]\n[a, 12 ms] {\"a\": 1}\n[b, 12 ms] {\"a\": 1}\nWear it.\n");
    }

    #[test]
    fn a_terminal_shows_the_tools_that_run_in_words() {
        let events = [tool_use("a"), tool_use("b"), tool_result("a"), tool_result("b"), token("Yes.")];
        let expected = format!(
            "{DIM}a …{PLAIN}{ERASE_LINE}{DIM}a, b …{PLAIN}{ERASE_LINE}{DIM}[a, 12 ms] {{\"a\": 1}}{PLAIN}\n\
             {DIM}b …{PLAIN}{ERASE_LINE}{DIM}[b, 12 ms] {{\"a\": 1}}{PLAIN}\nYes.\n"
        );
        assert_eq!(shown(true, &events), expected);
    }

    #[test]
    fn a_tool_in_the_middle_of_a_text_begins_a_line() {
        assert_eq!(shown(false, &[token("Let me see."), tool_use("a")]), "Let me see.\n[a …]\n");
    }

    #[test]
    fn escapes_in_an_answer_do_not_reach_the_terminal() {
        assert_eq!(shown(true, &[token("a\x1b[2Jb\u{9b}c\td\n")]), "a[2Jbc\td\n");
    }

    #[test]
    fn events_of_the_wire_are_read() {
        let read = |text| serde_json::from_str::<Event>(text).unwrap();
        assert_eq!(read(r#"{"type":"done","model":"offline","tokenCount":3,"runId":"x"}"#), Event::Done);
        assert_eq!(read(r#"{"type":"memory_update","updated":true}"#), Event::Other);
        assert_eq!(
            read(r#"{"type":"tool_result","name":"a","summary":"{\"a\":\n1}","toolLatencyMs":12,"traceId":"t"}"#),
            tool_result("a")
        );
    }
}
