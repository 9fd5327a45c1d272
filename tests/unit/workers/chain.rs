//! The taste loop from a vote to the profile, through the double of the Functions host, Azurite and the Cosmos DB
//! emulator.
//!
//! The double reads the packaged directory, but starts this test program in its binary's place ([`kills::SERVICE`]):
//! the binary fetches pictures from the internet and nowhere else, and the picture here is on the internet of the
//! tests. All else is the service as the binary builds it, under the settings and in the mode that the host gives it.

use std::sync::Arc;
use std::time::Duration;

use pluckit::azure::{Identity, StorageAccount};
use pluckit::base::clock::SystemClock;
use pluckit::data::Data;
use pluckit::identity::session::SessionService;
use pluckit::model::ids::{TasteJobId, UserId};
use pluckit::model::taste_job::{TasteJobStatus, TastePayload};
use pluckit::net;
use pluckit::queue::JobQueue;
use pluckit::queue::azure::AzureQueue;
use pluckit::store::{Container, DocumentStore, Key};
use pluckit::workers::{FUNCTIONS, taste};
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::host::package;
use super::kills::{PICTURE, SERVICE};
use crate::store::cosmos_backend::{cosmos, setting};
use crate::support::host::{Call, Faster, Handler, Host};
use crate::support::model::{Answer, ModelServer, say};
use crate::support::process::{self, ROLE};
use crate::support::until;

const VISIBILITY: Duration = Duration::from_secs(3);
const FIRST: &str = r#"{"styleKeywords": ["boxy"], "colors": ["navy"], "garments": ["coat"], "brand": "Arket"}"#;
const SECOND: &str = r#"{"styleKeywords": ["boxy", "sharp"], "colors": [], "garments": [], "brand": null}"#;

/// Someone who calls the service from outside.
pub struct Outsider {
    token: String,
    client: reqwest::Client,
}

impl Outsider {
    /// Signs a user in, in the store that the service has.
    pub async fn sign_in(data: &Data, user: &str) -> Self {
        let sessions = SessionService::new(data.sessions.clone(), Arc::new(SystemClock));
        let token = sessions.open(UserId::from(user.to_owned())).await.unwrap().access_token;
        Self { token, client: net::services().unwrap() }
    }

    pub async fn get(&self, url: String) -> (StatusCode, Value) {
        self.send(self.client.get(url)).await
    }

