//! Writes the package for the Functions host: `host.json`, a folder with `function.json` for each function and one for
//! HTTP, the binary, and the background-removal network with its licence.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::config::Config;
use crate::imaging::network;
use crate::store::cosmos::schema;
use crate::workers::invocation::BINDING;
use crate::workers::{Function, Trigger, process_image};

/// Contents of `host.json`.
pub const HOST_JSON: &str = include_str!("../../host.json");
/// Folder of the function that forwards all requests.
pub const HTTP_FOLDER: &str = "http";
/// Setting with the storage account of the queues; triggers refer to it by name.
pub const QUEUE_CONNECTION: &str = "StorageQueue";
/// Name of the binary in the package, as in `host.json`.
pub const BINARY: &str = "pluckit";

/// Folder of the background-removal network in the package, where the binary looks for it.
pub const MODELS: &str = "models";
/// Licence of the background-removal network, which goes with its file.
const MODEL_LICENCE: &str = include_str!("../../models/LICENSE-u2netp");

/// First bytes of a Linux program.
const ELF: &[u8] = b"\x7fELF";
const FUNCTION_JSON: &str = "function.json";
const LOCAL_SETTINGS: &str = "local.settings.json";
/// Files that are not deployed.
const FUNCIGNORE: &str = "local.settings.json\ndata/\n.git*\n*.log\n";

/// Writes the package of `functions` to the directory `out`, with copies of `binary` and of `model`, the network for
/// cut-outs. Keeps the settings and the network of an existing package and removes functions that no longer exist.
///
/// # Errors
/// When `out` contains anything but such a package, `binary` is no Linux program, or a file cannot be written.
pub fn write(functions: &[Function], out: &Path, binary: &Path, model: Option<&Path>) -> anyhow::Result<()> {
    if !is_ours_to_write(out)? {
        bail!("{} is not empty and no package of pluckit: choose another directory", out.display());
    }
    let format = format_of(binary).with_context(|| format!("{} cannot be read", binary.display()))?;
    if format != ELF {
        bail!(
            "{} is not a Linux program (ELF), which the Functions host needs: name one with --binary",
            binary.display()
        );
    }
    fs::create_dir_all(out).with_context(|| format!("{} cannot be created", out.display()))?;
    remove_functions(out)?;
    write_text(&out.join("host.json"), HOST_JSON)?;
    write_json(&out.join(HTTP_FOLDER).join(FUNCTION_JSON), &http_function())?;
    for function in functions {
        write_json(&out.join(function.name).join(FUNCTION_JSON), &function_json(function))?;
    }
    write_text(&out.join(".funcignore"), FUNCIGNORE)?;
    let settings = out.join(LOCAL_SETTINGS);
    if !settings.exists() {
        write_json(&settings, &local_settings(functions)?)?;
    }
    if let Some(model) = model {
        let models = out.join(MODELS);
        write_text(&models.join("LICENSE-u2netp"), MODEL_LICENCE)?;
        copy_file(model, &models.join(network::FILE_NAME), 0o644)?;
    }
    copy_file(binary, &out.join(BINARY), 0o755)
}

