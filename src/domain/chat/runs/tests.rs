use futures::FutureExt;

use super::live::{AHEAD_OF_READER, AHEAD_OF_STORE, End, KEPT, Live, Look, PIECE, TAKEN};
use crate::model::chat_run::{ChatEvent, LoggedEvent, RunStatus, StopReason};

fn live(is_stored: bool) -> Live {
    let now = "2026-03-02T09:15:00Z";
    let run = serde_json::json!({
        "id": "r", "userId": "ada", "status": "running", "createdAt": now, "updatedAt": now, "ttl": 60,
    });
    Live::new(&serde_json::from_value(run).unwrap(), 0, is_stored)
}

fn token(number: u64) -> ChatEvent {
    ChatEvent::Token { content: number.to_string() }
}

fn seen(live: &Live, seq: u64, can_come_back: bool) -> Option<usize> {
    match live.look(seq, can_come_back).now_or_never()? {
        Look::Events(events) => Some(events.len()),
        Look::Forgotten => Some(0),
        Look::Ended(_) => None,
    }
}

#[test]
fn a_client_that_is_waited_for_slows_the_run() {
    let live = live(false);
    live.wait_for_reader();
    for number in 0..AHEAD_OF_READER {
        assert!(live.push(token(number)).now_or_never().is_some());
    }
    assert!(live.push(token(0)).now_or_never().is_none());
    live.note_taken(1);
    assert!(live.push(token(0)).now_or_never().is_some());
    assert!(live.push(token(0)).now_or_never().is_none());
    live.forget_reader();
    assert!(live.push(token(0)).now_or_never().is_some());
}

#[test]
fn nothing_is_dropped_before_it_is_stored() {
    let live = live(true);
    for number in 0..KEPT as u64 {
        assert!(live.push(token(number)).now_or_never().is_some());
    }
    assert!(live.push(token(0)).now_or_never().is_none());
    live.note_stored(10);
    assert!(live.push(token(0)).now_or_never().is_some());
    assert!(matches!(live.look(0, false).now_or_never(), Some(Look::Forgotten)));
    assert_eq!(seen(&live, 1, false), Some(TAKEN));
}

#[test]
fn who_can_come_back_sees_no_more_than_a_crash_skips() {
    let live = live(true);
    for number in 0..=AHEAD_OF_STORE {
        live.push(token(number)).now_or_never().unwrap();
    }
    assert_eq!(seen(&live, AHEAD_OF_STORE, true), None);
    assert_eq!(seen(&live, AHEAD_OF_STORE, false), Some(1));
    live.note_stored(1);
    assert_eq!(seen(&live, AHEAD_OF_STORE, true), Some(1));
}

/// Returns the pushed numbers that a reader finds after this event.
fn shown(live: &Live, seq: u64) -> Vec<u64> {
    let Some(Look::Events(events)) = live.look(seq, false).now_or_never() else { panic!("nothing after {seq}") };
    numbers(events)
}

fn numbers(events: Vec<LoggedEvent>) -> Vec<u64> {
    let number = |event| match event {
        LoggedEvent::Token(content) => content.parse().unwrap(),
        LoggedEvent::Other(event) => panic!("{event:?}"),
    };
    events.into_iter().map(number).collect()
}

fn push(live: &Live, pushed: std::ops::RangeInclusive<u64>) {
    for number in pushed {
        live.push(token(number)).now_or_never().expect("there is room");
    }
}

fn range(all: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    all.collect()
}

#[test]
fn events_have_the_same_numbers_wherever_one_begins() {
    let live = live(true);
    push(&live, 1..=100);
    assert_eq!(live.last(), 100);
    assert_eq!(shown(&live, 0), range(1..=TAKEN as u64));
    assert_eq!(shown(&live, TAKEN as u64), range(TAKEN as u64 + 1..=100));
    assert_eq!(shown(&live, 99), [100]);
    assert!(live.look(100, false).now_or_never().is_none());
    assert_eq!(numbers(live.after(0, PIECE)), range(1..=PIECE as u64));
    assert_eq!(numbers(live.after(98, PIECE)), [99, 100]);
    assert_eq!(live.after(100, PIECE), []);
    assert_eq!(live.all().map(numbers), Some(range(1..=100)));

    live.note_stored(100);
    let last = KEPT as u64 + 50;
    push(&live, 101..=last);
    assert_eq!((live.last(), live.stored(), live.all()), (last, 100, None));
    assert!(matches!(live.look(49, false).now_or_never(), Some(Look::Forgotten)));
    assert_eq!(shown(&live, 50)[..2], [51, 52]);
    assert_eq!(shown(&live, last - 1), [last]);
    assert_eq!(numbers(live.after(100, 2)), [101, 102]);
    assert_eq!(numbers(live.after(last - 1, 2)), [last]);
}

#[tokio::test(start_paused = true)]
async fn who_stores_wakes_for_the_first_event_and_for_a_whole_piece() {
    let live = live(true);
    let limit = std::time::Duration::from_secs(60);
    assert!(live.has_after(0).now_or_never().is_none());
    for begun in [0, 10] {
        live.note_stored(begun);
        let waits = tokio::time::timeout(limit, live.has_piece_after(begun));
        let pushes = async {
            let next = live.last() + 1;
            push(&live, next..=begun + PIECE as u64 - 1);
            assert!(live.has_after(begun).now_or_never().is_some());
            assert!(live.has_piece_after(begun).now_or_never().is_none());
            push(&live, begun + PIECE as u64..=begun + PIECE as u64);
        };
        let (woken, ()) = tokio::join!(waits, pushes);
        assert_eq!(woken, Ok(()), "there is a piece after {begun}");
        assert!(live.has_piece_after(begun).now_or_never().is_some());
    }
}

#[test]
fn the_end_is_told_after_all_that_will_be_in_the_log() {
    let over = live(true);
    push(&over, 1..=AHEAD_OF_STORE + 1);
    over.end(End::Over(RunStatus::Completed));
    assert!(over.look(AHEAD_OF_STORE, true).now_or_never().is_none(), "the last event is not stored yet");
    assert!(over.has_after(AHEAD_OF_STORE + 1).now_or_never().is_some());
    let told = over.look(AHEAD_OF_STORE + 1, true).now_or_never();
    assert!(matches!(told, Some(Look::Ended(End::Over(RunStatus::Completed)))));
    assert_eq!(over.ended().now_or_never(), Some(End::Over(RunStatus::Completed)));
    assert!(over.is_over_after(AHEAD_OF_STORE + 1) && !over.is_over_after(AHEAD_OF_STORE));

    let elsewhere = live(true);
    push(&elsewhere, 1..=AHEAD_OF_STORE + 1);
    elsewhere.end(End::Elsewhere);
    let told = elsewhere.look(AHEAD_OF_STORE, true).now_or_never();
    assert!(matches!(told, Some(Look::Ended(End::Elsewhere))), "nobody stores it any more");
}

#[test]
fn a_run_ends_when_it_is_stopped_and_when_it_has_said_so() {
    let stopped = live(true);
    push(&stopped, 1..=1);
    assert!(!stopped.is_ending());
    stopped.stop(StopReason::Disconnected);
    stopped.stop(StopReason::User);
    assert!(stopped.is_ending());
    assert_eq!(stopped.stopped().now_or_never(), Some(StopReason::Disconnected), "the first reason");

    let done = live(true);
    let event = ChatEvent::Done {
        model: "m".to_owned(),
        token_count: 1,
        run_id: "r".into(),
        stopped: None,
        usage: crate::model::usage::RunUsage::default(),
    };
    done.push(event).now_or_never().unwrap();
    assert!(done.is_ending());
}
