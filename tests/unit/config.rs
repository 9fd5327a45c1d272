//! Settings: valid values, valid combinations, and completeness of the documents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Output;

use pluckit::config::{Config, Documents, Environment, Error, Source, StorageAccount};
use serde_json::Value;

use crate::support::service::bare;

/// Set by platforms, never by people, so the example does not have them.
const SET_BY_THE_HOST: [&str; 8] = [
    "CONTAINER_NAME",
    "FUNCTIONS_CUSTOMHANDLER_PORT",
    "KUBERNETES_SERVICE_HOST",
    "WEBSITE_HOSTNAME",
    "WEBSITE_INSTANCE_ID",
    "WEBSITE_OWNER_NAME",
    "WEBSITE_POD_NAME",
    "WEBSITE_SKU",
];
/// Read by the Functions host and its tools, never by us.
const READ_BY_THE_HOST: [&str; 1] = ["FUNCTIONS_WORKER_RUNTIME"];
/// The minimum for production.
const REMOTE: [(&str, &str); 3] = [
    ("COSMOS_DB_ENDPOINT", "https://account.documents.azure.com"),
    ("OPENAI_BASE_URL", "https://models.example/v1"),
    ("STORAGE_ACCOUNT_NAME", "account"),
];
const REFUSES_EMBEDDED: &str = "is refused outside development and under the Functions host";
const REFUSES_OPEN_DOOR: &str = "every caller would be the development user";

fn read(settings: &[(&str, &str)]) -> Result<Config, Error> {
    let settings: BTreeMap<_, _> = settings.iter().copied().collect();
    Config::read(|name| settings.get(name).map(|value| ((*value).to_owned(), Source::Environment)))
}

fn refusal(settings: &[(&str, &str)]) -> String {
    read(settings).unwrap_err().to_string()
}

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&REMOTE, more].concat()
}

fn shown(config: &Config, name: &str) -> String {
    config.effective.iter().find(|setting| setting.name == name).unwrap().value.clone()
}

fn names(config: &Config) -> BTreeSet<String> {
    config.effective.iter().map(|setting| setting.name.to_owned()).collect()
}

// --- The documents --------------------------------------------------------------------------------------------------

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Name and default of each setting in the tables of a document: the first code span of the first two cells.
fn listed_settings(document: &str) -> BTreeMap<String, String> {
    let text = file(document);
    let span = |cell: &str| cell.split('`').nth(1).map(str::to_owned);
    let mut settings = BTreeMap::new();
    for table in text.split("| setting | default | ").skip(1) {
        let rows = table.lines().take_while(|line| !line.is_empty());
        for row in rows.filter_map(|line| line.strip_prefix("| ")) {
            let mut cells = row.split('|');
            let (name, default) = (cells.next().and_then(span), cells.next().and_then(span).unwrap_or_default());
            let name = name.unwrap_or_else(|| panic!("a row without a name in {document}: {row}"));
            assert!(settings.insert(name.clone(), default).is_none(), "{name} is in {document} twice");
        }
    }
    settings
}

fn example_settings() -> BTreeMap<String, String> {
    let example: Value = serde_json::from_str(&file("local.settings.json.example")).unwrap();
    assert_eq!(example["IsEncrypted"], false);
    serde_json::from_value(example["Values"].clone()).unwrap()
}

#[test]
fn the_documents_list_every_setting_with_its_default() {
    let config = read(&[]).unwrap();
    let mut listed = listed_settings("docs/settings.md");
    for name in READ_BY_THE_HOST {
        assert!(listed.remove(name).is_some(), "docs/settings.md does not explain {name}");
    }
    let listed_names: BTreeSet<String> = listed.keys().cloned().collect();
    assert_eq!(listed_names, names(&config));
    let selected = listed_settings("README.md");
    assert!(!selected.is_empty() && selected.keys().all(|name| listed_names.contains(name)), "{selected:?}");
    for (name, default) in listed.into_iter().chain(selected) {
        assert_eq!(default, shown(&config, &name), "documented default of {name}");
    }
}

