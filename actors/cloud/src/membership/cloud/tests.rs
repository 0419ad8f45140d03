//! One cloud a store, one process a name.

use super::*;

fn row(node: &str, place: &str, run: u128) -> ControlRow {
    ControlRow {
        node: NodeId::new(node).unwrap(),
        address: "192.0.2.1:8775".parse().unwrap(),
        apis: "http://127.0.0.1:8774".to_owned(),
        run: Uuid::from_u128(run),
        place: place.to_owned(),
        ticks: 0,
        ended: false,
    }
}

fn roster() -> Roster {
    let env = Env::real();
    Roster::new(&env, &Store::memory(env.clone()))
}

#[tokio::test]
async fn a_store_belongs_to_the_cloud_that_claimed_it_first() {
    let roster = roster();
    assert_eq!(roster.claim("aa").await.unwrap(), Claim::Founded);
    assert_eq!(roster.claim("aa").await.unwrap(), Claim::Known);
    assert_eq!(roster.claim("bb").await.unwrap(), Claim::Other);
    assert_eq!(roster.cloud().await.unwrap().unwrap().authority, "aa");
}

#[tokio::test(start_paused = true)]
async fn a_second_process_under_a_name_is_refused_while_the_first_lives() {
    let roster = roster();
    let seat = roster.take_seat(row("control-2", "here", 1)).await.unwrap();
    let env = roster.env.clone();
    env.spawn("lives", async move { drop(seat.keep().await) });
    let refused = roster.take_seat(row("control-2", "elsewhere", 2)).await;
    let words = refused.err().unwrap().to_string();
    assert!(words.contains("node control-2 runs already, at 192.0.2.1:8775"), "{words}");
    assert!(
        roster.take_seat(row("control-3", "elsewhere", 2)).await.is_ok(),
        "another name is free"
    );
}

#[tokio::test(start_paused = true)]
async fn the_name_of_a_process_that_was_killed_is_free_after_a_while() {
    let roster = roster();
    drop(roster.take_seat(row("control-2", "here", 1)).await.unwrap());
    let second = || roster.take_seat(row("control-2", "elsewhere", 2));
    let at_once = roster.env.timeout(TICK * 2, second()).await;
    assert!(at_once.is_none(), "the first has the time to say that it lives");
    assert!(second().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ended_in_order_or_held_the_same_folder_is_not_waited_for() {
    let roster = roster();
    let first = roster.take_seat(row("control-2", "here", 1)).await.unwrap();
    let second = roster.take_seat(row("control-2", "here", 2)).await.unwrap();
    assert!(first.leave().await.is_err(), "it is not its seat any more");
    second.leave().await.unwrap();
    let third = roster.take_seat(row("control-2", "elsewhere", 3));
    assert!(roster.env.timeout(LOOK / 2, third).await.is_some_and(|seat| seat.is_ok()));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_for_too_long_ends_when_it_goes_on() {
    let roster = roster();
    let first = roster.take_seat(row("control-2", "here", 1)).await.unwrap();
    let second = roster.take_seat(row("control-2", "elsewhere", 2)).await.unwrap();
    let lost = first.keep().await.to_string();
    assert!(lost.contains("this one ends"), "{lost}");
    second.tick().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_process_ends_when_a_newer_program_has_changed_the_rows() {
    let roster = roster();
    let seat = roster.take_seat(row("control-2", "here", 1)).await.unwrap();
    seat.tick().await.unwrap();
    let mut newer = roster.whole.begin().await.unwrap();
    newer.put_raw("network/schema", "{\"version\":9}".into()).unwrap();
    newer.commit().await.unwrap();
    let words = seat.keep().await.to_string();
    assert!(words.contains("the rows of network have version 9"), "{words}");
    assert!(seat.leave().await.is_err());
    let left = roster.row(&row("control-2", "here", 1).node).await.unwrap().unwrap();
    assert_eq!((left.ticks, left.ended), (1, false), "what is there is not written any more");
}

#[tokio::test]
async fn the_others_are_those_that_serve_and_were_not_removed() {
    let roster = roster();
    let member = |node: &str, roles: &[&str], removed: bool| NodeRow {
        node: NodeId::new(node).unwrap(),
        key: "01".to_owned(),
        roles: roles.iter().map(ToString::to_string).collect(),
        joined: UnixMicros(1),
        removals: removed
            .then(|| super::super::Removal {
                key: "01".to_owned(),
                at: UnixMicros(2),
                by: "u".to_owned(),
            })
            .into_iter()
            .collect(),
    };
    let members = [
        member("control-1", &["control"], false),
        member("control-2", &["control"], false),
        member("control-3", &["control"], true),
        member("rack-7", &["compute"], false),
    ];
    roster
        .store
        .transact(|txn| members.iter().try_for_each(|member| txn.put(member)))
        .await
        .unwrap();
    for node in ["control-1", "control-2", "control-3", "rack-7"] {
        roster.take_seat(row(node, "here", 1)).await.unwrap();
    }
    let others = roster.others(&NodeId::new("control-1").unwrap()).await.unwrap();
    let names: Vec<_> = others.iter().map(|row| row.node.as_str()).collect();
    assert_eq!(names, ["control-2"]);
}
