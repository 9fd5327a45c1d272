//! The contract of blob stores, and tests specific to each.
//!
//! Each promise is a function in [`contract`], named once in `each_promise`; a macro per back end turns all of them
//! into tests. Containers have random names, so all tests can share one account.

mod azure;
mod contract;
mod local;

pub use contract::fresh_container;
use pluckit::blob::azure::AzureBlobs;

/// Hands the names of all promises to the macro of a back end.
macro_rules! each_promise {
    ($back_end:ident) => {
        $back_end! {
            a_blob_reads_back
            what_is_not_there_reads_as_none
            putting_if_absent_keeps_what_is_there
            putting_replaces_and_gives_a_new_version
            one_of_200_creates_wins
            readers_see_whole_blobs_while_others_write
            names_of_all_kinds_work
            a_blob_may_be_named_as_the_start_of_another
            an_empty_blob_is_a_blob
            twenty_mebibytes_come_back_whole
            parts_are_read
            a_part_behind_the_end_is_refused
            the_type_is_kept
            a_listing_is_in_order_and_knows_the_properties
            a_listing_is_limited_to_its_prefix
            pages_give_every_blob_once
            a_deleted_blob_is_gone_and_can_be_written_anew
            deleting_and_writing_side_by_side_harms_nobody
            addresses_name_container_and_blob
            an_address_leads_back_to_its_blob
            a_container_that_was_written_to_is_ready
            a_blob_remembers_what_it_was_made_from
        }
    };
}

macro_rules! local_files {
    ($($promise:ident)+) => {
        mod local_files {
            $(#[tokio::test]
            async fn $promise() {
                let directory = tempfile::tempdir().unwrap();
                super::contract::$promise(super::local::open(directory.path())).await;
            })+
        }
    };
}
each_promise!(local_files);

macro_rules! in_memory {
    ($($promise:ident)+) => {
        mod in_memory {
            use std::sync::Arc;

            use pluckit::base::clock::SystemClock;

            use crate::doubles::blobs::MemoryBlobs;

            $(#[tokio::test]
            async fn $promise() {
                let base = "http://127.0.0.1:7071/api/media".parse().unwrap();
                super::contract::$promise(MemoryBlobs::new(base, Arc::new(SystemClock))).await;
            })+
        }
    };
}
each_promise!(in_memory);

macro_rules! on_azure {
    ($($promise:ident)+) => {
        mod on_azure {
            $(#[tokio::test]
            #[ignore = "needs the emulators: run scripts/test"]
            async fn $promise() {
                super::contract::$promise(super::AzureBlobs::new(crate::queue::azure::account())).await;
            })+
        }
    };
}
each_promise!(on_azure);

/// A store in this directory.
pub fn local_store(directory: &std::path::Path) -> pluckit::blob::local::LocalBlobs {
    local::open(directory)
}
