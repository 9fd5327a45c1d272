//! What the queues promise, and what only one of them has.
//!
//! Each promise is a function in [`contract`], named once in `each_promise`; a macro per back end turns all of them into
//! tests. Queues have random names, so all tests can share one account.

pub mod azure;
mod contract;
mod local;

use std::sync::Arc;

use pluckit::base::clock::SystemClock;
use pluckit::queue::azure::AzureQueue;
use pluckit::queue::local::LocalQueue;

/// Hands the names of all promises to the macro of a back end.
macro_rules! each_promise {
    ($back_end:ident) => {
        $back_end! {
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

macro_rules! in_memory {
    ($($promise:ident)+) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $promise() {
                let queue = super::LocalQueue::in_memory(super::system_clock()).unwrap();
                super::contract::$promise(&queue).await;
            })+
        }
    };
}
each_promise!(in_memory);

macro_rules! in_a_file {
    ($($promise:ident)+) => {
        mod in_a_file {
            $(#[tokio::test]
            async fn $promise() {
                let directory = tempfile::tempdir().unwrap();
                let queue = super::LocalQueue::open(&directory.path().join("queue.db"), super::system_clock()).unwrap();
                super::contract::$promise(&queue).await;
            })+
        }
    };
}
each_promise!(in_a_file);

macro_rules! on_azure {
    ($($promise:ident)+) => {
        mod on_azure {
            $(#[tokio::test]
            #[ignore = "needs the emulators: run scripts/test"]
            async fn $promise() {
                let queue = super::AzureQueue::new(super::azure::account());
                super::contract::$promise(&queue).await;
            })+
        }
    };
}
each_promise!(on_azure);

fn system_clock() -> Arc<SystemClock> {
    Arc::new(SystemClock)
}