#[test]
fn the_example_has_every_setting_that_people_set() {
    let mut example: BTreeSet<String> = example_settings().into_keys().collect();
    for name in READ_BY_THE_HOST {
        assert!(example.remove(name), "the tools of the host need {name} in the example");
    }
    let mut expected = names(&read(&[]).unwrap());
    for name in SET_BY_THE_HOST {
        assert!(expected.remove(name), "{name} is no setting any more");
    }
    assert_eq!(example, expected);
}

/// All secrets. What is named like one is one.
fn secrets() -> Vec<&'static str> {
    let effective = read(&[]).unwrap().effective;
    for setting in &effective {
        let is_named_so = ["_API_KEY", "SECRET", "PASSWORD", "_SHARED_TOKEN", "ACCOUNT_KEY", "DB_KEY", "_HEADERS"];
        assert!(setting.is_secret || !is_named_so.iter().any(|part| setting.name.contains(part)), "{}", setting.name);
    }
    effective.into_iter().filter(|setting| setting.is_secret).map(|setting| setting.name).collect()
}

#[test]
fn the_example_works_offline_and_holds_no_secret() {
    let example = example_settings();
    for name in secrets() {
        assert_eq!(example[name], "", "{name} in the example");
    }
    let config = Config::read(|name| Some((example.get(name)?.clone(), Source::LocalSettings))).unwrap();
    assert_eq!(config.environment, Environment::Development);
    assert!(matches!(config.documents, Documents::Embedded { demo: true, .. }));
    assert!(config.model.is_none());
    let defaults = read(&[]).unwrap();
    for setting in &config.effective {
        assert_eq!(setting.value, shown(&defaults, setting.name), "{} in the example", setting.name);
    }
}

// --- Values ---------------------------------------------------------------------------------------------------------

#[test]
fn nothing_configured_is_development_on_loopback() {
    let config = read(&[]).unwrap();
    assert_eq!(config.environment, Environment::Development);
    assert_eq!((config.server.bind.to_string().as_str(), config.server.port), ("127.0.0.1", 7071));
    assert!(!config.server.under_functions_host);
    assert_eq!(config.identity.local_dev_user.as_str(), "local-dev-user");
    assert!(config.identity.google_client_ids.is_empty() && config.identity.admins.is_empty());
    assert!(config.storage.blobs.is_none() && config.storage.queues.is_none());
    assert_eq!(config.stylist.tool_call_limit, 8);
    assert!(config.effective.iter().all(|setting| setting.source == Source::Default));
}

