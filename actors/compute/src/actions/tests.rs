//! That actions are kept, and not for ever more of them.
#![allow(clippy::expect_used, reason = "tests")]

use updraft_runtime::{Env, store::Store};

use super::*;
use crate::fixture::server;

fn action(number: usize) -> Action {
    Action { kind: ActionKind::Stop, request_id: format!("req-{number}") }
}

fn noted(number: usize) -> ActionRow {
    ActionRow {
        server: server().id,
        request_id: format!("req-{number}"),
        action: "stop".to_owned(),
        user_id: "u".to_owned(),
        project_id: "p".to_owned(),
        started: UnixMicros(number as u64),
        finished: None,
        message: None,
        host: None,
    }
}

async fn kept(store: &Store) -> Vec<String> {
    let rows = store.read(|txn| txn.scan::<ActionRow>(None, usize::MAX)).await.expect("rows");
    rows.into_iter().map(|row| row.request_id).collect()
}

fn requests(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("req-{number}")).collect()
}

#[tokio::test]
async fn of_more_actions_than_are_kept_the_oldest_go() {
    let store = Store::memory(Env::real());
    let last = KEPT_MAX + 5;
    for number in 0..last {
        let now = UnixMicros(number as u64);
        let begin = |txn: &mut Txn| begin(txn, &server(), &action(number), "u", now);
        store.transact(begin).await.expect("noted");
    }
    assert_eq!(kept(&store).await, requests(5..last));
}

#[tokio::test]
async fn those_of_a_store_that_had_no_bound_go_with_the_next_action() {
    let store = Store::memory(Env::real());
    let before = KEPT_MAX * 3;
    let put = |txn: &mut Txn| (0..before).try_for_each(|number| txn.put(&noted(number)));
    store.transact(put).await.expect("put");
    store.transact(|txn| note(txn, &noted(before))).await.expect("noted");
    assert_eq!(kept(&store).await, requests(before + 1 - KEPT_MAX..before + 1));
}

#[tokio::test]
async fn the_action_that_ended_is_marked_and_no_other() {
    let store = Store::memory(Env::real());
    let put = |txn: &mut Txn| (0..20).try_for_each(|number| note(txn, &noted(number)));
    store.transact(put).await.expect("put");
    // "req-1" is the end of no other's name: "req-11" has it at its beginning only.
    let old = ServerRow { action: Some(action(1)), ..server() };
    let new = ServerRow { action: None, ..server() };
    let follow = |txn: &mut Txn| follow(txn, &old, Some(&new), UnixMicros(99));
    store.transact(follow).await.expect("followed");
    let rows = store.read(|txn| txn.scan::<ActionRow>(None, usize::MAX)).await.expect("rows");
    let ended = rows.into_iter().filter(|row| row.finished.is_some());
    assert_eq!(ended.map(|row| row.request_id).collect::<Vec<_>>(), ["req-1"]);
}
