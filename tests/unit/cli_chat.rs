//! `pluckit chat` and its answers: Ctrl-C, lost connections, killed clients and killed services.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pluckit::base::clock::{Clock, SystemClock};
use pluckit::net;
use serde_json::Value;
use time::{OffsetDateTime, UtcOffset};
use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::support::model::{Answer, ModelServer, Received, Step, say, text};
use crate::support::service::{Launch, bare, signal};
use crate::support::until;

const BINARY: &str = env!("CARGO_BIN_EXE_pluckit");
/// Longer than anything here takes: a killed process's run is taken over after ten seconds.
const LIMIT: Duration = Duration::from_secs(60);
const PIECES: usize = 60;

fn pieces() -> Vec<String> {
    (0..PIECES).map(|number| format!("{number} ")).collect()
}

fn whole_answer() -> String {
    pieces().concat()
}

/// Sixty pieces over a second and a half, or two pieces and then nothing any more.
fn answer(request: &Received) -> Answer {
    if request.last_message().ends_with("Go on for ever") {
        return vec![text("one "), text("two "), Step::Stall].into();
    }
    if request.last_message() == "Hi" {
        return say(&["Hello."]).into();
    }
    let pieces = pieces();
    say(&pieces.iter().map(String::as_str).collect::<Vec<_>>()).pause(Duration::from_millis(25)).into()
}

/// Passes connections on to a service, until they are cut.
struct Relay {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    cut: Arc<Notify>,
    _passing: JoinSet<()>,
}

impl Relay {
    async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (target, cut) = (Arc::new(Mutex::new(target)), Arc::new(Notify::new()));
        let mut passing = JoinSet::new();
        let (to, ends) = (target.clone(), cut.clone());
        passing.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let (to, ends) = (to.clone(), ends.clone());
                connections.spawn(async move {
                    let to = *to.lock();
                    let Ok(mut far) = TcpStream::connect(to).await else { return };
                    tokio::select! {
                        // Either way the connection ends.
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        () = ends.notified() => {}
                    }
                });
            }
        });
        Self { address, target, cut, _passing: passing }
    }

    fn lead_to(&self, target: SocketAddr) {
        *self.target.lock() = target;
    }

    fn cut(&self) {
        self.cut.notify_waiters();
    }
}

/// A running `pluckit chat`.
struct Talk {
    child: Child,
    out: ChildStdout,
    seen: String,
}

impl Talk {
    fn start(service: SocketAddr, arguments: &[&str]) -> Self {
        Self::start_in("UTC0", service, arguments)
    }

