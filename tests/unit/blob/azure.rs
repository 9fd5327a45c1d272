//! Specific to Azure's blobs: other writers and their names, network failures, account URLs.

use std::sync::Arc;

use bytes::Bytes;
use pluckit::azure::{Identity, StorageAccount};
use pluckit::blob::azure::AzureBlobs;
use pluckit::blob::{BlobStore, Error, Span};
use pluckit::net;

use super::contract::{fresh_container, name};
use crate::queue::azure::account;

fn account_of(text: &str) -> Arc<StorageAccount> {
    Arc::new(StorageAccount::from_connection_string(text, &Identity::default()).unwrap())
}

#[test]
fn addresses_are_those_of_the_account() {
    let store = AzureBlobs::new(account_of("AccountName=acct;AccountKey=c2VjcmV0"));
    let url = store.public_url(&"archive".parse().unwrap(), &name("u1/ä b%2F.webp"));
    assert_eq!(url.as_str(), "https://acct.blob.core.windows.net/archive/u1/%C3%A4%20b%252F.webp");
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn only_blobs_of_a_public_container_are_read_without_a_signature() {
    let (account, public, private) = (account(), fresh_container(), fresh_container());
    let store = AzureBlobs::new(account).with_public(public.clone());
    let blob = name("u1/a.webp");
    let http = net::builder().no_proxy().build().unwrap();
    for (container, status) in [(&public, 200), (&private, 403)] {
        store.put(container, &blob, Bytes::from_static(b"ours")).await.unwrap();
        let answer = http.get(store.public_url(container, &blob)).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
}

#[tokio::test]
#[ignore = "needs the emulators: run scripts/test"]
async fn blobs_of_others_are_found_under_their_addresses() {
    let (account, container) = (account(), fresh_container());
    let store = AzureBlobs::new(account.clone());
    assert!(!store.is_ready(&container).await.unwrap());
    store.put(&container, &name("u1/a b.webp"), Bytes::from_static(b"ours")).await.unwrap();
    // An address that was built wrongly would name another blob.
    let clients = account.blobs().blob_client(&container, "u1/a b.webp");
    assert_eq!(clients.get_properties(None).await.unwrap().status(), 200);
    // Names that are none here are left out, the others stay.
    let odd = account.blobs().blob_client(&container, "u1//odd.webp");
    odd.upload(Bytes::from_static(b"theirs").into(), None).await.unwrap();
    let page = store.list(&container, "", None, 10).await.unwrap();
    let names: Vec<_> = page.blobs.iter().map(|blob| &*blob.name).collect();
    assert_eq!(names, ["u1/a b.webp"]);
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    // Port 9 (discard) is closed everywhere.
    let text = "AccountName=a;AccountKey=c2VjcmV0;BlobEndpoint=http://127.0.0.1:9/a;QueueEndpoint=http://127.0.0.1:9/a";
    let store = AzureBlobs::new(account_of(text));
    let found = store.get(&fresh_container(), &name("a"), Span::Whole).await;
    assert!(matches!(found, Err(Error::Unavailable(_))));
}