#[test]
fn a_wrong_value_is_named_with_what_it_takes() {
    for (name, got, expected) in [
        ("PORT", "eighty", "a whole number from 0 to 65535"),
        ("PORT", "-1", "a whole number from 0 to 65535"),
        ("PORT", "70000", "a whole number from 0 to 65535"),
        ("FUNCTIONS_CUSTOMHANDLER_PORT", "0", "a whole number from 1 to 65535"),
        ("STYLIST_TOOL_CALL_RECURSION_LIMIT", "0", "a whole number from 1 to 64"),
        ("STYLIST_TOOL_CALL_RECURSION_LIMIT", "65", "a whole number from 1 to 64"),
        ("PLUCKIT_BIND", "localhost", "an IP address"),
        ("PLUCKIT_DEMO", "perhaps", "true or false"),
        ("COSMOS_DB_EMULATOR", "2", "true or false"),
        ("PLUCKIT_ALLOW_EMBEDDED", "sure", "true or false"),
        ("PLUCKIT_ALLOW_INSECURE_DEV", "sure", "true or false"),
        ("COSMOS_DB_ENDPOINT", "account", "an http or https URL without user name and password"),
        ("AZURE_OPENAI_ENDPOINT", "ftp://host", "an http or https URL without user name and password"),
        ("OPENAI_BASE_URL", "localhost:8080", "an http or https URL without user name and password"),
        ("GOOGLE_JWKS_URL", "https://", "an http or https URL without user name and password"),
    ] {
        assert_eq!(refusal(&[(name, got)]), format!("{name} is {got:?}: expected {expected}"));
    }
    // What breaks the line of the message is shown escaped.
    let message = refusal(&[("PORT", "1\n2")]);
    assert_eq!(message, r#"PORT is "1\n2": expected a whole number from 0 to 65535"#);
}

#[test]
fn an_address_with_a_password_is_refused_without_showing_it() {
    for address in [
        "https://ada:hunter2@models.example/v1",
        "https://hunter2@models.example/v1",
        "https://:hunter2@models.example/v1",
        "https://ada:hunter2@[broken/v1",
        "https://ada:p/hunter2@models.example/v1",
        "ftp://ada:hunter2@models.example",
    ] {
        for name in ["OPENAI_BASE_URL", "COSMOS_DB_ENDPOINT", "GOOGLE_JWKS_URL", "StorageQueue__queueServiceUri"] {
            let error = read(&[(name, address)]).unwrap_err();
            for text in [error.to_string(), format!("{error:?}")] {
                assert!(text.contains(name) && text.contains("without user name and password"), "{text}");
                assert!(!text.contains("hunter2") && !text.contains("ada"), "{text}");
            }
        }
    }
    // An `@` in the path does not indicate a password.
    assert!(read(&[("OPENAI_BASE_URL", "https://models.example/@team/v1")]).is_ok());
}

#[test]
fn blank_is_unset_and_edges_are_trimmed() {
    let config =
        read(&[("PORT", "  "), ("COSMOS_DB_ENDPOINT", ""), ("COSMOS_DB_KEY", " "), ("LOCAL_DEV_USER_ID", " ada ")])
            .unwrap();
    assert_eq!(config.server.port, 7071);
    assert!(matches!(config.documents, Documents::Embedded { .. }));
    assert_eq!(config.identity.local_dev_user.as_str(), "ada");
    let source = |name| config.effective.iter().find(|setting| setting.name == name).unwrap().source;
    assert_eq!((source("PORT"), source("LOCAL_DEV_USER_ID")), (Source::Default, Source::Environment));
}

#[test]
fn lists_are_split_and_blanks_dropped() {
    let config = read(&[
        ("GOOGLE_CLIENT_ID", "web"),
        ("GOOGLE_ALLOWED_CLIENT_IDS", "ios; android,,"),
        ("ADMIN_USER_IDS", "ada, grace"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example, https://b.example"),
        ("AZURE_FUNCTIONS_ENVIRONMENT", "Development"),
    ])
    .unwrap();
    assert_eq!(config.identity.google_client_ids, ["web", "ios", "android"]);
    assert_eq!(config.identity.admins.len(), 2);
    for origin in ["https://a.example", "https://b.example"] {
        assert!(config.server.allowed_origins.allows(origin.as_bytes()), "{origin}");
    }
    assert!(config.server.allowed_origins.ignored().is_empty());
}

#[test]
fn secrets_are_masked_wherever_settings_are_shown() {
    let mut settings = with(&[]);
    settings.extend(secrets().into_iter().map(|name| (name, "AccountName=account;AccountKey=s3cr3t-value")));
    settings.push(("STORAGE_ACCOUNT_NAME", "clothes"));
    settings.push(("AZURE_OPENAI_ENDPOINT", "https://models.azure.example"));
    let both_model_servers = read(&settings).unwrap();
    settings.retain(|(name, _)| *name != "AZURE_OPENAI_ENDPOINT");
    for config in [both_model_servers, read(&settings).unwrap()] {
        assert!(!format!("{config:?}").contains("s3cr3t"), "{config:?}");
        for name in secrets() {
            assert_eq!(shown(&config, name), "********", "{name}");
        }
    }
    // A secret that is not set is not shown as if it were.
    assert_eq!(shown(&read(&[]).unwrap(), "COSMOS_DB_KEY"), "");
}

// --- Back ends ------------------------------------------------------------------------------------------------------

#[test]
fn the_endpoint_chooses_the_store() {
    let config = read(&with(&[("COSMOS_DB_MOODS_CONTAINER", "Trends"), ("COSMOS_DB_KEY", "key")])).unwrap();
    let Documents::Cosmos(cosmos) = config.documents else { panic!("not Cosmos DB") };
    assert_eq!(cosmos.database, "PluckIt");
    assert!(cosmos.key.is_some() && !cosmos.emulator);
    let names: Vec<_> = cosmos.containers.values().map(String::as_str).collect();
    assert!(names.contains(&"Trends") && names.contains(&"Wardrobe") && !names.contains(&"Moods"));
    // Only emulators listen on loopback.
    for endpoint in ["https://localhost:8081", "http://127.0.0.1:8081", "https://[::1]:8081"] {
        let config = read(&[("COSMOS_DB_ENDPOINT", endpoint)]).unwrap();
        assert!(matches!(config.documents, Documents::Cosmos(cosmos) if cosmos.emulator), "{endpoint}");
    }
}

#[test]
fn the_model_is_azure_before_any_other_server_before_none() {
    let azure = ("AZURE_OPENAI_ENDPOINT", "https://models.azure.example");
    let other = ("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1");
    let model = |settings: &[(&str, &str)]| read(settings).unwrap().model.unwrap();
    assert!(model(&[azure, other]).azure_version.is_some());
    assert!(model(&[other]).azure_version.is_none());
    // Small tasks go to the stylist's model unless there is one for them.
    assert_eq!(model(&[azure, ("AZURE_OPENAI_DEPLOYMENT", "big")]).nano_model, "big");
    assert_eq!(model(&[other, ("OPENAI_MODEL", "big"), ("OPENAI_NANO_MODEL", "small")]).nano_model, "small");
}

#[test]
fn storage_is_found_by_connection_string_key_or_identity() {
    let queues = |settings: &[_]| read(settings).unwrap().storage.queues;
    let text = ("StorageQueue", "UseDevelopmentStorage=true");
    let host = ("AzureWebJobsStorage", "UseDevelopmentStorage=true");
    let service = ("StorageQueue__queueServiceUri", "https://clothes.queue.core.windows.net");
    let name = ("STORAGE_ACCOUNT_NAME", "clothes");
    let key = ("STORAGE_ACCOUNT_KEY", "a2V5");
    assert!(matches!(queues(&[text, service, name, key]), Some(StorageAccount::ConnectionString(_))));
    assert!(matches!(queues(&[service, name, key]), Some(StorageAccount::Identity { .. })));
    assert!(matches!(queues(&[name, key, host]), Some(StorageAccount::Key { .. })));
    assert!(matches!(queues(&[name]), Some(StorageAccount::Identity { service, .. })
        if service.as_str() == "https://clothes.queue.core.windows.net/"));
    let blobs = |settings: &[_]| read(settings).unwrap().storage.blobs;
    assert!(matches!(blobs(&[name, key, host]), Some(StorageAccount::Key { .. })));
    assert!(matches!(blobs(&[text, host]), Some(StorageAccount::ConnectionString(_))));
    assert!(blobs(&[text]).is_none());
}

// --- Who is trusted -------------------------------------------------------------------------------------------------

#[test]
fn settings_for_others_mean_production() {
    for settings in [
        &[("GOOGLE_CLIENT_ID", "web"), ("PLUCKIT_ALLOW_EMBEDDED", "1")][..],
        &[("GOOGLE_ALLOWED_CLIENT_IDS", "web"), ("PLUCKIT_ALLOW_EMBEDDED", "1")],
        &[("AZURE_FUNCTIONS_ENVIRONMENT", "Staging"), ("PLUCKIT_ALLOW_EMBEDDED", "1")],
        &[("FUNCTIONS_CUSTOMHANDLER_PORT", "5001"), ("PLUCKIT_ALLOW_EMBEDDED", "1")],
        &REMOTE,
    ] {
        let config = read(settings).unwrap();
        assert_eq!(config.environment, Environment::Production, "{settings:?}");
        assert_eq!(config.server.bind.to_string(), "127.0.0.1");
    }
    for spelling in ["Development", "development", "DEVELOPMENT"] {
        let config = read(&with(&[("AZURE_FUNCTIONS_ENVIRONMENT", spelling)])).unwrap();
        assert_eq!(config.environment, Environment::Development, "{spelling}");
    }
}

#[test]
fn development_is_open_to_loopback_alone() {
    for address in ["0.0.0.0", "::", "192.168.1.7"] {
        let message = refusal(&[("PLUCKIT_BIND", address)]);
        assert!(message.contains(REFUSES_OPEN_DOOR) && message.contains(address), "{message}");
        assert!(!message.contains('\n'), "{message}");
        assert!(read(&[("PLUCKIT_BIND", address), ("PLUCKIT_ALLOW_INSECURE_DEV", "1")]).is_ok());
        assert!(read(&with(&[("PLUCKIT_BIND", address)])).is_ok(), "production may listen on {address}");
    }
    assert!(read(&[("PLUCKIT_BIND", "::1")]).is_ok());
}

#[test]
fn development_is_refused_on_azure() {
    let development = ("AZURE_FUNCTIONS_ENVIRONMENT", "Development");
    // The host always is on loopback, so the address says nothing there.
    let host = ("FUNCTIONS_CUSTOMHANDLER_PORT", "5001");
    let allowed = ("PLUCKIT_ALLOW_INSECURE_DEV", "1");
    for mark in [
        ("WEBSITE_INSTANCE_ID", "4f"),
        ("WEBSITE_POD_NAME", "pod-1"),
        ("WEBSITE_SKU", "FlexConsumption"),
        ("WEBSITE_OWNER_NAME", "1234+group-westeurope"),
        ("WEBSITE_HOSTNAME", "pluckit.azurewebsites.net"),
    ] {
        for more in [&[][..], &[host], &[allowed], &[host, allowed]] {
            let settings = with(&[&[development, mark], more].concat());
            let message = refusal(&settings);
            assert!(message.contains(REFUSES_OPEN_DOOR) && message.contains(mark.0), "{message}");
            assert!(!message.contains("PLUCKIT_ALLOW_INSECURE_DEV"), "it would not help: {message}");
        }
        // Without a word about the environment it is production, as far as anything else says so.
        assert!(read(&with(&[mark])).is_ok());
        assert!(refusal(&[mark]).contains(REFUSES_OPEN_DOOR));
    }
    assert!(read(&with(&[development, host, ("WEBSITE_HOSTNAME", "localhost:7071")])).is_ok());
}

#[test]
fn development_in_a_container_must_be_meant() {
    let development = ("AZURE_FUNCTIONS_ENVIRONMENT", "Development");
    for mark in [("CONTAINER_NAME", "4f"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")] {
        let message = refusal(&with(&[development, mark]));
        assert!(message.contains(REFUSES_OPEN_DOOR) && message.contains(mark.0), "{message}");
        assert!(read(&with(&[development, mark, ("PLUCKIT_ALLOW_INSECURE_DEV", "1")])).is_ok());
        assert!(read(&with(&[mark])).is_ok());
    }
}

#[test]
fn the_development_user_is_one_who_can_have_documents() {
    for id in [".", "..", "a/b", "a?b", "#"] {
        let message = refusal(&[("LOCAL_DEV_USER_ID", id)]);
        assert!(message.starts_with("LOCAL_DEV_USER_ID is "), "{message}");
    }
}

#[test]
fn only_development_gets_the_embedded_store_and_the_offline_model() {
    let production = ("AZURE_FUNCTIONS_ENVIRONMENT", "Production");
    let host = ("FUNCTIONS_CUSTOMHANDLER_PORT", "5001");
    let google = ("GOOGLE_CLIENT_ID", "web");
    let development = ("AZURE_FUNCTIONS_ENVIRONMENT", "Development");
    for settings in [&[production][..], &[host], &[google], &[host, development]] {
        let message = refusal(settings);
        assert!(message.contains(REFUSES_EMBEDDED) && message.contains("COSMOS_DB_ENDPOINT"), "{message}");
        let half = [settings, &[REMOTE[0]]].concat();
        let message = refusal(&half);
        assert!(message.contains(REFUSES_EMBEDDED) && message.contains("OPENAI_BASE_URL"), "{message}");
        assert!(read(&[settings, &REMOTE].concat()).is_ok());
        assert!(read(&[settings, &[("PLUCKIT_ALLOW_EMBEDDED", "1")]].concat()).is_ok());
    }
}

#[test]
fn the_host_says_where_to_listen() {
    let config = read(&with(&[("FUNCTIONS_CUSTOMHANDLER_PORT", "5001"), ("PORT", "80"), ("PLUCKIT_BIND", "0.0.0.0")]));
    let server = config.unwrap().server;
    assert!(server.under_functions_host);
    assert_eq!((server.bind.to_string().as_str(), server.port), ("127.0.0.1", 5001));
}

// --- Where values come from -----------------------------------------------------------------------------------------

/// Runs the binary with nothing but these variables, beside this `local.settings.json`.
fn run(arguments: &[&str], variables: &[(&str, &str)], local_settings: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("local.settings.json"), local_settings).unwrap();
    let mut command = bare(env!("CARGO_BIN_EXE_pluckit"), directory.path());
    command.args(arguments).envs(variables.iter().copied()).output().unwrap()
}

fn effective(variables: &[(&str, &str)], local_settings: &str) -> BTreeMap<String, (String, String)> {
    let output = run(&["config", "--json"], variables, local_settings);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<BTreeMap<String, Value>> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(&row["name"]), (text(&row["value"]), text(&row["source"])))).collect()
}

