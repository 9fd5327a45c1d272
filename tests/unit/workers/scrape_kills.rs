//! The daily scrape of many sources while the process is killed with SIGKILL at random moments: each source is scraped
//! exactly once.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use pluckit::app::{self, Backends};
use pluckit::base::clock::{Clock, SystemClock};
use pluckit::config::{Config, Source};
use pluckit::data::Data;
use pluckit::domain::scraper::polite::HostThrottle;
use pluckit::store::{Container, Filter, Key, Query};
use pluckit::telemetry::Telemetry;
use pluckit::workers::daily_scrape;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::time;

use super::poison::open_data;
use crate::support::feeds::{listing, post, seed, show_picture};
use crate::support::intercepted::{Call, Fate, Intercepted, Interceptor};
use crate::support::process::{Process, ROLE, start_workers, up_to};
use crate::support::until;
use crate::support::web::{self, Web};

const SERVICE: &str = "workers::scrape_kills::process_of_the_scraper";
const SOURCES: usize = 50;
const KILLS: usize = 20;
/// Where the process writes down what it did, a line each: it cannot tell otherwise.
const JOURNAL: &str = "PLUCKIT_TEST_JOURNAL";
/// Seconds by which the process's clock is ahead: the day must not end meanwhile.
const SHIFT: &str = "PLUCKIT_TEST_CLOCK_SHIFT";
const PATIENCE: Duration = Duration::from_secs(300);

fn name(number: usize) -> String {
    format!("sub{number}")
}

/// Adds a line. One small write to a file opened for appending is whole or not there.
fn note(journal: &Path, line: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(journal).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The system's clock, ahead by so much.
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> OffsetDateTime {
        SystemClock.now() + self.0
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }
}

/// Time from now to the next noon.
fn until_noon() -> Duration {
    let now = SystemClock.now();
    let noon = now.replace_time(time!(12:00));
    let noon = if noon < now { noon + Duration::from_secs(24 * 60 * 60) } else { noon };
    (noon - now).unsigned_abs()
}

/// Notes when a source's daily scrape is written down as done.
struct Noted(PathBuf);

impl Interceptor for Noted {
    fn before(&self, _: &Call<'_>) -> Fate {
        Fate::Passes
    }

    fn after(&self, call: &Call<'_>) {
        // The last write of a run: it gives the lease back and says when.
        if let (Some(Container::ScraperSources), "store.replace", Some(source)) =
            (call.container, call.name, call.document)
            && source["leaseOwner"].is_null()
            && source["lastDailyRun"].is_string()
        {
            note(&self.0, &format!("done {}", source["id"].as_str().unwrap()));
        }
    }
}

/// Runs only when the test starts it as a process of its own; then until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process that other tests start"]
#[expect(clippy::disallowed_methods, reason = "as a process of its own it is the service, and reads its settings")]
async fn process_of_the_scraper() {
    if std::env::var(ROLE).is_err() {
        return;
    }
    let journal = PathBuf::from(std::env::var(JOURNAL).unwrap());
    let config = Config::read(|name| std::env::var(name).ok().map(|value| (value, Source::Environment))).unwrap();
    let listener = app::listen(&config).await.unwrap();
    let web = Web::start().await;
    for number in 0..SOURCES {
        let (subreddit, journal) = (name(number), journal.clone());
        let posts: Vec<Value> =
            (0..3).map(|post_number| post(&subreddit, &format!("{number}x{post_number}"))).collect();
        for post_number in 0..3 {
            let picture = format!("{number}x{post_number}");
            show_picture(&web, &format!("https://i.redd.it/{picture}.png"), seed(&picture));
        }
        let answer = listing(&posts).to_string();
        web.page(&format!("https://www.reddit.com/r/{subreddit}/hot.json"), move |_| {
            note(&journal, &format!("fetch reddit-{subreddit}"));
            web::page("application/json", answer.clone())
        });
    }
    let backends = Backends::open(&config, listener.local_addr().unwrap(), Telemetry::off()).unwrap();
    let backends = Backends {
        store: Intercepted::new(backends.store.clone(), Arc::new(Noted(journal))),
        web: Arc::new(web.client()),
        throttle: Arc::new(HostThrottle::new(Duration::from_millis(20))),
        clock: Arc::new(Ahead(Duration::from_secs(std::env::var(SHIFT).unwrap().parse().unwrap()))),
        ..backends
    };
    let app = app::state(config, backends);
    start_workers(&app);
    app::serve(listener, app).await.unwrap();
}

