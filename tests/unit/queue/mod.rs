//! The contract of queues, and tests specific to each.
//!
//! Each promise is a function in [`contract`], named once in `each_promise`, which makes tests of all of them for each
//! back end. Queues have random names, so all tests can share one account.

pub mod azure;
mod contract;
mod local;

use std::sync::Arc;

use pluckit::base::clock::SystemClock;
use pluckit::queue::azure::AzureQueue;
use pluckit::queue::local::LocalQueue;
use tempfile::TempDir;

use crate::support::contract::promises;

/// Tests all promises on a back end.
macro_rules! each_promise {
    ($back_end:tt) => {
        promises! {
            $back_end
            a_sent_message_is_received
            a_deleted_message_is_gone
            a_message_is_hidden_while_it_is_held
            a_message_comes_back_when_its_time_runs_out
            a_receipt_is_good_until_somebody_else_receives
            a_stale_receipt_is_lost
            a_deleted_message_is_lost
            a_renewal_prolongs
            a_renewal_gives_a_new_receipt_and_keeps_the_text
            a_released_message_comes_back_at_once
            messages_come_roughly_in_order
            one_call_receives_32_at_most
            texts_of_all_kinds_survive
            the_largest_text_is_kept_and_larger_ones_are_refused
            a_queue_that_is_not_there_is_empty
            nobody_can_hold_what_never_was
            queues_keep_messages_apart
            each_of_200_messages_goes_to_one_of_16_receivers
            a_message_moves
            a_lost_message_does_not_move
            the_length_counts_hidden_messages
            waiting_ends_at_its_limit
        }
    };
}

each_promise!({ in_memory, (LocalQueue::in_memory(system_clock()).unwrap(), ()) });
each_promise!({ in_a_file, in_a_file() });
each_promise!({ on_azure, (AzureQueue::new(azure::account()), ()), on the emulators });

fn in_a_file() -> (LocalQueue, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (LocalQueue::open(&directory.path().join("queue.db"), system_clock()).unwrap(), directory)
}

fn system_clock() -> Arc<SystemClock> {
    Arc::new(SystemClock)
}
