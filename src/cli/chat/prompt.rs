//! Reads the lines of a conversation from a terminal, with editing and a persistent history.

use std::env;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::mpsc as blocking;
use std::thread;

use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::output::complain;

const PROMPT: &str = "> ";
/// Lines that the history keeps.
const LONGEST_HISTORY: usize = 1000;

/// An editor on a separate thread, which does not delay the end of the program.
pub struct Prompt {
    asks: blocking::Sender<()>,
    lines: mpsc::UnboundedReceiver<Result<String, ReadlineError>>,
}

impl Prompt {
    /// Prepares the terminal.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open() -> anyhow::Result<Self> {
        let config = Config::builder().auto_add_history(true).max_history_size(LONGEST_HISTORY)?.build();
        let mut editor = DefaultEditor::with_config(config)?;
        let file = history_file();
        if let Some(file) = file.as_ref().filter(|file| file.exists())
            && let Err(error) = editor.load_history(file)
        {
            complain(&format!("the history {} cannot be read: {error}", file.display()));
        }
        // The editor replaces the handler of Ctrl-C while it reads a line, and restores the previous one. That must not
        // be the default, which ends the program, so tokio's handler is installed first; it stays installed.
        drop(signal(SignalKind::interrupt())?);
        let (asks, asked) = blocking::channel();
        let (sender, lines) = mpsc::unbounded_channel();
        thread::spawn(move || {
            while asked.recv().is_ok() {
                let line = editor.readline(PROMPT);
                if let (Ok(_), Some(file)) = (&line, &file)
                    && let Err(error) = editor.append_history(file)
                {
                    complain(&format!("the history {} cannot be written: {error}", file.display()));
                }
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { asks, lines })
    }

    /// Reads a line; `None` at Ctrl-C and Ctrl-D.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub async fn read(&mut self) -> anyhow::Result<Option<String>> {
        let mut interrupts = signal(SignalKind::interrupt())?;
        // If the thread has ended, its result channel reports that.
        if self.asks.send(()).is_err() {
            return Ok(None);
        }
        let line = tokio::select! {
            line = self.lines.recv() => line,
            // On a terminal without editing, Ctrl-C is a signal.
            _ = interrupts.recv() => None,
        };
        match line {
            Some(Ok(line)) => Ok(Some(line)),
            Some(Err(ReadlineError::Eof | ReadlineError::Interrupted)) | None => Ok(None),
            Some(Err(error)) => Err(error.into()),
        }
    }
}

/// Returns the history file, in a directory that only the user can read.
#[expect(clippy::disallowed_methods, reason = "where a user's files are is no setting of the service")]
fn history_file() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = state.or_else(|| Some(env::home_dir()?.join(".local/state")))?.join("pluckit");
    match DirBuilder::new().recursive(true).mode(0o700).create(&directory) {
        Ok(()) => Some(directory.join("chat_history")),
        Err(error) => {
            complain(&format!("no history is kept: {} cannot be created: {error}", directory.display()));
            None
        }
    }
}