    pub async fn post(&self, url: String, body: &Value) -> (StatusCode, Value) {
        self.send(self.client.post(url).json(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let answer = request.bearer_auth(&self.token).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }
}

/// Everything that the loop needs, and names that no other test uses.
struct Loop {
    host: Host,
    data: Data,
    store: Arc<dyn DocumentStore>,
    model: ModelServer,
    queue: AzureQueue,
    queue_name: String,
    user: String,
    ada: Outsider,
    admin: Outsider,
    _directory: tempfile::TempDir,
}

impl Loop {
    async fn start() -> Self {
        let store: Arc<dyn DocumentStore> = Arc::new(cosmos().await);
        let data = Data::new(store.clone());
        let model = ModelServer::start().await;
        let (endpoint, key) = (setting("PLUCKIT_TEST_COSMOS_ENDPOINT"), setting("PLUCKIT_TEST_COSMOS_KEY"));
        let storage = setting("PLUCKIT_TEST_STORAGE");
        let run = Uuid::new_v4();
        let (queue_name, user, admin) = (format!("jobs-{run}"), format!("ada-{run}"), format!("admin-{run}"));
        let poison = format!("{queue_name}-poison");
        let settings = [
            (ROLE, "hosted"),
            ("AZURE_FUNCTIONS_ENVIRONMENT", "Production"),
            ("RATE_LIMITS", "false"),
            ("COSMOS_DB_ENDPOINT", endpoint.as_str()),
            ("COSMOS_DB_KEY", &key),
            ("COSMOS_DB_DATABASE", "PluckItTest"),
            ("AzureWebJobsStorage", &storage),
            ("StorageQueue", &storage),
            ("TASTE_JOB_QUEUE_NAME", &queue_name),
            ("TASTE_JOB_DEAD_LETTER_QUEUE_NAME", &poison),
            ("TASTE_JOB_MAX_RETRIES", "1"),
            ("OPENAI_BASE_URL", &model.base_url()),
            ("ADMIN_USER_IDS", &admin),
        ];
        let account = StorageAccount::from_connection_string(&storage, &Identity::default()).unwrap();
        account.create_queue(&queue_name).await.unwrap();
        let (directory, dist) = package(FUNCTIONS);
        let (program, arguments) = process::program(SERVICE);
        let faster =
            Faster { visibility_timeout: Some(VISIBILITY), max_polling_interval: Some(Duration::from_millis(100)) };
        Self {
            host: Host::start(&dist, Handler::Program(program, arguments), &settings, faster).await,
            ada: Outsider::sign_in(&data, &user).await,
            admin: Outsider::sign_in(&data, &admin).await,
            queue: AzureQueue::new(account.into()),
            data,
            store,
            model,
            queue_name,
            user,
            _directory: directory,
        }
    }

    /// Puts an item with the picture into the feed; its id, and that of the job that a vote for it makes.
    async fn item(&self) -> (String, TasteJobId) {
        let id = format!("item-{}", Uuid::new_v4());
        let item = json!({"id": id, "userId": "global", "imageUrl": PICTURE, "scoreSignal": 0});
        self.store.upsert(&Key::new(Container::ScrapedItems, "global", &id), &item).await.unwrap();
        let payload = TastePayload::new(self.user.clone().into(), id.clone().into(), PICTURE.to_owned(), None);
        (id, payload.job_id)
    }

    async fn like(&self, item: &str) {
        let url = self.host.url(&format!("/api/scraper/items/{item}/feedback"));
        let (status, answer) = self.ada.post(url, &json!({"signal": "up"})).await;
        assert_eq!((status, &answer["scoreSignal"]), (StatusCode::OK, &json!(1)), "{answer}");
    }

    async fn status(&self, job: &TasteJobId) -> Option<TasteJobStatus> {
        self.data.taste_jobs.find(job).await.unwrap().map(|job| job.status)
    }

    async fn until_done(&self, job: &TasteJobId) {
        until("the job is done", async || self.status(job).await == Some(TasteJobStatus::Completed)).await;
        until("its message is gone", async || self.queue.length(&self.queue_name).await.unwrap() == 0).await;
    }

    async fn profile(&self) -> (Value, Value) {
        let key = Key::by_id(Container::UserProfiles, &self.user);
        let profile: Value = self.store.read(&key).await.unwrap().expect("a profile").parse().unwrap();
        (profile["stylePreferences"].clone(), profile["favoriteBrands"].clone())
    }

    fn calls(&self, function: &str) -> Vec<Call> {
        self.host.calls().into_iter().filter(|call| call.function == function).collect()
    }

    /// The dead letter of this job, as the administrator's list has it.
    async fn dead_letter(&self, job: &TasteJobId) -> Option<Value> {
        let (status, list) = self.admin.get(self.host.url("/api/admin/dead-letters?status=dead_lettered")).await;
        assert_eq!(status, StatusCode::OK);
        let letters = list["deadLetters"].as_array().unwrap();
        letters.iter().find(|letter| letter["jobId"] == job.as_str()).cloned()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_vote_teaches_the_profile_and_what_failed_is_replayed() {
    let scene = Loop::start().await;
    scene.model.otherwise(|_| say(&[FIRST]));
    let (item, job) = scene.item().await;
    scene.like(&item).await;
    scene.until_done(&job).await;
    assert_eq!(scene.profile().await, (json!(["boxy", "navy", "coat"]), json!(["Arket"])));
    let outcome = |call: &Call| (call.dequeue_count, call.status);
    assert_eq!(scene.calls(taste::FUNCTION).iter().map(outcome).collect::<Vec<_>>(), [(1, Some(200))]);

    scene.like(&item).await;
    assert_eq!(scene.queue.length(&scene.queue_name).await.unwrap(), 0, "the second vote queues nothing");

    scene.model.otherwise(|_| Answer::error(400, "broken", "the deployment is broken"));
    let (item, job) = scene.item().await;
    scene.like(&item).await;
    until("it is a dead letter", async || scene.dead_letter(&job).await.is_some()).await;
    let letter = scene.dead_letter(&job).await.unwrap();
    assert!(letter["reason"].as_str().unwrap().contains("the model failed"), "{letter}");
    assert_eq!(letter["payload"]["user_id"], scene.user.as_str(), "the message is in it");
    assert_eq!(letter["sourceQueue"], format!("{}-poison", scene.queue_name));
    // The letter is kept first: the job is marked a moment later.
    until("the job is marked", async || scene.status(&job).await == Some(TasteJobStatus::DeadLettered)).await;

    let failed = scene.calls(taste::FUNCTION).split_off(1);
    let expected: Vec<_> = (1..=5).map(|count| (count, Some(500))).collect();
    assert_eq!(failed.iter().map(outcome).collect::<Vec<_>>(), expected);
    for pair in failed.windows(2) {
        assert_eq!(pair[0].message_id, pair[1].message_id);
        // Azurite counts whole seconds.
        assert!(pair[1].began - pair[0].began >= VISIBILITY - Duration::from_secs(1), "{failed:?}");
    }
    let buried = scene.calls(taste::POISON_FUNCTION);
    assert_eq!(buried.iter().map(outcome).collect::<Vec<_>>(), [(1, Some(200))]);

    let replay = scene.host.url(&format!("/api/admin/dead-letters/{}/replay", letter["id"].as_str().unwrap()));
    assert_eq!(scene.ada.post(replay.clone(), &json!({})).await.0, StatusCode::FORBIDDEN);
    scene.model.otherwise(|_| say(&[SECOND]));
    assert_eq!(scene.admin.post(replay.clone(), &json!({})).await.0, StatusCode::OK);
    scene.until_done(&job).await;
    assert_eq!(scene.admin.post(replay, &json!({})).await.0, StatusCode::CONFLICT);
    assert_eq!(scene.profile().await, (json!(["boxy", "navy", "coat", "sharp"]), json!(["Arket"])));
    assert_eq!(scene.dead_letter(&job).await, None, "it is replayed");
    assert_eq!(scene.calls(taste::FUNCTION).len(), 7);
    assert_eq!((scene.host.violations(), scene.host.starts()), (vec![], 1));
}
