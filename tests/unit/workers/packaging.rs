//! The package for the Functions host, against the list of functions.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use pluckit::workers::package;
use pluckit::workers::{FUNCTIONS, TIME_LIMIT, Trigger, functions};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::SCRIPTED;
use crate::support::{host, model_file};

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn names(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_package_is_what_the_list_says() {
    let of_wardrobe: BTreeSet<_> = FUNCTIONS[functions(false).len()..].iter().map(|function| function.name).collect();
    assert_eq!(
        of_wardrobe,
        ["ProcessImageJob", "ProcessImageJobDlq", "CleanUpOrphanBlobs", "CleanupAbandonedDrafts"].into()
    );
    for wardrobe_api in [false, true] {
        check_package(wardrobe_api);
    }
}

/// Checks the package that the binary writes, with the functions of the wardrobe API or without them.
fn check_package(wardrobe_api: bool) {
    let functions = functions(wardrobe_api);
    let directory = TempDir::new().unwrap();
    let dist = directory.path().join("dist");
    let flag: &[&str] = if wardrobe_api { &["--wardrobe-api"] } else { &[] };
    let made = package_command(&dist).args(flag).env("CUTOUT_MODEL", "off").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let mut expected: BTreeSet<String> =
        ["host.json", "http", "pluckit", ".funcignore", "local.settings.json"].map(str::to_owned).into();
    expected.extend(functions.iter().map(|function| function.name.to_owned()));
    assert_eq!(names(&dist), expected);
    assert_eq!(fs::read_to_string(dist.join("host.json")).unwrap(), package::HOST_JSON);
    assert_eq!(fs::metadata(dist.join("pluckit")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read(dist.join("pluckit")).unwrap(), fs::read(BINARY).unwrap());

    let http = read(&dist.join("http/function.json"));
    assert_eq!(http["bindings"][0]["route"], "{*path}");
    assert_eq!(http["bindings"][0]["authLevel"], "anonymous");
    assert_eq!(http["bindings"].as_array().unwrap().len(), 2, "a proxied function has these two and no more");

    let settings = read(&dist.join("local.settings.json"));
    assert_eq!(settings["Values"]["WARDROBE_API"].as_str(), wardrobe_api.then_some("true"));
    for function in functions {
        let folder = dist.join(function.name);
        assert_eq!(names(&folder), BTreeSet::from(["function.json".to_owned()]));
        let written = read(&folder.join("function.json"));
        let bindings = written["bindings"].as_array().unwrap();
        let [binding] = bindings.as_slice() else { panic!("{written}") };
        let (kind, place, setting, suffix) = match &function.trigger {
            Trigger::Queue(trigger) => ("queueTrigger", "queueName", trigger.setting, trigger.suffix),
            Trigger::Timer(trigger) => ("timerTrigger", "schedule", trigger.setting, ""),
        };
        assert_eq!(binding["type"], kind);
        assert_eq!(binding["direction"], "in");
        assert_eq!(binding[place], format!("%{setting}%{suffix}"));
        assert!(settings["Values"][setting].is_string(), "{setting} is in local.settings.json");
    }
    for (name, value) in [
        ("FUNCTIONS_WORKER_RUNTIME", "custom"),
        ("AzureWebJobsStorage", "UseDevelopmentStorage=true"),
        ("StorageQueue", "UseDevelopmentStorage=true"),
    ] {
        assert_eq!(settings["Values"][name], value);
    }
    assert!(fs::read_to_string(dist.join(".funcignore")).unwrap().contains("local.settings.json"));
}

fn package_command(dist: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["package", "--out"]).arg(dist);
    command
}

#[test]
#[ignore = "needs the background-removal network: run scripts/test"]
fn the_package_has_the_network_for_cut_outs_with_its_licence() {
    let directory = TempDir::new().unwrap();
    let dist = directory.path().join("dist");
    let made = package_command(&dist).env("CUTOUT_MODEL", model_file()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let models = dist.join(package::MODELS);
    assert_eq!(names(&models), ["LICENSE-u2netp", "u2netp.onnx"].map(str::to_owned).into());
    assert_eq!(fs::read(models.join("u2netp.onnx")).unwrap(), fs::read(model_file()).unwrap());
    // Beside the binary, where it is found without a setting.
    let doctor = Command::new(dist.join("pluckit"))
        .args(["doctor", "--json"])
        .current_dir(directory.path())
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains("u2netp.onnx works"), "{said}");
}

#[test]
fn host_json_is_what_our_own_numbers_assume() {
    let host: Value = serde_json::from_str(package::HOST_JSON).unwrap();
    let limit = host::span(host["functionTimeout"].as_str().unwrap());
    assert_eq!(TIME_LIMIT.as_secs() + 60, limit.as_secs());
    assert_eq!(host["customHandler"]["enableProxyingHttpRequest"], true);
    assert_eq!(host["customHandler"]["description"]["defaultExecutablePath"], package::BINARY);
    assert_eq!(host["extensions"]["http"]["routePrefix"], "api");
    let queues = &host["extensions"]["queues"];
    assert_eq!(queues["maxDequeueCount"], 5);
    assert_eq!(host::span(queues["visibilityTimeout"].as_str().unwrap()).as_secs(), 30);
    assert_eq!(queues["messageEncoding"], "base64");
    // Queries and alerts count lines of the log.
    let sampling = &host["logging"]["applicationInsights"]["samplingSettings"];
    assert!(sampling["excludedTypes"].as_str().unwrap().split(';').any(|kind| kind == "Trace"));
    // With routes of its own the host refuses to start beside any function.json.
    assert_eq!(host["customHandler"].get("http"), None);
}

#[test]
fn queue_and_timer_functions_bind_as_the_host_wants() {
    assert_eq!(
        package::function_json(&SCRIPTED[0]),
        json!({"bindings": [{
            "type": "queueTrigger", "direction": "in", "name": "item",
            "queueName": "%TASTE_JOB_QUEUE_NAME%", "connection": "StorageQueue",
        }]})
    );
    let timer = package::function_json(&SCRIPTED[2]);
    assert_eq!(timer["bindings"][0]["runOnStartup"], false);
    assert_eq!(timer["bindings"][0]["useMonitor"], true);
    assert_eq!(timer["retry"]["strategy"], "exponentialBackoff");
}

#[test]
fn a_package_is_written_over_but_nothing_else_is() {
    let directory = TempDir::new().unwrap();
    let dist = directory.path().join("dist");
    package::write(&SCRIPTED, &dist, Path::new(BINARY), None).unwrap();
    fs::write(dist.join("local.settings.json"), "{\"mine\":1}").unwrap();
    fs::create_dir(dist.join("data")).unwrap();
    package::write(FUNCTIONS, &dist, Path::new(BINARY), None).unwrap();
    assert!(!dist.join("Scripted").exists(), "the host would go on to start it");
    assert!(dist.join(FUNCTIONS[0].name).join("function.json").exists());
    assert!(dist.join("data").exists());
    assert_eq!(read(&dist.join("local.settings.json")), json!({"mine": 1}));

    for (file, content) in [("notes.txt", ""), ("host.json", package::HOST_JSON), ("host.json", "{}")] {
        let foreign = TempDir::new().unwrap();
        fs::write(foreign.path().join(file), content).unwrap();
        let refused = package::write(FUNCTIONS, foreign.path(), Path::new(BINARY), None).unwrap_err();
        assert!(refused.to_string().contains("choose another directory"), "{refused}");
        assert_eq!(names(foreign.path()).len(), 1);
    }
}

#[test]
fn a_running_binary_can_be_packaged_over() {
    let directory = TempDir::new().unwrap();
    package::write(FUNCTIONS, directory.path(), Path::new("/bin/sleep"), None).unwrap();
    let mut running = Command::new(directory.path().join("pluckit")).arg("60").spawn().unwrap();
    let again = package::write(FUNCTIONS, directory.path(), Path::new(BINARY), None);
    running.kill().unwrap();
    running.wait().unwrap();
    again.unwrap();
    let missing = package::write(FUNCTIONS, directory.path(), Path::new("/nowhere/pluckit"), None).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/pluckit"), "{missing}");
    let script = directory.path().join("host.json");
    let refused = package::write(FUNCTIONS, directory.path(), &script, None).unwrap_err();
    assert!(refused.to_string().contains("is not a Linux program"), "{refused}");
}
