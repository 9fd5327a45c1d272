//! Examples: a job, a run of the stylist, a digest and other documents with the ids in the OpenAPI document, so that
//! each of its operations can be tried unchanged. Only a development server has them, in addition to the demo wardrobe.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use time::{Date, UtcOffset};

use super::{Error, Gallery, Result};
use crate::blob::BlobName;
use crate::domain::item_blobs::{picture_name, upload_name};
use crate::model::containers::ContainerName;
use crate::model::ids::{ItemId, UserId};
use crate::state::AppState;
use crate::store::{Container, Key};

/// The documents, by container.
const DOCUMENTS: &str = include_str!("../../../demo/examples/documents.json");

/// Id of the draft among them.
const DRAFT: &str = "demo-oxford-draft";
/// The photo that the draft was made from.
const PHOTO: &[u8] = include_bytes!("../../../demo/photographs/oxford-shirt-on-a-wall.jpg");
/// The picture that the service created from the photo.
const PICTURE: &[u8] = include_bytes!("../../../demo/examples/oxford-shirt.webp");

/// The outputs of the finished job, by the names of their blobs.
const OUTPUTS: [(&str, &str); 2] = [
    ("jobs/0b9f5c4e5a0f4a4e9c3e0d5f0c1b2a3d/outputs/demo/index.md", include_str!("../../../demo/examples/index.md")),
    ("jobs/0b9f5c4e5a0f4a4e9c3e0d5f0c1b2a3d/outputs/demo/digest.md", include_str!("../../../demo/examples/digest.md")),
];

/// Writes the documents for the development user, if they have the demo but not yet all of its files. Existing
/// documents are not changed.
///
/// # Errors
/// When a store fails.
pub async fn import_documents(app: &AppState) -> Result<()> {
    let (user, gallery) = (&app.config.identity.local_dev_user, super::gallery(app));
    if super::lacks_files(&app.data, gallery, user).await? {
        let today = app.clock.now().to_offset(UtcOffset::UTC).date();
        super::create_all(&*app.data.store, documents(user, today, gallery)).await?;
    }
    Ok(())
}

/// Writes the files that the documents refer to, under the same condition as [`import_documents`].
///
/// # Errors
/// When a store fails.
pub async fn import_files(app: &AppState) -> Result<()> {
    let user = &app.config.identity.local_dev_user;
    if super::lacks_files(&app.data, super::gallery(app), user).await? {
        for (container, name, content) in files(app, user) {
            app.blobs.put_if_absent(container, &name, Bytes::from_static(content), None).await.map_err(Error::Blobs)?;
        }
    }
    Ok(())
}

/// Returns the documents for `user`, with dates relative to `load_day` (UTC).
///
/// # Panics
/// When the embedded file is damaged, which a test rules out.
pub fn documents(user: &UserId, load_day: Date, gallery: Gallery<'_>) -> Vec<(Key, Value)> {
    let by_container: BTreeMap<String, Vec<Value>> = serde_json::from_str(DOCUMENTS).expect("the examples are JSON");
    let all = by_container.into_iter().flat_map(|(name, documents)| {
        let container = Container::ALL.into_iter().find(|container| container.spec().default_name == name);
        let container = container.expect("the examples name containers");
        documents.into_iter().map(move |document| (container, document))
    });
    all.map(|(container, document)| super::placed(container, document, user, load_day, gallery)).collect()
}

/// Returns the files that the documents refer to.
fn files<'a>(app: &'a AppState, user: &UserId) -> Vec<(&'a ContainerName, BlobName, &'static [u8])> {
    let storage = &app.config.storage;
    let draft = ItemId::from(DRAFT);
    let photo = app.config.wardrobe_api.is_on.then(|| upload_name(user, &draft)).flatten();
    let of_draft = [
        photo.map(|name| (&storage.uploads_container, name, PHOTO)),
        picture_name(user, &draft).map(|name| (&storage.archive_container, name, PICTURE)),
    ];
    let outputs = OUTPUTS
        .iter()
        .map(|(name, text)| (&storage.jobs_container, name.parse().expect("the name of a blob"), text.as_bytes()));
    of_draft.into_iter().flatten().chain(outputs).collect()
}
