//! Clients of the service: each device acts sequentially, repeats unanswered requests, and remembers what was
//! acknowledged.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use pluckit::model::ids::UserId;
use pluckit::store::{Container, Filter, PartitionIndex, Query};
use serde_json::{Value, json};

use crate::cluster::{Answer, Cluster, Instance, JOB, Sent};
use crate::dice::Dice;
use crate::model;
use crate::world::World;

/// Feed items that are voted on.
pub const ITEMS: [&str; 2] = ["reddit-0000000000000001", "reddit-0000000000000002"];
/// Attempts of a refused refresh, and the pause between two.
const REFRESHES: usize = 12;
const REFRESH_PAUSE: Duration = Duration::from_secs(6);

/// One device of a user.
pub struct Device {
    cluster: Arc<Cluster>,
    world: Arc<World>,
    user: String,
    name: String,
    /// Whether it is the user's only device that writes the memory and votes.
    is_first: bool,
    address: IpAddr,
    dice: Dice,
    tokens: Option<(String, String)>,
    /// The memory last sent, and last acknowledged.
    memory: (u64, u64),
    /// Items by idempotency key, with whether they were acknowledged.
    items: BTreeMap<String, bool>,
    /// Chat runs by id, and their questions.
    runs: BTreeMap<String, String>,
    turns: u64,
    /// Jobs by id, with their number of steps.
    jobs: BTreeMap<String, u64>,
    jobs_asked: u64,
}

/// An event of a run, with its number.
struct Event {
    seq: u64,
    event: Value,
}

impl Device {
    pub fn new(cluster: &Arc<Cluster>, user: &str, number: u8) -> Self {
        let name = format!("{user}{number}");
        Self {
            world: cluster.world.clone(),
            cluster: cluster.clone(),
            user: user.to_owned(),
            is_first: number == 0,
            address: IpAddr::from([192, 0, 2, 10 * user.as_bytes()[0].wrapping_sub(b'a') + number]),
            dice: cluster.world.dice(&format!("device {name}")),
            name,
            tokens: None,
            memory: (0, 0),
            items: BTreeMap::new(),
            runs: BTreeMap::new(),
            turns: 0,
            jobs: BTreeMap::new(),
            jobs_asked: 0,
        }
    }

    fn violated(&self, what: &str) {
        self.world.violated(&format!("{}: {what}", self.name));
    }

    /// Uses the service until `end` of simulated time.
    pub async fn live(&mut self, end: Duration) {
        self.sign_in().await;
        while self.world.elapsed() < end {
            tokio::time::sleep(self.dice.pause(200, 6_000)).await;
            match self.dice.below(100) {
                0..15 => self.refresh().await,
                15..35 if self.is_first => self.remember().await,
                35..50 if self.is_first => {
                    let (item, signal) = (*self.dice.one_of(&ITEMS), *self.dice.one_of(&["up", "down"]));
                    self.vote(item, signal).await;
                }
                15..50 => drop(self.call(Method::GET, "/api/wardrobe", None, None).await),
                50..65 => self.add_item().await,
                65..85 => self.take_turn().await,
                _ => self.ask_for_job().await,
            }
        }
    }