/// What the journal says of each source, in order.
fn read(journal: &Path) -> HashMap<String, Vec<String>> {
    let mut notes: HashMap<String, Vec<String>> = HashMap::new();
    for line in std::fs::read_to_string(journal).unwrap_or_default().lines() {
        let (what, source) = line.split_once(' ').unwrap();
        notes.entry(source.to_owned()).or_default().push(what.to_owned());
    }
    notes
}

/// How many sources are done for the day.
async fn done(data: &Data) -> usize {
    let sources: Vec<_> = data.sources.global().try_collect().await.unwrap();
    sources.iter().filter(|source| source.last_daily_run.is_some()).count()
}

/// Waits until the timer has run once more.
async fn until_timer(data: &Data) {
    let last_run =
        async || data.timers.find(daily_scrape::FUNCTION).await.unwrap().and_then(|state| state.completed_at);
    let before = last_run().await;
    until("the timer has run", async || last_run().await > before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_sources_are_scraped_once_a_day_through_twenty_kills() {
    let directory = TempDir::new().unwrap();
    let journal = directory.path().join("journal");
    let settings: BTreeMap<String, String> = [
        ("PLUCKIT_DATA_DIR", directory.path().to_str().unwrap()),
        ("PLUCKIT_DEMO", "false"),
        ("JOB_RETRY_BASE_SECONDS", "1"),
        // Far more often than once a day.
        ("SCRAPER_SCHEDULE", "*/3 * * * * *"),
        (JOURNAL, journal.to_str().unwrap()),
        (SHIFT, &until_noon().as_secs().to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let data = open_data(directory.path());
    for number in 0..SOURCES {
        let source = json!({
            "id": format!("reddit-{}", name(number)), "sourceType": "reddit", "isGlobal": true, "isActive": true,
            "config": {"subreddit": name(number)}, "kept": number,
        });
        let key = Key::new(Container::ScraperSources, "reddit", source["id"].as_str().unwrap());
        data.store.upsert(&key, &source).await.unwrap();
    }

    let mut process = Process::start(SERVICE, &settings).await;
    for kill in 0..KILLS {
        // Spread over the work: none hits an idle process.
        let enough = SOURCES * kill / KILLS / 2;
        wait_for(&data, enough).await;
        tokio::time::sleep(up_to(Duration::from_millis(150))).await;
        process.kill_and_restart().await;
    }
    assert!(done(&data).await < SOURCES, "the last kill found work to do");
    wait_for(&data, SOURCES).await;
    // The timer comes again, and finds nothing to do.
    let fetches = read(&journal);
    until_timer(&data).await;
    until_timer(&data).await;
    assert_eq!(read(&journal), fetches);
    process.kill().await;

    let notes = read(&journal);
    assert_eq!(notes.len(), SOURCES);
    let mut noted = 0;
    for (source, notes) in &notes {
        let times = notes.iter().filter(|note| *note == "done").count();
        let is_last = times == 0 || notes.last().is_some_and(|note| note == "done");
        assert!(times <= 1 && is_last, "{source}: {notes:?}");
        noted += times;
    }
    assert!(noted + KILLS >= SOURCES, "a kill between the write and its note hides one");
    let mut items = 0;
    for number in 0..SOURCES {
        let id = format!("reddit-{}", name(number));
        let stored =
            data.store.read(&Key::new(Container::ScraperSources, "reddit", id.as_str())).await.unwrap().unwrap();
        let source: Value = stored.parse().unwrap();
        assert_eq!(source["kept"], number, "what others keep there");
        let of_source = Filter::equal("sourceId", id.as_str());
        let found = Query::partition(Container::ScrapedItems, "global").matching(of_source);
        items += data.store.query(&found).await.unwrap().documents.len();
    }
    assert_eq!(items, 3 * SOURCES, "every post is there once");
}

async fn wait_for(data: &Data, sources: usize) {
    let wait = async {
        while done(data).await < sources {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("{} of {sources} sources are done", done(data).await);
    }
}