#[test]
fn the_environment_wins_over_local_settings_wins_over_defaults() {
    let file = r#"{"IsEncrypted": false, "Values": {"PORT": "8001", "LOCAL_DEV_USER_ID": "ada", "PLUCKIT_DEMO": ""}}"#;
    let settings = effective(&[("PORT", "8002")], file);
    let is = |value: &str, source: &str| (value.to_owned(), source.to_owned());
    assert_eq!(settings["PORT"], is("8002", "environment"));
    assert_eq!(settings["LOCAL_DEV_USER_ID"], is("ada", "local.settings.json"));
    assert_eq!(settings["PLUCKIT_DEMO"], is("true", "default"));
}

#[test]
fn the_command_line_wins_over_the_environment() {
    // PORT would be refused if it counted; the address that is refused is the flag's.
    let output = run(&["--port", "0", "--bind", "0.0.0.0"], &[("PORT", "x"), ("PLUCKIT_BIND", "127.0.0.1")], "{}");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("pluckit: PLUCKIT_BIND is 0.0.0.0 in development"), "{message}");
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn local_settings_are_for_development() {
    let file = r#"{"Values": {"PORT": "8001", "LOCAL_DEV_USER_ID": "ada"}}"#;
    let production = [("AZURE_FUNCTIONS_ENVIRONMENT", "Production"), ("PLUCKIT_ALLOW_EMBEDDED", "1")];
    assert_eq!(effective(&production, file)["PORT"].0, "7071");
    let under_host = [("FUNCTIONS_CUSTOMHANDLER_PORT", "5001"), ("PLUCKIT_ALLOW_EMBEDDED", "1")];
    assert_eq!(effective(&under_host, file)["LOCAL_DEV_USER_ID"].0, "local-dev-user");
}

