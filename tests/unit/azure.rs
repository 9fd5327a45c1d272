//! Blob and queue storage on Azurite: the signature and what `storage init` and the readiness check use.

use pluckit::azure::storage::{Access, Error};
use pluckit::azure::{Identity, StorageAccount};
use url::Url;
use uuid::Uuid;

use crate::store::cosmos_backend::setting;

fn account() -> StorageAccount {
    StorageAccount::from_connection_string(&setting("PLUCKIT_TEST_STORAGE"), &Identity::default()).unwrap()
}

fn fresh_name() -> String {
    format!("test-{}", Uuid::new_v4())
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_blob_container_is_made_once() {
    let (account, name) = (account(), fresh_name());
    assert!(!account.has_blob_container(&name).await.unwrap());
    assert!(account.create_blob_container(&name, Access::Private).await.unwrap());
    assert!(!account.create_blob_container(&name, Access::Private).await.unwrap());
    assert!(account.has_blob_container(&name).await.unwrap());
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_queue_is_made_once() {
    let (account, name) = (account(), fresh_name());
    assert!(!account.has_queue(&name).await.unwrap());
    assert!(account.create_queue(&name).await.unwrap());
    assert!(!account.create_queue(&name).await.unwrap());
    assert!(account.has_queue(&name).await.unwrap());
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn bodies_and_odd_names_are_signed_too() {
    let (account, name) = (account(), fresh_name());
    account.create_blob_container(&name, Access::Private).await.unwrap();
    let blob = account.blobs().blob_client(&name, "ada/blue coat+é&1.webp");
    let content = azure_core::Bytes::from_static(b"content");
    blob.upload(content.into(), None).await.unwrap();
    assert_eq!(blob.get_properties(None).await.unwrap().status(), 200);
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn a_wrong_key_is_refused() {
    let right = setting("PLUCKIT_TEST_STORAGE");
    let parts: Vec<&str> = right.split(';').filter(|part| !part.starts_with("AccountKey=")).collect();
    let wrong = format!("{};AccountKey=d3Jvbmc=", parts.join(";"));
    let account = StorageAccount::from_connection_string(&wrong, &Identity::default()).unwrap();
    let status = |error: Error| match error {
        Error::Service(error) => error.http_status().map(u16::from),
        other => panic!("{other}"),
    };
    let name = fresh_name();
    assert_eq!(account.create_blob_container(&name, Access::Private).await.map_err(status), Err(Some(403)));
    assert_eq!(account.create_queue(&name).await.map_err(status), Err(Some(403)));
}

#[test]
fn what_cannot_be_used_is_refused_before_any_call() {
    let identity = Identity::default();
    let fault = |text| StorageAccount::from_connection_string(text, &identity).err();
    assert!(matches!(fault("AccountName=a;AccountKey=not base64"), Some(Error::BadKey)));
    assert!(matches!(fault("AccountKey=c2VjcmV0"), Some(Error::ConnectionString(_))));
}

#[test]
fn identities_are_made_without_asking_anyone() {
    let assigned = Identity { client_id: Some(Uuid::new_v4().to_string()), developer_tools: false };
    let developer = Identity { client_id: None, developer_tools: true };
    for identity in [Identity::default(), assigned, developer] {
        assert!(identity.credential().is_ok(), "{identity:?}");
    }
    // A token must not be sent unencrypted.
    let endpoint = |port| Url::parse(&format!("http://127.0.0.1:{port}/account")).unwrap();
    assert!(StorageAccount::with_identity(endpoint(1), endpoint(2), &Identity::default()).is_err());
}