    /// Waits for an instance that is up.
    async fn instance(&mut self) -> Arc<Instance> {
        loop {
            if let Some(instance) = self.cluster.any(&mut self.dice) {
                return instance;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn send(&mut self, method: Method, path: &str, key: Option<&str>, body: Option<Value>) -> Option<Answer> {
        let instance = self.instance().await;
        let token = self.tokens.as_ref().map(|(access, _)| access.as_str());
        let sent = Sent { method, path: path.to_owned(), token, key, body, address: self.address };
        instance.send(&sent).await
    }

    /// Sends a request with a session, refreshing it when it has expired.
    async fn call(&mut self, method: Method, path: &str, key: Option<&str>, body: Option<Value>) -> Option<Answer> {
        let answer = self.send(method.clone(), path, key, body.clone()).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Some(answer);
        }
        if self.world.profile.has_right_clocks() {
            self.violated("a session that is not old has ended");
        }
        self.refresh().await;
        self.send(method, path, key, body).await
    }

    async fn sign_in(&mut self) {
        loop {
            let instance = self.instance().await;
            if let Some(Ok(grant)) = instance.alive(instance.app.sessions.open(UserId::from(self.user.as_str()))).await
            {
                self.tokens = Some((grant.access_token, grant.refresh_token));
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Exchanges the refresh token, repeating the request until it is answered.
    async fn refresh(&mut self) {
        let Some((_, token)) = self.tokens.clone() else { return self.sign_in().await };
        let mut refusals = 0;
        while refusals < REFRESHES {
            let body = json!({ "refresh_token": token });
            let answer = self.send(Method::POST, "/api/auth/refresh", None, Some(body)).await;
            match answer.as_ref().map(|answer| answer.status) {
                Some(StatusCode::OK) => {
                    let grant = answer.map(|answer| answer.json()).unwrap_or_default();
                    let text = |name: &str| grant[name].as_str().unwrap_or_default().to_owned();
                    self.tokens = Some((text("access_token"), text("refresh_token")));
                    self.world.checks.lock().count("refreshes");
                    return;
                }
                Some(StatusCode::UNAUTHORIZED) => refusals += 1,
                _ => {}
            }
            tokio::time::sleep(REFRESH_PAUSE).await;
        }
        if self.world.profile.has_right_clocks() {
            self.violated("signed out, though every answer that was lost was asked for again");
        }
        self.sign_in().await;
    }

    /// Writes the next number to the memory.
    async fn remember(&mut self) {
        self.memory.0 += 1;
        let sent = self.memory.0;
        let body = json!({ "summary": sent.to_string() });
        let answer = self.call(Method::PUT, "/api/chat/memory", None, Some(body)).await;
        match answer.map(|answer| answer.status) {
            Some(StatusCode::OK) => {
                self.memory.1 = sent;
                self.world.checks.lock().count("memories acknowledged");
            }
            Some(StatusCode::TOO_MANY_REQUESTS) => self.violated("refused within the quota"),
            _ => {}
        }
    }

    /// Checks that the memory is the last one acknowledged, or one sent since.
    async fn check_memory(&mut self) {
        let (sent, acknowledged) = self.memory;
        let Some(answer) = self.call(Method::GET, "/api/chat/memory", None, None).await else { return };
        let Some(found) = answer.json()["summary"].as_str().map(str::to_owned) else { return };
        let found: u64 = if found.is_empty() { 0 } else { found.parse().unwrap() };
        if !(acknowledged..=sent).contains(&found) {
            self.violated(&format!("the memory is {found}; {acknowledged} was acknowledged, {sent} was sent last"));
        }
    }

    async fn vote(&mut self, item: &str, signal: &str) -> bool {
        let path = format!("/api/scraper/items/{item}/feedback");
        let answer = self.call(Method::POST, &path, None, Some(json!({ "signal": signal }))).await;
        answer.is_some_and(|answer| answer.status == StatusCode::OK)
    }

    /// Adds an item under an idempotency key, or repeats an unacknowledged one.
    async fn add_item(&mut self) {
        let open = self.items.iter().find(|(_, acknowledged)| !**acknowledged).map(|(key, _)| key.clone());
        let key =
            open.filter(|_| self.dice.chance(700)).unwrap_or_else(|| format!("{}-{}", self.name, self.items.len()));
        self.items.entry(key.clone()).or_default();
        self.send_item(&key).await;
    }

    async fn send_item(&mut self, key: &str) {
        let body = json!({ "category": "Tops", "brand": key });
        let answer = self.call(Method::POST, "/api/wardrobe", Some(key), Some(body)).await;
        if answer.is_some_and(|answer| answer.status == StatusCode::CREATED) {
            self.items.insert(key.to_owned(), true);
            self.world.checks.lock().count("items acknowledged");
        }
    }

    /// Asks the stylist, possibly disconnects, and resumes the answer.
    async fn take_turn(&mut self) {
        self.turns += 1;
        let question = format!("{}q{}", self.name, self.turns);
        let body = json!({ "message": question, "chatId": self.name, "onDisconnect": "continue" });
        let instance = self.instance().await;
        let token = self.tokens.as_ref().map(|(access, _)| access.as_str());
        let path = "/api/chat".to_owned();
        let sent = Sent { method: Method::POST, path, token, key: None, body: Some(body), address: self.address };
        let Some(response) = instance.begin(&sent).await else { return };
        if response.status() != StatusCode::OK {
            return;
        }
        let run = response.headers()["x-run-id"].to_str().unwrap().to_owned();
        self.world.checks.lock().count("turns begun");
        self.runs.insert(run.clone(), question);
        let patience = if self.dice.chance(400) { self.dice.pause(100, 3_000) } else { Duration::from_secs(60) };
        // Leaving is equivalent to a broken connection.
        drop(tokio::time::timeout(patience, instance.alive(response.into_body().collect())).await);
        if self.dice.chance(100) {
            self.call(Method::POST, &format!("/api/chat/runs/{run}/stop"), None, None).await;
        }
        if self.dice.chance(500) {
            self.follow(&run, Duration::from_secs(60)).await;
        }
    }

    /// Reads all events of a run, resuming after the last one whenever the connection breaks. Returns whether the run
    /// ended within the time limit.
    async fn follow(&mut self, run: &str, limit: Duration) -> bool {
        let (began, mut events) = (self.world.elapsed(), Vec::<Event>::new());
        while self.world.elapsed() < began + limit {
            let after = events.last().map_or(0, |last| last.seq);
            let instance = self.instance().await;
            let token = self.tokens.as_ref().map(|(access, _)| access.as_str());
            let path = format!("/api/chat/runs/{run}/events?after={after}");
            let sent = Sent { method: Method::GET, path, token, key: None, body: None, address: self.address };
            let response = instance.begin(&sent).await;
            match response.as_ref().map(Response::status) {
                Some(StatusCode::OK) => {
                    let left = (began + limit).saturating_sub(self.world.elapsed());
                    let read = read_events(response.unwrap(), &mut events);
                    drop(tokio::time::timeout(left, instance.alive(read)).await);
                }
                Some(StatusCode::NOT_FOUND) => self.violated(&format!("the run {run} is gone")),
                Some(StatusCode::UNAUTHORIZED) => self.refresh().await,
                _ => {}
            }
            let gap = events.iter().zip(1..).find(|(event, expected)| event.seq != *expected);
            if let Some((event, expected)) = gap {
                self.violated(&format!("event {} of run {run} came in the place of {expected}", event.seq));
                return true;
            }
            if events.last().is_some_and(|last| last.event["type"] == "done") {
                self.check_events(run, &events);
                return true;
            }
            tokio::time::sleep(self.dice.pause(500, 3_000)).await;
        }
        false
    }

    /// Checks that an answered run has the answer to its question, once.
    fn check_events(&self, run: &str, events: &[Event]) {
        self.world.checks.lock().count("runs read to their end");
        let (mut tokens, mut has_failed) = (Vec::new(), false);
        for Event { seq, event } in events {
            match event["type"].as_str().unwrap_or_default() {
                "token" => tokens.push((*seq, event["content"].as_str().unwrap_or_default())),
                "step_reset" => {
                    let from = event["fromSeq"].as_u64().unwrap_or_default();
                    tokens.retain(|(seq, _)| *seq < from);
                }
                "error" => has_failed = true,
                _ => {}
            }
        }
        let is_stopped = events.last().is_some_and(|last| !last.event["stopped"].is_null());
        let said: String = tokens.into_iter().map(|(_, token)| token).collect();
        let expected = model::expected(&self.world, &self.runs[run]);
        let is_right = if has_failed || is_stopped { expected.starts_with(&said) } else { said == expected };
        if !is_right {
            self.violated(&format!("the run {run} says {said:?} instead of {expected:?}"));
        }
    }

    /// Requests a job, possibly twice, and possibly terminates it.
    async fn ask_for_job(&mut self) {
        self.jobs_asked += 1;
        let (key, steps) = (format!("job-{}-{}", self.name, self.jobs_asked), self.dice.between(1, 4));
        let mut accepted = None;
        for _ in 0..self.dice.between(1, 3) {
            let (instance, user) = (self.instance().await, UserId::from(self.user.as_str()));
            let accepting = instance.app.jobs.accept(&user, JOB, json!({ "steps": steps }), Some(&key));
            let Some(Ok(id)) = instance.alive(accepting).await else { continue };
            if accepted.as_ref().is_some_and(|before| *before != id) {
                self.violated(&format!("the key {key} stands for two jobs"));
            }
            accepted = Some(id);
        }
        let Some(id) = accepted else { return };
        self.world.checks.lock().count("jobs accepted");
        self.jobs.insert(id.to_string(), steps);
        if self.dice.chance(100) {
            tokio::time::sleep(self.dice.pause(0, 9_000)).await;
            self.call(Method::POST, &format!("/api/jobs/{id}/terminate"), None, Some(json!({}))).await;
        }
    }

    /// Checks, after the faults have ended, that everything acknowledged is true.
    pub async fn settle(&mut self) -> BTreeMap<&'static str, i64> {
        let (began, limit) = (self.world.elapsed(), self.world.profile.settled_within());
        if self.is_first {
            self.check_memory().await;
        }
        for (key, _) in self.items.clone() {
            for _ in 0..20 {
                if self.items[&key] {
                    break;
                }
                self.send_item(&key).await;
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            self.check_item(&key);
        }
        for run in self.runs.keys().cloned().collect::<Vec<_>>() {
            if !self.follow(&run, limit).await {
                self.violated(&format!("the run {run} does not end"));
            }
        }
        for (job, steps) in self.jobs.clone() {
            self.check_job(&job, steps, began + limit).await;
        }
        self.refresh().await;
        let mut votes = BTreeMap::new();
        if self.is_first {
            for item in ITEMS {
                let signal = *self.dice.one_of(&["up", "down"]);
                if !self.vote(item, signal).await {
                    self.violated("a vote is not counted though nothing goes wrong");
                }
                votes.insert(item, if signal == "up" { 1 } else { -1 });
            }
        }
        votes
    }

    /// Checks that acknowledged items exist, and none exists twice.
    fn check_item(&self, key: &str) {
        let query = Query::partition(Container::Wardrobe, self.user.as_str()).matching(Filter::equal("brand", key));
        let found = futures::executor::block_on(self.cluster.shared.store.count(&query)).unwrap();
        if !self.items[key] {
            self.violated(&format!("the item {key} is not acknowledged though nothing goes wrong"));
        }
        if found != 1 {
            self.violated(&format!("the item {key} is there {found} times"));
        }
    }

    /// Checks that an accepted job ends.
    async fn check_job(&mut self, job: &str, steps: u64, end: Duration) {
        while self.world.elapsed() < end {
            let answer = self.call(Method::GET, &format!("/api/jobs/{job}"), None, None).await;
            let found = answer.map(|answer| answer.json()).unwrap_or_default();
            match found["status"].as_str().unwrap_or_default() {
                "Completed" => {
                    if found["result"]["steps"] != steps {
                        self.violated(&format!("the job {job} has a wrong result: {found}"));
                    }
                    self.world.checks.lock().count("jobs completed");
                    return;
                }
                "Failed" | "Terminated" => return self.world.checks.lock().count("jobs ended otherwise"),
                _ => tokio::time::sleep(Duration::from_secs(5)).await,
            }
        }
        self.violated(&format!("the job {job} does not end"));
    }
}

/// Reads server-sent events until the stream ends.
async fn read_events(response: Response, events: &mut Vec<Event>) {
    let (mut body, mut text) = (response.into_body(), String::new());
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        text.push_str(std::str::from_utf8(data).unwrap());
        while let Some((block, rest)) = text.split_once("\n\n") {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                events.push(Event { seq: id.parse().unwrap(), event: serde_json::from_str(data).unwrap() });
            }
            text = rest.to_owned();
        }
    }
}