#[test]
fn unreadable_local_settings_stop_the_start_without_showing_them() {
    let output = run(&["config"], &[], "{\"Values\": {\n\"COSMOS_DB_KEY\": \"s3cr3t\",,}}");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("pluckit: local.settings.json cannot be read: "), "{message}");
    assert!(message.contains("line 2") && !message.contains("s3cr3t"), "{message}");
    for (values, fault) in [
        (r#"{"PORT": 7578}"#, "the value of PORT must be a text in quotes"),
        (r#"{"A": "b", "COSMOS_DB_KEY": null}"#, "the value of COSMOS_DB_KEY must be a text in quotes"),
        ("[]", "\"Values\" must be an object"),
    ] {
        let output = run(&["config"], &[], &format!("{{\"Values\": {values}}}"));
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(message, format!("pluckit: local.settings.json cannot be read: {fault}\n"), "{values}");
        assert_eq!(output.status.code(), Some(1), "{values}");
    }
}

#[test]
fn local_settings_without_values_are_told() {
    for file in ["{}", "[]", r#"{"PORT": "8001"}"#] {
        let output = run(&["config", "--json"], &[], file);
        let warning = "pluckit: warning: local.settings.json is ignored: it has no object \"Values\"\n";
        assert_eq!(String::from_utf8(output.stderr).unwrap(), warning, "{file}");
        assert!(output.status.success(), "{file}");
    }
}
