//! What the queue admits, ages, and gives to whom.
#![allow(clippy::disallowed_methods, reason = "the queue only compares instants")]

use bytes::Bytes;
use bytestring::ByteString;

use super::*;
use crate::{id::Incarnation, wire::Header};

fn frame(kind: Kind, id: u64, deadline_ms: u32) -> Frame {
    let header = Header {
        kind,
        method: ByteString::new(),
        id,
        incarnation: Incarnation(1),
        deadline_ms,
        trace_id: [0; 16],
        span_id: [0; 8],
        trace_flags: 0,
        context: Bytes::new(),
    };
    Frame { header, body: Bytes::new() }
}

/// What the queue gives at once, as ids and what is left of their deadlines; `None` if it waits.
fn take_now(queue: &Queue, epoch: Epoch, now: Instant) -> Option<(bool, Vec<(u64, u32)>)> {
    let mut batch = Vec::new();
    let more = futures_util::FutureExt::now_or_never(queue.take(epoch, &mut batch, || now))?;
    let taken = batch.iter().map(|frame| (frame.header.id, frame.header.deadline_ms)).collect();
    Some((more, taken))
}

fn filled(class: Class, count: u64, start: Instant) -> Queue {
    let queue = Queue::new(class);
    for id in 0..count {
        queue.push(frame(Kind::Reply, id, 0), 10, start).unwrap();
    }
    queue
}

#[test]
fn it_gives_what_was_put_in_order_and_then_waits() {
    let start = Instant::now();
    let queue = filled(Class::Calls, 3, start);
    let epoch = queue.begin();
    assert_eq!(take_now(&queue, epoch, start), Some((true, vec![(0, 0), (1, 0), (2, 0)])));
    assert_eq!(take_now(&queue, epoch, start), None);
}

#[test]
fn it_is_full_by_frames_and_by_bytes_and_has_room_again_after_a_take() {
    let start = Instant::now();
    let limit = QueueLimit::of(Class::Bulk);
    let queue = filled(Class::Bulk, limit.frames as u64, start);
    let push = |bytes| queue.push(frame(Kind::Reply, 9, 0), bytes, start);
    assert_eq!(push(10), Err(Rejected::Full));
    take_now(&queue, queue.begin(), start).unwrap();
    assert_eq!(push(limit.bytes), Ok(()));
    assert_eq!(push(1), Err(Rejected::Full));
}

#[test]
fn it_knows_what_waits_and_what_was_dropped() {
    let queue = filled(Class::Calls, 3, Instant::now());
    assert_eq!(queue.stock(), Stock { frames: 3, bytes: 30, dropped: 0 });
    queue.clear();
    assert_eq!(queue.stock(), Stock { frames: 0, bytes: 0, dropped: 3 });
}

#[test]
fn a_batch_ends_when_it_is_worth_a_write() {
    let start = Instant::now();
    let queue = Queue::new(Class::Bulk);
    for id in 0..3 {
        queue.push(frame(Kind::Cast, id, 0), BATCH_BYTES, start).unwrap();
    }
    assert_eq!(take_now(&queue, queue.begin(), start), Some((true, vec![(0, 0)])));
}

#[test]
fn a_call_that_waited_has_less_patience_and_one_that_waited_too_long_is_not_sent() {
    let start = Instant::now();
    let queue = Queue::new(Class::Calls);
    for (id, kind, deadline_ms) in
        [(1, Kind::Call, 100), (2, Kind::Call, 40), (3, Kind::Cast, 39), (4, Kind::Reply, 7)]
    {
        queue.push(frame(kind, id, deadline_ms), 10, start).unwrap();
    }
    let later = start + Duration::from_millis(40);
    assert_eq!(take_now(&queue, queue.begin(), later), Some((true, vec![(1, 60), (4, 7)])));
    assert_eq!(queue.stock(), Stock { frames: 0, bytes: 0, dropped: 2 });
}

#[test]
fn only_the_latest_connection_takes_frames() {
    let start = Instant::now();
    let queue = filled(Class::Calls, 1, start);
    let former = queue.begin();
    let latest = queue.begin();
    assert_eq!(take_now(&queue, former, start), Some((false, vec![])));
    queue.end(former);
    assert_eq!(take_now(&queue, latest, start), Some((true, vec![(0, 0)])));
    queue.end(latest);
    assert_eq!(take_now(&queue, latest, start), Some((false, vec![])));
}

#[test]
fn a_finished_queue_gives_the_rest_and_takes_nothing() {
    let start = Instant::now();
    let queue = filled(Class::Calls, 1, start);
    let epoch = queue.begin();
    queue.finish();
    let rejected = queue.push(frame(Kind::Reply, 5, 0), 10, start);
    assert_eq!(rejected, Err(Rejected::Finished));
    assert_eq!(take_now(&queue, epoch, start), Some((true, vec![(0, 0)])));
    assert_eq!(take_now(&queue, epoch, start), Some((false, vec![])));
}
