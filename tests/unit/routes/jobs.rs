//! Long operations from the caller's view.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use pluckit::domain::jobs::kinds::DIGEST;
use pluckit::model::ids::JobId;
use pluckit::workers::jobs::run;
use serde_json::{Value, json};

use crate::support::caller::Caller;
use crate::support::jobs::{FOR_ADMINS, Stage, message, script};
use crate::support::{TestApp, refusal};

struct Scene {
    app: TestApp,
    stage: Arc<Stage>,
    ada: Caller,
    eve: Caller,
    root: Caller,
}

impl Scene {
    async fn new() -> Self {
        let stage = Stage::new();
        let app = TestApp::builder().kinds(stage.kinds()).setting("ADMIN_USER_IDS", "root").start();
        let (ada, eve, root) = (app.user("ada").await, app.user("eve").await, app.user("root").await);
        Self { app, stage, ada, eve, root }
    }

    /// A job of Ada's that is done.
    async fn done(&self, steps: &[&str]) -> JobId {
        let id = self.app.accept("ada", steps).await;
        self.app.work_all().await;
        id
    }
}

const NO_JOB: (u16, &str) = (404, r#"{"detail":"Job not found","error":"Job not found"}"#);

#[tokio::test]
async fn a_job_tells_how_far_it_is_and_what_came_of_it() {
    let scene = Scene::new().await;
    let id = scene.app.accept("ada", &["done", "hold"]).await;
    let path = format!("/api/jobs/{id}");
    let answer = scene.ada.get(&path).await;
    assert_eq!(answer.header("retry-after"), "2");
    insta::assert_json_snapshot!(answer.json(), {".id" => "[id]"}, @r#"
    {
      "createdTime": "2026-03-02T09:15:00.000Z",
      "customStatus": null,
      "error": null,
      "history": [
        {
          "at": "2026-03-02T09:15:00.000Z",
          "status": "Pending"
        }
      ],
      "id": "[id]",
      "input": {
        "steps": [
          "done",
          "hold"
        ]
      },
      "lastUpdatedTime": "2026-03-02T09:15:00.000Z",
      "name": "test.scripted",
      "result": null,
      "status": "Pending"
    }
    "#);
    drop(scene.app.receive_job().await.unwrap());
    let (state, delivery) = (scene.app.state.clone(), message("ada", &id));
    let worker = scene.app.state.tasks.spawn(async move { run(&state, delivery).await });
    scene.stage.until_begun(1, 1).await;
    scene.app.clock.advance(Duration::from_secs(3));
    let answer = scene.ada.get(&path).await;
    assert_eq!(
        answer.json()["customStatus"],
        json!({"done": 0, "total": 2, "message": "done"}),
        "at the last step's end"
    );
    assert_eq!((answer.json()["status"].clone(), answer.header("retry-after")), (json!("Running"), "2"));
    scene.stage.open();
    worker.await.unwrap().unwrap();
    let answer = scene.ada.get(&path).await;
    assert_eq!(answer.header("retry-after"), "");
    let job = answer.json();
    assert_eq!((&job["status"], &job["result"]), (&json!("Completed"), &json!({"steps": 2})));
    assert_eq!(job["lastUpdatedTime"], "2026-03-02T09:15:03.000Z");
    let fields: BTreeSet<_> = job.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "id name status createdTime lastUpdatedTime customStatus input result error history";
    assert_eq!(fields, expected.split(' ').collect(), "and nothing of leases, keys and blobs");
}

#[tokio::test]
async fn jobs_of_others_are_not_there() {
    let scene = Scene::new().await;
    let (done, open) = (scene.done(&["write a.md x"]).await, scene.app.accept("ada", &["done"]).await);
    let version = |id: JobId| {
        let app = &scene.app;
        async move { serde_json::to_value(app.job("ada", &id).await).unwrap() }
    };
    let before = (version(done.clone()).await, version(open.clone()).await);
    for id in [done.as_str(), open.as_str()] {
        for (method, path) in [
            (Method::GET, format!("/api/jobs/{id}")),
            (Method::DELETE, format!("/api/jobs/{id}")),
            (Method::POST, format!("/api/jobs/{id}/terminate")),
            (Method::POST, format!("/api/jobs/{id}/restart")),
            (Method::GET, format!("/api/jobs/{id}/outputs")),
            (Method::GET, format!("/api/jobs/{id}/outputs/index.md")),
        ] {
            let answer = scene.eve.send(method.clone(), &path, None, "").await;
            assert_eq!((answer.status.as_u16(), answer.text()), NO_JOB, "{method} {path}");
        }
    }
    for id in ["x", "timer-PluckItJobSweeper", &"0".repeat(32), "%2e%2e", "%00", &"a".repeat(3000)] {
        let answer = scene.ada.get(&format!("/api/jobs/{id}")).await;
        assert_eq!((answer.status.as_u16(), answer.text()), NO_JOB, "{id}");
    }
    assert_eq!((version(done.clone()).await, version(open).await), before);
    assert_eq!(scene.eve.get("/api/jobs").await.json(), json!({"jobs": [], "nextContinuationToken": null}));

    let shown = scene.root.get(&format!("/api/jobs/{done}")).await;
    assert_eq!((shown.status.as_u16(), &shown.json()["status"]), (200, &json!("Completed")));
    assert_eq!(scene.root.get(&format!("/api/jobs/{done}/outputs/index.md")).await.status, 200);
    let again = scene.root.post(&format!("/api/jobs/{done}/restart"), json!({})).await.json();
    let again = again["id"].as_str().unwrap();
    assert_eq!(scene.ada.get(&format!("/api/jobs/{again}")).await.status, 200, "it is still Ada's");
}

#[tokio::test]
async fn lists_are_the_callers_own_and_everybody_s_for_administrators() {
    let scene = Scene::new().await;
    for user in ["ada", "eve", "ada"] {
        scene.app.accept(user, &["done"]).await;
        scene.app.clock.advance(Duration::from_secs(1));
    }
    scene.app.work_once().await.unwrap().unwrap();
    let names = |answer: Value| -> Vec<Value> {
        answer["jobs"].as_array().unwrap().iter().map(|job| job["createdTime"].clone()).collect()
    };
    let all = scene.ada.get("/api/jobs").await.json();
    assert_eq!(names(all.clone()), ["2026-03-02T09:15:02.000Z", "2026-03-02T09:15:00.000Z"]);
    assert_eq!(all["jobs"][0].get("userId"), None);
    assert_eq!(all["jobs"][0].get("history"), None);
    assert_eq!(names(scene.ada.get("/api/jobs?status=Completed").await.json()), ["2026-03-02T09:15:00.000Z"]);
    assert_eq!(scene.ada.get("/api/jobs?status=Done").await.status, 400);
    assert_eq!(scene.ada.get("/api/jobs?continuationToken=nonsense").await.status, 200);
    let all = scene.root.get("/api/admin/jobs").await.json();
    let owners: Vec<_> = all["jobs"].as_array().unwrap().iter().map(|job| job["userId"].clone()).collect();
    assert_eq!(owners, ["ada", "eve", "ada"]);
    assert_eq!(names(scene.root.get("/api/admin/jobs?status=Pending").await.json()).len(), 2);
}

#[tokio::test]
async fn a_job_is_terminated_once_and_with_a_reason() {
    let scene = Scene::new().await;
    let id = scene.app.accept("ada", &["done"]).await;
    let path = format!("/api/jobs/{id}/terminate");
    let answer = scene.ada.post(&path, json!({"reason": " not now "})).await;
    assert_eq!(answer.summary(), (202, json!({"id": id.as_str(), "statusUri": format!("/api/jobs/{id}")})));
    let job = scene.ada.get(&format!("/api/jobs/{id}")).await.json();
    assert_eq!((&job["status"], &job["history"][1]["detail"]), (&json!("Terminated"), &json!("not now")));
    let again = scene.ada.send(Method::POST, &path, None, "").await;
    assert_eq!(again.summary(), (409, refusal("Job has already ended.")));
    let done = scene.done(&["done"]).await;
    assert_eq!(scene.ada.post(&format!("/api/jobs/{done}/terminate"), json!({})).await.status, 409);
    let open = scene.app.accept("ada", &["done"]).await;
    let open = format!("/api/jobs/{open}/terminate");
    assert_eq!(scene.ada.post(&open, json!({"reason": "r".repeat(501)})).await.status, 422);
    assert_eq!(scene.ada.send(Method::POST, &open, Some("text/plain"), "x").await.status, 415);
    assert_eq!(scene.ada.send(Method::POST, &open, None, "").await.status, 202, "no body is needed");
}

#[tokio::test]
async fn a_restart_is_a_job_of_its_own() {
    let scene = Scene::new().await;
    let id = scene.done(&["done"]).await;
    let answer = scene.ada.send(Method::POST, &format!("/api/jobs/{id}/restart"), None, "").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (202, "2"));
    let new = answer.json()["id"].as_str().unwrap().to_owned();
    assert!(new != id.as_str() && answer.header("location") == format!("/api/jobs/{new}"));
    let job = scene.ada.get(&format!("/api/jobs/{new}")).await.json();
    assert_eq!((&job["status"], &job["input"]), (&json!("Pending"), &script(&["done"])));
    assert_eq!(scene.app.job("ada", &id).await.status.name(), "Completed", "the old one stays as it is");

    let restricted = scene.app.state.jobs.accept(&"ada".into(), FOR_ADMINS, script(&["done"]), None).await.unwrap();
    let restart = format!("/api/jobs/{restricted}/restart");
    assert_eq!(scene.ada.post(&restart, json!({})).await.status, 403, "who is no administrator any more");
    assert_eq!(scene.root.post(&restart, json!({})).await.status, 202);
}

#[tokio::test]
async fn a_job_that_has_ended_is_deleted_with_its_outputs() {
    let scene = Scene::new().await;
    let open = scene.app.accept("ada", &["done"]).await;
    assert_eq!(scene.ada.delete(&format!("/api/jobs/{open}")).await.status, 409);
    let id = scene.done(&["write a.md x", "big"]).await;
    assert_eq!(scene.app.blobs_of(&id).await.len(), 3);
    let path = format!("/api/jobs/{id}");
    assert_eq!(scene.ada.delete(&path).await.summary(), (200, json!({"id": id.as_str(), "status": "deleted"})));
    assert_eq!(scene.app.blobs_of(&id).await, []);
    for path in [path.clone(), format!("{path}/outputs"), format!("{path}/outputs/index.md")] {
        let answer = scene.ada.get(&path).await;
        assert_eq!((answer.status.as_u16(), answer.text()), NO_JOB);
    }
    assert_eq!(scene.ada.delete(&path).await.status, 404);
}

#[tokio::test]
async fn outputs_are_listed_and_read_as_json_or_as_they_are() {
    let scene = Scene::new().await;
    let id = scene.done(&["write items-10.jsonl {}", "write items-2.jsonl {\"a\":1}", "write a/b.md # Größe"]).await;
    let base = format!("/api/jobs/{id}/outputs");
    let files = scene.ada.get(&base).await.json();
    insta::assert_json_snapshot!(files, {".files[0].size" => "[size]"}, @r##"
    {
      "files": [
        {
          "mediaType": "text/markdown; charset=utf-8",
          "path": "index.md",
          "size": "[size]",
          "title": "Scripted"
        },
        {
          "mediaType": "text/markdown; charset=utf-8",
          "path": "a/b.md",
          "size": 9,
          "title": "Größe"
        },
        {
          "mediaType": "application/x-ndjson",
          "path": "items-2.jsonl",
          "size": 7,
          "title": "items-2.jsonl"
        },
        {
          "mediaType": "application/x-ndjson",
          "path": "items-10.jsonl",
          "size": 2,
          "title": "items-10.jsonl"
        }
      ]
    }
    "##);
    let report = scene.ada.get(&format!("{base}/index.md")).await.json()["content"].as_str().unwrap().to_owned();
    assert!(report.starts_with("# Scripted\n") && report.contains("(<https://shop.example/coat>)"), "{report}");
    assert_eq!(scene.ada.get(&format!("{base}/a/b.md")).await.json(), json!({"content": "# Größe"}));
    assert_eq!(scene.ada.get(&format!("{base}/a%2Fb.md")).await.json(), json!({"content": "# Größe"}));
    let raw = scene.ada.clone().header("accept", "text/markdown").get(&format!("{base}/a/b.md")).await;
    assert_eq!((raw.text(), raw.header("content-type")), ("# Größe", "text/markdown; charset=utf-8"));
    let headers = ["content-length", "x-content-type-options", "cache-control"].map(|name| raw.header(name));
    assert_eq!(headers, ["9", "nosniff", "private, no-store"]);
    let missing = scene.ada.get(&format!("{base}/nothing.md")).await;
    assert_eq!(missing.summary(), (404, refusal("File not found")));
    let public = scene.app.nobody().get(&format!("/api/media/jobs/jobs/{id}/outputs/1-0/index.md")).await;
    assert_eq!(public.status, 404, "no public route shows them");
}

#[tokio::test]
async fn no_path_leads_out_of_the_outputs() {
    let scene = Scene::new().await;
    let (id, other) = (scene.done(&["big", "write a.md x"]).await, scene.done(&["write secret.md s3cret"]).await);
    let secret = scene.app.job("ada", &other).await.outputs[1].blob.clone();
    let base = format!("/api/jobs/{id}/outputs");
    let spellings = [
        "..",
        "../",
        "../index.md",
        "../../jobs",
        "./index.md",
        "a/../index.md",
        "a/..",
        "%2e%2e/index.md",
        "%2E%2E%2Findex.md",
        "..%2findex.md",
        "..%2Findex.md",
        "%2e./index.md",
        ".%2e/index.md",
        "%252e%252e/index.md",
        "%252e%252e%252findex.md",
        "%25252e%25252e%25252findex.md",
        "..%5cindex.md",
        "%2e%2e%5cindex.md",
        "..\\index.md",
        "%c0%ae%c0%ae/index.md",
        "%e0%80%ae%e0%80%ae/index.md",
        "..%c0%afindex.md",
        "%ff",
        "/etc/passwd",
        "//etc/passwd",
        "%2fetc%2fpasswd",
        "%2Fetc/passwd",
        "C:/windows",
        "..%00/index.md",
        "index.md%00",
        "index.md%0a",
        "....//index.md",
        "..;/index.md",
        "%u002e%u002e/index.md",
        "%ef%bc%8e%ef%bc%8e/index.md",
        "file:///etc/passwd",
        "../steps/1-0.json",
        "%2e%2e%2fsteps%2f1-0.json",
    ];
    assert!(spellings.len() >= 30);
    for spelling in spellings {
        for accept in ["application/json", "text/markdown"] {
            let path = format!("{base}/{spelling}");
            let Ok(uri) = path.parse::<axum::http::Uri>() else { panic!("{path} cannot be sent") };
            let answer = scene.ada.clone().header("accept", accept).get(&uri.to_string()).await;
            assert!(matches!(answer.status.as_u16(), 400 | 404), "{spelling}: {}", answer.status);
            assert!(answer.text().starts_with(r#"{"detail":""#), "{spelling}: {}", answer.text());
        }
    }
    let climb = format!("{base}/..%2F..%2F..%2F{}", secret.replace('/', "%2F"));
    assert_eq!(scene.ada.get(&climb).await.status, 400);
    for inside in [secret.as_str(), "1-0/a.md", "outputs/a.md", "steps/1-0.json", "index.md/", "INDEX.MD"] {
        let answer = scene.ada.get(&format!("{base}/{inside}")).await;
        let expected = if inside == "index.md/" { 200 } else { 404 };
        assert_eq!(answer.status, expected, "{inside}: names of blobs are not names of files");
    }
}

#[tokio::test]
async fn a_key_names_its_job_for_a_day() {
    let app = TestApp::new();
    let accept = async || app.state.jobs.accept(&"ada".into(), DIGEST, json!({}), Some("key")).await.unwrap();
    let first = accept().await;
    app.clock.advance(Duration::from_secs(24 * 60 * 60 - 1));
    assert_eq!(accept().await, first);
    app.clock.advance(Duration::from_secs(2));
    assert_ne!(accept().await, first);
}