    /// Starts it on a machine in a time zone, as POSIX writes it: east is negative.
    fn start_in(zone: &str, service: SocketAddr, arguments: &[&str]) -> Self {
        let directory = std::env::temp_dir();
        let mut command = Command::from(bare(BINARY, &directory));
        command.env("TZ", zone).args(["chat", "--url", &format!("http://{service}")]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().unwrap();
        Self { child, out, seen: String::new() }
    }

    /// Reads on until this was printed.
    async fn until_seen(&mut self, words: &str) {
        let reading = async {
            let mut buffer = [0; 1024];
            while !self.seen.contains(words) {
                let length = self.out.read(&mut buffer).await.unwrap();
                assert_ne!(length, 0, "ended after {:?}", self.seen);
                self.seen.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            }
        };
        tokio::time::timeout(LIMIT, reading).await.expect("the words come");
    }

    fn interrupt(&self) {
        signal(self.child.id().unwrap(), "INT");
    }

    /// Returns the exit code, all that was printed, and the complaints.
    async fn end(mut self) -> (Option<i32>, String, String) {
        let reading = async {
            let mut rest = String::new();
            self.out.read_to_string(&mut rest).await.unwrap();
            let output = self.child.wait_with_output().await.unwrap();
            (output.status.code(), self.seen + &rest, String::from_utf8(output.stderr).unwrap())
        };
        tokio::time::timeout(LIMIT, reading).await.expect("the command ends")
    }
}

async fn newest_run(http: &reqwest::Client, service: SocketAddr) -> Value {
    let get = async |path: String| -> Value {
        http.get(format!("http://{service}{path}")).send().await.unwrap().json().await.unwrap()
    };
    let listed = get("/api/chat/runs?pageSize=1".to_owned()).await;
    get(format!("/api/chat/runs/{}", listed["runs"][0]["id"].as_str().unwrap())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_stopped_rejoined_and_resumed() {
    let model = ModelServer::start().await;
    model.otherwise(answer);
    let launch = Launch::development(BINARY).asking(&model.base_url()).setting("PLUCKIT_DEMO", "false");
    let (mut first, first_address) = launch.start();
    let (_second, second_address) = launch.start();
    let http = net::builder().no_proxy().build().unwrap();

    // Ctrl-C: the run is stopped at the service, and what was said stays.
    let mut talk = Talk::start(first_address, &["Go on for ever"]);
    talk.until_seen("two ").await;
    talk.interrupt();
    assert_eq!(talk.end().await, (Some(1), "one two \n".to_owned(), String::new()));
    until("the run is stopped", async || newest_run(&http, first_address).await["status"] == "stopped").await;
    assert_eq!(newest_run(&http, first_address).await["answer"], "one two ");
    assert!(model.wait_for_closed_early(1, Duration::from_secs(1)).await.is_some(), "the model goes on");

    // Cut connections: the client rejoins the answer and says so.
    let relay = Relay::start(first_address).await;
    let mut talk = Talk::start(relay.address, &["Count"]);
    for number in [10, 30] {
        talk.until_seen(&format!(" {number} ")).await;
        relay.cut();
    }
    let lost = "pluckit: the connection was lost: rejoining the answer\n";
    assert_eq!(talk.end().await, (Some(0), format!("{}\n", whole_answer()), lost.repeat(2)));

    // Kill the client: another one continues with the answer.
    let mut talk = Talk::start(first_address, &["Count again"]);
    talk.until_seen(" 10 ").await;
    talk.child.kill().await.unwrap();
    // An answer to another program, which belongs to no chat, is not the conversation to resume.
    let completion =
        serde_json::json!({ "model": "pluckit-stylist", "messages": [{ "role": "user", "content": "Hi" }] });
    let completions = format!("http://{first_address}/api/v1/chat/completions");
    let completed = http.post(completions).json(&completion).send().await.unwrap();
    assert_eq!(completed.status(), 200);
    let (code, out, complaints) = Talk::start(second_address, &["--resume"]).end().await;
    assert_eq!(
        (code, out.as_str(), complaints.as_str()),
        (Some(0), &*format!("> Count again\n{}\n", whole_answer()), "")
    );

    // Kill the service: the other instance repeats the step.
    let mut talk = Talk::start(relay.address, &["Count for the last time"]);
    talk.until_seen(" 20 ").await;
    relay.lead_to(second_address);
    first.kill();
    let (code, out, complaints) = talk.end().await;
    assert_eq!((code, complaints.as_str()), (Some(0), lost), "{out}");
    let (before, after) =
        out.split_once("\n[the service was interrupted and repeats this part]\n").expect("it is said");
    assert!(whole_answer().starts_with(before) && before.contains(" 20 "), "{before}");
    assert_eq!(after, format!("{}\n", whole_answer()));
    // The client's answer is complete before the run is stored as such.
    until("the run is completed", async || newest_run(&http, second_address).await["status"] == "completed").await;
    let run = newest_run(&http, second_address).await;
    assert_eq!((&run["answer"], &run["usage"]["calls"]), (&whole_answer().into(), &1.into()), "{run}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_day_of_an_answer_is_that_of_the_machine() {
    let model = ModelServer::start().await;
    model.otherwise(answer);
    let launch = Launch::development(BINARY).asking(&model.base_url()).setting("PLUCKIT_DEMO", "false");
    let (_service, address) = launch.start();
    // The first and the last place where a day begins: at any time they have different dates.
    for (zone, hours) in [("XLI-14", 14), ("XBI12", -12)] {
        let talk = Talk::start_in(zone, address, &["Hi"]);
        assert_eq!(talk.end().await, (Some(0), "Hello.\n".to_owned(), String::new()));
        let received = model.received();
        let prompt = received.last().unwrap().body["messages"][0]["content"].as_str().unwrap();
        let today = |now: OffsetDateTime| format!("Today is {}, {}.", now.weekday(), now.date());
        let now = SystemClock.now().to_offset(UtcOffset::from_hms(hours, 0, 0).unwrap());
        // The day may end meanwhile.
        let is_told = [now, now - Duration::from_secs(60)].into_iter().any(|now| prompt.contains(&today(now)));
        assert!(is_told, "{zone} at {now}: {prompt}");
    }
}