/// Returns the first bytes of a file, which name its format; fewer of a shorter file.
fn format_of(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(ELF.len() as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the `function.json` of the HTTP function. Proxying requires exactly these two bindings.
fn http_function() -> Value {
    json!({ "bindings": [
        {
            "type": "httpTrigger",
            "direction": "in",
            "name": "req",
            "authLevel": "anonymous",
            "route": "{*path}",
            "methods": ["get", "post", "put", "patch", "delete", "head", "options"],
        },
        { "type": "http", "direction": "out", "name": "res" },
    ] })
}

/// Returns the `function.json` of a function.
pub fn function_json(function: &Function) -> Value {
    match &function.trigger {
        Trigger::Queue(trigger) => json!({ "bindings": [{
            "type": "queueTrigger",
            "direction": "in",
            "name": BINDING,
            "queueName": format!("%{}%{}", trigger.setting, trigger.suffix),
            "connection": QUEUE_CONNECTION,
        }] }),
        Trigger::Timer(trigger) => json!({
            "bindings": [{
                "type": "timerTrigger",
                "direction": "in",
                "name": BINDING,
                "schedule": format!("%{}%", trigger.setting),
                // Otherwise every new instance would run it.
                "runOnStartup": false,
                // Makes up for a missed run.
                "useMonitor": true,
            }],
            "retry": {
                "strategy": "exponentialBackoff",
                "maxRetryCount": 3,
                "minimumInterval": "00:00:10",
                "maximumInterval": "00:05:00",
            },
        }),
    }
}

/// Returns the setting that a function's `function.json` refers to.
fn setting(function: &Function) -> &'static str {
    match &function.trigger {
        Trigger::Queue(trigger) => trigger.setting,
        Trigger::Timer(trigger) => trigger.setting,
    }
}

/// Returns the local settings for `func start` with Azurite. They do not set the environment: the host's tools set
/// `Development` themselves, and can upload this file to Azure.
fn local_settings(functions: &[Function]) -> anyhow::Result<Value> {
    let defaults = Config::read(|_| None)?;
    let mut values = BTreeMap::from(
        [
            ("FUNCTIONS_WORKER_RUNTIME", "custom"),
            ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
            (QUEUE_CONNECTION, "UseDevelopmentStorage=true"),
            // Under the host, the built-in back ends must be allowed explicitly.
            ("PLUCKIT_ALLOW_EMBEDDED", "true"),
        ]
        .map(|(name, value)| (name, value.to_owned())),
    );
    for function in functions {
        let name = setting(function);
        values.insert(name, default(&defaults, name)?);
    }
    if functions.iter().any(|function| function.name == process_image::FUNCTION) {
        values.insert("WARDROBE_API", "true".to_owned());
    }
    Ok(json!({ "IsEncrypted": false, "Values": values }))
}

/// Describes what a deployment needs besides the package (`deploy/storage.json`): the database with its containers,
/// queues, blob containers, and the settings that `function.json` files refer to, without which the host does not
/// start.
///
/// # Errors
/// When a function refers to an unknown setting.
pub fn azure_schema(functions: &[Function]) -> anyhow::Result<Value> {
    let config = Config::read(|_| None)?;
    let queues: Vec<&String> = config.queues.all().into_iter().flat_map(|queue| [&queue.work, &queue.poison]).collect();
    let mut settings = BTreeMap::new();
    for function in functions {
        let name = setting(function);
        settings.insert(name, default(&config, name)?);
    }
    Ok(json!({
        "database": default(&config, "COSMOS_DB_DATABASE")?,
        "containers": schema::definitions(),
        "queues": queues,
        "blobContainers": [
            { "name": config.storage.archive_container.to_string(), "public": true },
            { "name": config.storage.jobs_container.to_string(), "public": false },
            { "name": config.storage.uploads_container.to_string(), "public": false },
        ],
        "settings": settings,
    }))
}

/// Returns the default of a setting.
fn default(config: &Config, name: &str) -> anyhow::Result<String> {
    let found = config.effective.iter().find(|setting| setting.name == name);
    found.map(|setting| setting.value.clone()).with_context(|| format!("{name} is not a setting"))
}

/// Whether the directory is missing, empty, or an older package.
fn is_ours_to_write(out: &Path) -> anyhow::Result<bool> {
    let is_empty = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", out.display())),
    };
    if is_empty {
        return Ok(true);
    }
    let host: Option<Value> = fs::read(out.join("host.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let starts = host.as_ref().and_then(|host| host.pointer("/customHandler/description/defaultExecutablePath"));
    // The source tree has a host.json as well, but no functions beside it.
    Ok(starts.is_some_and(|binary| binary == BINARY) && out.join(HTTP_FOLDER).join(FUNCTION_JSON).exists())
}

/// Removes the functions of an older package, which the host would start.
fn remove_functions(out: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(out).with_context(|| format!("{} cannot be read", out.display()))? {
        let folder = entry?.path();
        let file = folder.join(FUNCTION_JSON);
        if file.exists() {
            fs::remove_file(&file).with_context(|| format!("{} cannot be removed", file.display()))?;
            if fs::read_dir(&folder)?.next().is_none() {
                fs::remove_dir(&folder)?;
            }
        }
    }
    Ok(())
}

fn write_json(path: &Path, value: &Value) -> anyhow::Result<()> {
    write_text(path, &format!("{value:#}\n"))
}

fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(path, text)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

/// Copies a file to a temporary one and renames it, since a running binary cannot be overwritten.
fn copy_file(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    let beside: PathBuf = to.with_extension("new");
    let copy = || {
        fs::copy(from, &beside)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(mode))?;
        fs::rename(&beside, to)
    };
    copy().with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))
}
