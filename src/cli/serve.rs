//! `pluckit serve`: runs the service.

use std::env;
use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::demo;
use super::output::{self, output};
use super::{Flags, block_on, documents, settings};
use crate::app::{self, Backends};
use crate::base::chain::Chain;
use crate::config::{self, Config, Environment, Feed, masked_url};
use crate::http::web_client;
use crate::llm::Purpose;
use crate::net;
use crate::telemetry;
use crate::workers::{functions, pump, timers};

/// Flags of `serve`; each one overrides a setting.
#[derive(Args, Default)]
pub struct Arguments {
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Port to listen on [default: 7071]
    #[arg(long)]
    port: Option<u16>,
    /// Directory of the embedded store [default: ./data]
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// Do not load the demo wardrobe into an empty store
    #[arg(long)]
    no_demo: bool,
}

impl Arguments {
    fn flags(&self) -> Flags {
        let mut flags = Flags::new();
        if let Some(bind) = self.bind {
            flags.insert("PLUCKIT_BIND", bind.to_string());
        }
        if let Some(port) = self.port {
            flags.insert("PORT", port.to_string());
        }
        if let Some(directory) = &self.data_dir {
            flags.insert("PLUCKIT_DATA_DIR", directory.display().to_string());
        }
        if self.no_demo {
            flags.insert("PLUCKIT_DEMO", "false".to_owned());
        }
        flags
    }
}

/// Runs the service until it is stopped.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = settings(&arguments.flags())?;
    check_client(&config)?;
    block_on(async {
        // Reading the certificates takes as long as the steps below: do it at the same time.
        drop(tokio::task::spawn_blocking(net::authorities));
        // Open the port first: the Functions host waits for it, and early requests are queued.
        let listener = app::listen(&config).await?;
        let address = listener.local_addr()?;
        let (filter, settings) = (config.log_filter.clone(), config.telemetry.clone());
        let (telemetry, _log) = tokio::task::spawn_blocking(move || telemetry::start(&filter, &settings)).await??;
        let backends = Backends::open(&config, address, telemetry)?;
        let app = app::state(config, backends);
        demo::load(&app).await;
        app::look_for_damage(&app);
        app.runs.watch();
        if !app.config.server.under_functions_host {
            // Under the Functions host, the host starts functions.
            let functions = functions(app.config.wardrobe_api.is_on);
            pump::start(&app, functions, &pump::Options::from_config(&app.config));
            timers::start(&app, functions, &timers::Options::default());
        }
        announce(&app.config, address, app.model.name(Purpose::Stylist), app.media.segmenter());
        app::serve(listener, app).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Warns of a file of exchange rates that cannot be read. The service continues: the file may be created later.
fn check_rates(config: &Config) {
    if let Some(Feed::File(path)) = &config.insights.feed
        && let Err(error) = File::open(path)
    {
        tracing::warn!(file = %path.display(), error = %Chain(&error), "FX_RATES_FILE cannot be read");
    }
}

/// Checks that the web client's directory contains a client.
fn check_client(config: &Config) -> anyhow::Result<()> {
    if let Some(root) = config.server.served_client() {
        let index = root.join(web_client::INDEX);
        anyhow::ensure!(index.is_file(), "WEB_ROOT is {:?}: expected a directory with {}", root, web_client::INDEX);
    }
    Ok(())
}

/// Shows address and back ends: as a banner on a terminal, else in the log.
fn announce(config: &Config, address: SocketAddr, model: &str, segmenter: &str) {
    let documents = documents(config);
    let development = config.environment == Environment::Development;
    if !development && config.identity.google_client_ids.is_empty() {
        tracing::warn!("{}: set GOOGLE_CLIENT_ID or GOOGLE_ALLOWED_CLIENT_IDS", config::NO_SIGN_IN);
    }
    check_rates(config);
    tracing::info!(%address, documents, model, segmenter, development, "listening");
    if config.server.under_functions_host || !output::is_terminal() {
        return;
    }
    let model = match &config.model {
        None => "offline (built in; set OPENAI_BASE_URL or AZURE_OPENAI_ENDPOINT for a real one)".to_owned(),
        Some(server) => format!("{model} at {}", masked_url(server.url.as_str())),
    };
    let cutouts = match &config.media.segmentation {
        Some(service) => format!("service at {}", masked_url(service.endpoint.as_str())),
        None => match app::cutout_model(&config.media.cutout_model, &config.data_directory) {
            Some(file) => format!("rules for plain backgrounds, else the network {}", file.display()),
            None => {
                "rules for plain backgrounds only (scripts/fetch-models downloads the network for others)".to_owned()
            }
        },
    };
    let user = if development {
        format!("{} (development: everybody on this machine is this user)", config.identity.local_dev_user)
    } else {
        "callers sign in".to_owned()
    };
    let docs = if development { format!("  API docs   http://{address}/api/docs\n") } else { String::new() };
    let token = if development { "" } else { " --token-file token.txt" };
    // As invoked, because `cargo run` and archives do not install it on the path.
    let program = env::args().next().unwrap_or_else(|| "pluckit".to_owned());
    let banner = format!(
        "\n  PluckIt Processor {version}\n\n  URL        http://{address}\n{docs}  Documents  {documents}\n  Model      {model}\n  Cut-outs   {cutouts}\n  \
         User       {user}\n\n  Try        {program} chat --url http://{address}{token} \"What should I wear to a casual dinner?\"\n\n",
        version = env!("CARGO_PKG_VERSION"),
    );
    if output().write_all(banner.as_bytes()).is_err() {
        tracing::debug!("banner not printed");
    }
}
