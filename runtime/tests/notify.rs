//! What subscribers are told, in which order, and what becomes of those who are slow, start anew, or never come.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use updraft_runtime::{
    Env,
    notify::{Cursor, Feed, Kept, Notice, PAGE_MAX, Published},
    store::{Record, Store, StoreError},
};

/// A lamp that says when it is switched.
#[derive(Clone, Serialize, Deserialize)]
struct Lamp {
    name: String,
    on: bool,
    turn: u64,
}

impl Record for Lamp {
    const TABLE: &'static str = "house/lamp";

    fn key(&self) -> String {
        self.name.clone()
    }

    fn notices(old: Option<&Self>, new: Option<&Self>) -> Vec<Notice> {
        let (event, lamp) = match (old, new) {
            (_, Some(new)) if old.is_none_or(|old| old.on != new.on) => ("lamp.switched", new),
            (Some(old), None) => ("lamp.removed", old),
            _ => return Vec::new(),
        };
        vec![Notice {
            event: event.to_owned(),
            object: lamp.name.clone(),
            project: None,
            publisher: "house".to_owned(),
            payload: json!({ "on": lamp.on, "turn": lamp.turn }),
        }]
    }
}

fn lamp(name: &str, turn: u64) -> Lamp {
    Lamp { name: name.to_owned(), on: turn % 2 == 1, turn }
}

fn store() -> Store {
    Store::memory(Env::real())
}

async fn switch(store: &Store, name: &str, turn: u64) {
    store.transact(|txn| txn.put(&lamp(name, turn))).await.unwrap();
}

fn told(notices: &[Published]) -> Vec<(String, u64)> {
    let turn = |notice: &Published| notice.payload["turn"].as_u64().unwrap();
    notices.iter().map(|notice| (notice.object.clone(), turn(notice))).collect()
}

#[tokio::test]
async fn a_notice_is_there_if_and_only_if_its_change_is() {
    let store = store();
    let feed = Feed::new(&store, "house");
    switch(&store, "hall", 1).await;
    // A write that changes nothing of interest tells nothing.
    switch(&store, "hall", 1).await;
    let mut loser = store.begin().await.unwrap();
    loser.put(&lamp("hall", 2)).unwrap();
    switch(&store, "hall", 4).await;
    assert!(matches!(loser.commit().await, Err(StoreError::Conflict)));
    store.transact(|txn| txn.delete::<Lamp>("hall").map(|_| ())).await.unwrap();
    let page = feed.read(0, PAGE_MAX).await.unwrap();
    let events: Vec<_> = page.notices.iter().map(|notice| notice.event.as_str()).collect();
    assert_eq!(events, ["lamp.switched", "lamp.switched", "lamp.removed"]);
    assert_eq!(told(&page.notices)[..2], [("hall".to_owned(), 1), ("hall".to_owned(), 4)]);
}

#[tokio::test]
async fn a_subscriber_goes_on_where_it_stopped_and_sees_again_what_it_had_not_acknowledged() {
    let store = store();
    let feed = Feed::new(&store, "house");
    for turn in 1..=5 {
        switch(&store, "hall", turn).await;
    }
    let start = Cursor::load(&store, "painter", 0).await.unwrap();
    let first = feed.read(start.after, 2).await.unwrap();
    let moved = store.transact(|txn| start.handled(txn, first.next)).await.unwrap();
    // It reads on, and ends before it says so.
    let unacknowledged = feed.read(first.next, 2).await.unwrap();
    let cursor = Cursor::load(&store, "painter", 0).await.unwrap();
    assert_eq!(cursor, moved);
    let again = feed.read(cursor.after, 2).await.unwrap();
    assert_eq!(again, unacknowledged);
    assert_eq!(told(&again.notices), [("hall".to_owned(), 3), ("hall".to_owned(), 4)]);
}

#[tokio::test]
async fn who_waits_is_woken_by_the_next_notice() {
    let store = store();
    let feed = Feed::new(&store, "house");
    let end = feed.end().await.unwrap();
    let waiting = feed.wait(end, PAGE_MAX, Duration::from_secs(60));
    let (page, ()) = tokio::join!(waiting, switch(&store, "hall", 1));
    assert_eq!(told(&page.unwrap().notices), [("hall".to_owned(), 1)]);
}

#[tokio::test]
async fn who_comes_too_late_is_told_so_and_the_outbox_stays_within_its_limits() {
    let store = store();
    let feed = Feed::new(&store, "house");
    let lamps = u64::try_from(PAGE_MAX).unwrap();
    for page in 0..4 {
        let switch_all = |txn: &mut updraft_runtime::store::Txn| {
            (0..lamps).try_for_each(|n| txn.put(&lamp(&format!("lamp-{n}"), page)))
        };
        store.transact(switch_all).await.unwrap();
    }
    let kept = Kept { notices: 2 * PAGE_MAX, within: Duration::from_secs(3600) };
    let env = Env::real();
    let tidy = feed.clone().keep_tidy(env.clone(), kept);
    env.timeout(Duration::from_secs(2), tidy).await;
    let late = feed.read(0, 1).await.unwrap();
    assert!(late.missed);
    assert_eq!(late.notices[0].payload["turn"], 2, "the newest are kept");
    let in_time = feed.read(late.next, 1).await.unwrap();
    assert!(!in_time.missed);
}

#[tokio::test]
async fn a_page_that_is_too_old_is_forgotten_and_that_is_told_once() {
    let store = store();
    let feed = Feed::new(&store, "house");
    let lamps = u64::try_from(PAGE_MAX).unwrap();
    let all = |txn: &mut updraft_runtime::store::Txn| {
        (0..lamps).try_for_each(|n| txn.put(&lamp(&format!("lamp-{n}"), 1)))
    };
    store.transact(all).await.unwrap();
    let env = Env::real();
    env.sleep(Duration::from_millis(5)).await;
    let kept = Kept { within: Duration::from_millis(1), ..Kept::default() };
    let tidy = feed.clone().keep_tidy(env.clone(), kept);
    env.timeout(Duration::from_secs(1), tidy).await;
    let late = feed.read(0, 1).await.unwrap();
    assert!(late.missed && late.notices.is_empty());
    let again = feed.read(late.next, 1).await.unwrap();
    assert!(!again.missed, "it is told once");
}
