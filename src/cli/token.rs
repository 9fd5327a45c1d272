//! `pluckit token`: creates, lists and revokes API tokens of a user.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::output::{one_line, output, tell};
use super::{UserArguments, block_on, clock};
use crate::config::Environment;
use crate::data::Data;
use crate::identity::api_token::{
    ApiTokenService, DEFAULT_DAYS, LONGEST_NAME, ListedToken, MOST_DAYS, MOST_TOKENS, NewToken,
};
use crate::model::api_token::{Scope, Scopes};
use crate::model::ids::ApiTokenId;
use crate::model::timestamp::Timestamp;

/// Flags of `token`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    user_arguments: UserArguments,
}

#[derive(Subcommand)]
enum Command {
    /// Create a token and print it, once
    #[command(
        after_help = "Examples:\n  pluckit token create 'Chat UI' > token.txt\n  pluckit token create 'Read only' --user 1234567890 --expires-in-days 365 --scope wardrobe:read"
    )]
    Create {
        /// Name of the token
        #[arg(value_parser = parse_name)]
        name: String,
        /// Days until the token expires, 1 to 365
        #[arg(long, value_name = "DAYS", default_value_t = DEFAULT_DAYS,
            value_parser = clap::value_parser!(i64).range(1..=MOST_DAYS))]
        expires_in_days: i64,
        /// Limit the token to wardrobe:read or wardrobe:write; may be repeated [default: no limit]
        #[arg(long, value_name = "SCOPE")]
        scope: Vec<Scope>,
    },
    /// List the tokens, newest first
    #[command(after_help = "Examples:\n  pluckit token list --user 1234567890")]
    List,
    /// Revoke a token; running services refuse it within 30 s
    #[command(after_help = "Examples:\n  pluckit token delete 0b9f5c4e-5a0f-4a4e-9c3e-0d5f0c1b2a3d")]
    Delete {
        /// Id of the token
        id: String,
    },
}

fn parse_name(text: &str) -> Result<String, String> {
    let name = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match name.chars().count() {
        0 => Err("the name is blank".to_owned()),
        length if length > LONGEST_NAME => Err(format!("at most {LONGEST_NAME} characters")),
        _ => Ok(name),
    }
}

/// Runs the sub-command on the configured store.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { command, user_arguments } = arguments;
    let (_, store, user) = match command {
        Command::Create { .. } => {
            let opened = user_arguments.open_or_create()?;
            if user_arguments.user.is_none() && opened.0.environment == Environment::Production {
                bail!("--user is required outside development, where there is no development user");
            }
            opened
        }
        Command::List | Command::Delete { .. } => user_arguments.open_existing()?,
    };
    let tokens = ApiTokenService::new(Data::new(store).api_tokens, clock());
    let mut out = output();
    block_on(async {
        match command {
            Command::Create { name, expires_in_days, scope } => {
                let scopes = if scope.is_empty() { Scopes::ALL } else { Scopes::only(scope) };
                match tokens.create(&user, &name, expires_in_days, scopes).await? {
                    Some(NewToken { token, secret }) => {
                        tell(&format!("token {} of {user} expires at {}", token.id, token.expires_at));
                        if let Err(error) = writeln!(out, "{secret}").and_then(|()| out.flush()) {
                            // The token was lost and cannot be shown again.
                            let command = format!("pluckit token delete {} --user {user}", token.id);
                            bail!("the token exists, but could not be written ({error}): revoke it with `{command}`");
                        }
                    }
                    None => bail!("{user} has {MOST_TOKENS} tokens: delete one first"),
                }
            }
            Command::List => {
                for token in tokens.list(&user).await? {
                    writeln!(out, "{}", one_line(&line(&token)))?;
                }
            }
            Command::Delete { id } => {
                let id = ApiTokenId::from(id);
                if !tokens.revoke(&user, &id).await? {
                    bail!("{user} has no token {id}");
                }
                tell(&format!("token {id} is revoked"));
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Formats a token as one line.
fn line(ListedToken { token, last_used_at }: &ListedToken) -> String {
    let day = |at: Timestamp| at.get().date().to_string();
    let used = last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("used {}", day(at)));
    let scopes = token.scopes.list().unwrap_or_default();
    let scopes: Vec<String> = scopes.iter().map(Scope::to_string).collect();
    let scopes = if scopes.is_empty() { String::new() } else { format!("  {}", scopes.join(" ")) };
    format!("{}  expires {}  {used:<15}{scopes}  {}", token.id, day(token.expires_at), token.name)
}
