use futures::FutureExt;

use super::live::{AHEAD_OF_READER, AHEAD_OF_STORE, KEPT, Live, Look, TAKEN};
use crate::model::chat_run::ChatEvent;

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
