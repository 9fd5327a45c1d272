//! The wardrobe API: profile, wardrobe, wears, drafts and collections.

use super::reader::{Error, Reader};

/// The wardrobe API.
#[derive(Debug, Clone)]
pub struct WardrobeApi {
    /// Whether its routes, workers and timers exist.
    pub is_on: bool,
}

impl WardrobeApi {
    /// Reads the settings of this group. Under the Functions host another service may own the wardrobe, so the API is
    /// off there unless it is turned on.
    pub(super) fn read(reader: &mut Reader<'_>, under_functions_host: bool) -> Result<Self, Error> {
        Ok(Self { is_on: reader.flag("WARDROBE_API", !under_functions_host)? })
    }
}
