//! The order of the folders of `src/`: each uses only those that stand above it.

use std::fs;
use std::path::{Path, PathBuf};

/// The crate `imaging`, the folders, and `state.rs`, from the bottom to the top.
const ORDER: [&str; 22] = [
    "imaging",
    "base",
    "model",
    "config",
    "telemetry",
    "net",
    "sqlite",
    "azure",
    "store",
    "queue",
    "blob",
    "llm",
    "data",
    "identity",
    "domain",
    "state",
    "mcp",
    "http",
    "routes",
    "workers",
    "app",
    "cli",
];

/// Folders side by side in [`ORDER`] that do not use each other, though one stands above the other.
const STRANGERS: [(&str, &str); 1] = [("workers", "routes")];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What is wrong with a file's use of other folders.
fn faults(folder: &str, text: &str) -> Vec<String> {
    let rank = |name: &str| ORDER.iter().position(|known| *known == name);
    let mut found = Vec::new();
    for path in text.split("crate::").skip(1) {
        let used = path.split(|character: char| !character.is_ascii_lowercase() && character != '_').next().unwrap();
        match (rank(folder), rank(used)) {
            (Some(own), Some(other)) if other <= own && !STRANGERS.contains(&(folder, used)) => {}
            (Some(_), Some(_)) => found.push(format!("{folder} uses {used}")),
            _ => found.push(format!("{folder} uses {used}, and ORDER lacks one of them")),
        }
    }
    // A line of documentation may name it.
    let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    if rank(folder) < rank("state") && code.any(|line| line.contains("axum::")) {
        found.push(format!("{folder} uses axum"));
    }
    found
}

#[test]
fn a_folder_uses_only_those_above_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    assert!(files.len() > 150, "the sources were not found");
    let mut wrong = Vec::new();
    for file in files {
        let name = file.strip_prefix(&source).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let folder = name.components().next().unwrap().as_os_str().to_str().unwrap();
        match folder {
            "lib.rs" | "main.rs" => {}
            "state.rs" => {
                wrong.extend(faults("state", &text).into_iter().map(|fault| format!("{}: {fault}", name.display())))
            }
            loose if loose.ends_with(".rs") => wrong.push(format!("{loose}: lies loose in src")),
            folder => {
                wrong.extend(faults(folder, &text).into_iter().map(|fault| format!("{}: {fault}", name.display())))
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The other routes that a file of `routes` uses. `name` is its path below `routes`.
fn routes_used(name: &Path, text: &str, routes: &[String]) -> Vec<String> {
    let own = name.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
    let is_loose = name.components().count() == 1;
    let mut found: Vec<String> = Vec::new();
    for route in routes.iter().filter(|route| *route != own) {
        let paths = [format!("crate::routes::{route}"), format!("super::super::{route}"), format!("super::{route}")];
        let searched = if is_loose { &paths[..] } else { &paths[..2] };
        if searched.iter().any(|path| text.contains(&format!("{path}::")) || text.contains(&format!("{path};"))) {
            found.push(format!("{own} uses {route}"));
        }
    }
    found
}

#[test]
fn routes_do_not_use_other_routes() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/routes");
    let mut files = Vec::new();
    sources(&source, &mut files);
    let names: Vec<&Path> = files.iter().map(|file| file.strip_prefix(&source).unwrap()).collect();
    let first = |name: &&Path| name.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
    let routes: Vec<String> = names.iter().map(first).map(|name| name.trim_end_matches(".rs").to_owned()).collect();
    assert!(routes.len() > 25, "the routes were not found");
    let used = files.iter().zip(&names).filter(|(_, name)| **name != Path::new("mod.rs"));
    let wrong: Vec<String> =
        used.flat_map(|(file, name)| routes_used(name, &fs::read_to_string(file).unwrap(), &routes)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let [media, wardrobe] = ["media.rs", "wardrobe/cutouts.rs"].map(Path::new);
    assert_eq!(routes_used(media, "use super::wardrobe::NO_ITEM;", &routes)[0], "media uses wardrobe");
    assert_eq!(routes_used(wardrobe, "use crate::routes::media::BAD_MODE;", &routes)[0], "wardrobe uses media");
}

#[test]
fn a_wrong_use_is_found() {
    assert_eq!(faults("store", "use crate::domain::chat::Chat;"), ["store uses domain"]);
    assert_eq!(faults("workers", "use crate::routes;"), ["workers uses routes"]);
    assert_eq!(faults("domain", "use crate::storage::Disk;"), ["domain uses storage, and ORDER lacks one of them"]);
    assert_eq!(faults("domain", "use axum::http::HeaderMap;"), ["domain uses axum"]);
    assert!(faults("domain", "use crate::store::Key;").is_empty());
    assert!(faults("http", "use axum::http::HeaderMap;").is_empty());
}
