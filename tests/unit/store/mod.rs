//! The contract of document stores, and tests specific to each.
//!
//! Each promise is a function in [`contract`], named once in `each_promise`, which makes tests of all of them for each
//! back end. Documents are written to partitions with random names, so all tests can share one database.

mod contract;
mod cosmos;
pub mod cosmos_backend;
mod sqlite;

use std::sync::Arc;

use pluckit::base::clock::SystemClock;
use pluckit::store::sqlite::SqliteStore;
use tempfile::TempDir;

use crate::support::contract::promises;

/// Tests all promises on a back end.
macro_rules! each_promise {
    ($back_end:tt) => {
        promises! {
            $back_end
            a_created_document_reads_back
            what_is_not_there_reads_as_none
            creating_over_a_document_conflicts
            an_upsert_creates_and_overwrites
            every_write_gives_a_new_version
            a_replace_needs_the_current_version
            a_delete_says_whether_there_was_something
            a_conditional_delete_needs_the_current_version
            partitions_and_containers_keep_documents_apart
            one_of_32_replaces_wins
            one_of_32_creates_wins
            one_of_32_deletes_wins
            a_batch_does_all_of_its_writes
            a_batch_that_conflicts_does_nothing
            a_batch_with_a_stale_version_does_nothing
            equality_knows_types
            ranges_stay_within_one_type
            membership_knows_types
            lists_are_searched
            texts_in_lists_are_found_in_any_case
            whole_texts_in_lists_are_found_in_any_case
            lists_in_lower_case_may_say_so
            texts_are_equal_in_any_case
            documents_are_counted
            filters_of_a_wardrobe_combine_in_every_order
            the_first_field_that_is_there_is_compared
            tokens_that_were_made_up_start_from_the_beginning
            presence_is_not_nullness
            nested_fields_are_reached_by_dots
            what_a_document_lacks_is_neither_true_nor_false
            conditions_combine
            values_of_filters_are_never_part_of_the_query
            documents_come_in_order
            types_have_an_order
            ties_are_ordered_by_the_next_key
            missing_sort_keys_come_first_or_last
            pages_of_one_give_every_document_once
            pages_in_order_give_every_document_once
            pages_with_missing_sort_keys_give_every_document_once
            a_filtered_walk_gives_every_match_once
            the_last_page_says_so
            pages_that_end_early_give_every_document_once
            a_query_returns_only_the_selected_fields
            a_walk_that_its_order_bounds_gives_every_match_once
            selected_fields_of_any_shape_come_as_they_are
            a_partition_query_stays_in_its_partition
            a_query_of_all_partitions_reaches_every_one
            a_query_gives_versions_that_can_be_written_against
            texts_of_all_kinds_survive
            numbers_survive
            unusual_ids_work
            ids_that_cannot_exist_read_as_missing
            a_document_must_match_its_key
            large_documents_are_kept
            documents_over_the_limit_are_refused
            fields_of_the_store_are_never_seen
            a_document_expires
            a_document_without_a_life_of_its_own_stays
            a_container_without_expiry_ignores_it
            an_expired_document_can_be_created_anew
            an_expired_document_cannot_be_replaced
            every_write_changes_the_mark_of_its_partition
            the_store_answers
        }
    };
}

each_promise!({ in_memory, (SqliteStore::in_memory(system_clock()).unwrap(), ()) });
each_promise!({ in_a_file, in_a_file() });
each_promise!({ on_cosmos, (cosmos_backend::cosmos().await, ()), on the emulators });

fn in_a_file() -> (SqliteStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (SqliteStore::open(&directory.path().join("store.db"), system_clock()).unwrap(), directory)
}

fn system_clock() -> Arc<SystemClock> {
    Arc::new(SystemClock)
}
