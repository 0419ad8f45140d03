//! Rows that own one another, deadlines and alarms, on nodes that crash and on two nodes with one store.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod shop;

use std::time::Duration;

use updraft_harness::world::EPOCH;
use updraft_runtime::{
    notify::Feed,
    rows::{Alarm, SETTLED, UNSETTLED},
    store::CommitFate,
};

use shop::{Item, Order, SETTLES_WITHIN, Shop};

/// Longer than a rescan takes to come round, and than any pause between two tries.
const SETTLES: Duration = Duration::from_secs(30);

/// Far less than a rescan takes to come round.
const SOON: Duration = Duration::from_secs(2);

/// Between two rescans, so that none of them passes for what should have woken the row.
const DEADLINE: Duration = Duration::from_secs(25);

const SEC: Duration = Duration::from_secs(1);

#[test]
fn an_order_is_ready_when_its_items_are_and_gone_when_they_are() {
    let mut shop = Shop::open(1, &["one"]);
    shop.order(Order::new("lunch", &["soup", "bread"]));
    assert!(shop.settles(SOON, |now| now.order("lunch").is_some_and(|order| order.ready)));
    assert_eq!(shop.look().made, ["bread", "soup"]);
    shop.cancel("lunch");
    assert!(shop.settles(SOON, |now| now.orders.is_empty() && now.items.is_empty()));
    assert!(shop.look().made.is_empty());
}

#[test]
fn an_owner_that_is_deleted_while_its_rows_are_being_made_takes_them_along() {
    // At every moment of the making, to the tick.
    for ticks in 0..60 {
        let mut shop = Shop::open(1, &["one"]);
        shop.order(Order::new("lunch", &["soup", "bread"]));
        shop.world.run_for(Duration::from_millis(ticks));
        shop.cancel("lunch");
        let gone = shop.settles(SETTLES, |now| now.orders.is_empty() && now.items.is_empty());
        assert!(gone, "after {ticks} ms: {:?}", shop.look());
        assert!(shop.look().made.is_empty(), "after {ticks} ms");
    }
}

#[test]
fn an_orphan_is_found_at_the_start() {
    let mut shop = Shop::open(1, &["one"]);
    shop.order(Order::new("lunch", &["soup"]));
    assert!(shop.settles(SOON, |now| now.made == ["soup"]));
    shop.crash("one");
    // Nobody looks while the owner goes, and it does not wait for what it owns.
    shop.delete_order("lunch");
    shop.start("one");
    assert!(shop.settles(SOON, |now| now.items.is_empty() && now.made.is_empty()));
}

#[test]
fn an_orphan_is_found_when_its_owner_goes() {
    let mut shop = Shop::open(1, &["one"]);
    shop.order(Order::new("lunch", &["soup"]));
    assert!(shop.settles(SOON, |now| now.made == ["soup"]));
    // Nothing is left to wake the item but its owner.
    shop.world.run_for(SOON);
    shop.delete_order("lunch");
    assert!(shop.settles(SOON, |now| now.items.is_empty() && now.made.is_empty()));
}

#[test]
fn two_nodes_drive_the_same_rows_to_the_same_end() {
    for seed in 1..=10 {
        let mut shop = Shop::open(seed, &["one", "two"]);
        shop.order(Order::new("lunch", &["soup", "bread"]));
        shop.order(Order::new("dinner", &["fish"]));
        assert!(shop.settles(SETTLES, |now| now.orders.iter().all(|order| order.ready)), "{seed}");
        shop.cancel("lunch");
        shop.cancel("dinner");
        let gone = shop.settles(SETTLES, |now| now.orders.is_empty() && now.items.is_empty());
        assert!(gone && shop.look().made.is_empty(), "{seed}");
    }
}

/// An order's whole life, with what happens at its commit number `at`; how many commits there were.
fn life(nodes: &[&str], at: usize, fate: CommitFate, crash: bool) -> usize {
    let mut shop = Shop::open(1, nodes);
    shop.trouble(at, fate, crash);
    shop.order(Order::new("lunch", &["soup", "bread"]));
    let ready = |now: &shop::Now| now.order("lunch").is_some_and(|order| order.ready);
    assert!(shop.settles(SETTLES, ready), "commit {at}, {fate:?}: {:?}", shop.look());
    shop.cancel("lunch");
    let gone = shop.settles(SETTLES, |now| now.orders.is_empty() && now.items.is_empty());
    assert!(gone, "commit {at}, {fate:?}: {:?}", shop.look());
    assert!(shop.look().made.is_empty(), "commit {at}, {fate:?}");
    shop.commits()
}

#[test]
fn a_crash_at_any_commit_leaves_no_row_behind_and_no_owner_goes_before_what_it_owns() {
    let commits = life(&["one"], usize::MAX, CommitFate::Proceed, false);
    assert!(commits >= 6, "{commits} commits");
    for at in 1..=commits {
        life(&["one"], at, CommitFate::UnknownApplied, true);
        life(&["one"], at, CommitFate::UnknownNotApplied, true);
    }
}

#[test]
fn a_commit_that_conflicts_or_is_unknown_changes_nothing_of_that() {
    let commits = life(&["one", "two"], usize::MAX, CommitFate::Proceed, false);
    let fates = [CommitFate::Conflict, CommitFate::Unavailable, CommitFate::UnknownApplied];
    for at in 1..=commits {
        for fate in fates {
            life(&["one", "two"], at, fate, false);
        }
    }
}

#[test]
fn an_order_that_is_not_ready_by_its_deadline_is_given_up_and_cleared_away() {
    let mut shop = Shop::open(1, &["one"]);
    shop.sell_out("caviar");
    let order = Order::new("lunch", &["soup", "caviar"]);
    shop.order(Order { deadline: Some(EPOCH.plus(DEADLINE)), ..order });
    assert!(shop.settles(SOON, |now| now.made == ["soup"]));
    shop.world.run_until(60 * SEC, |world| world.now() >= DEADLINE - SEC);
    assert_eq!(shop.look().made, ["soup"]);
    // No plan asked for this time: the engine did.
    shop.world.run_until(60 * SEC, |world| world.now() >= DEADLINE + SOON);
    let now = shop.look();
    assert!(now.order("lunch").is_some_and(|order| order.failed), "{now:?}");
    assert!(now.made.is_empty() && now.items.iter().all(|item| item.dish == "caviar"), "{now:?}");
    shop.restock("caviar");
    assert!(shop.settles(SETTLES, |now| now.items.is_empty()));
}

#[test]
fn a_deadline_that_passes_while_the_node_is_down_is_seen_at_its_start() {
    let mut shop = Shop::open(1, &["one"]);
    shop.sell_out("caviar");
    let order = Order::new("lunch", &["caviar"]);
    shop.order(Order { deadline: Some(EPOCH.plus(10 * SEC)), ..order });
    shop.world.run_for(SOON);
    shop.crash("one");
    shop.world.run_for(60 * SEC);
    shop.start("one");
    assert!(shop.settles(SOON, |now| now.order("lunch").is_some_and(|order| order.failed)));
}

#[test]
fn a_deadline_that_is_met_changes_nothing() {
    let mut shop = Shop::open(1, &["one"]);
    let order = Order::new("lunch", &["soup"]);
    shop.order(Order { deadline: Some(EPOCH.plus(10 * SEC)), ..order });
    shop.world.run_for(60 * SEC);
    let now = shop.look();
    assert!(now.order("lunch").is_some_and(|order| order.ready && !order.failed), "{now:?}");
}

fn keys(alarms: &[Alarm]) -> Vec<&str> {
    alarms.iter().map(|alarm| alarm.key.as_str()).collect()
}

/// What subscribers were told of rows, in order.
fn told(shop: &mut Shop) -> Vec<(String, String)> {
    let store = shop.store();
    let page = shop.on_store(async move { Feed::new(&store, "shop").read(0, 100).await.unwrap() });
    page.notices.into_iter().map(|notice| (notice.event, notice.object)).collect()
}

fn event(event: &str, object: &str) -> (String, String) {
    (event.to_owned(), object.to_owned())
}

#[test]
fn a_row_that_does_not_settle_raises_an_alarm_once_and_takes_it_back() {
    let mut shop = Shop::open(1, &["one"]);
    shop.sell_out("caviar");
    shop.order(Order::new("lunch", &["caviar"]));
    shop.world.run_for(SETTLES_WITHIN - SEC);
    assert!(shop.alarms("one").is_empty());
    shop.world.run_for(SOON);
    let alarms = shop.alarms("one");
    assert_eq!(keys(&alarms), ["lunch/caviar"]);
    assert_eq!(alarms[0].waits_for, "[Make]", "what its plan asks for, in its own words");
    assert!(alarms[0].since < EPOCH.plus(SEC), "{alarms:?}");
    shop.world.run_for(5 * SETTLES_WITHIN);
    assert_eq!(told(&mut shop), [event(UNSETTLED, "lunch/caviar")], "and nobody is told again");
    shop.restock("caviar");
    shop.world.run_for(SETTLES);
    assert!(shop.alarms("one").is_empty());
    let both = [event(UNSETTLED, "lunch/caviar"), event(SETTLED, "lunch/caviar")];
    assert_eq!(told(&mut shop), both);
    let left = shop.with_store(|txn| txn.scan_raw("shop/~alarm/", None, 9));
    assert!(left.is_empty());
}

#[test]
fn a_row_that_has_settled_and_does_not_again_raises_an_alarm_of_its_own() {
    let mut shop = Shop::open(1, &["one"]);
    shop.order(Order::new("lunch", &["soup"]));
    shop.world.run_for(2 * SETTLES_WITHIN);
    assert_eq!(told(&mut shop), [], "what has settled has no time to keep");
    shop.sell_out("soup");
    shop.cancel("lunch");
    shop.world.run_for(SETTLES_WITHIN - SEC);
    assert_eq!(told(&mut shop), []);
    shop.world.run_for(SOON);
    let both = [event(UNSETTLED, "lunch"), event(UNSETTLED, "lunch/soup")];
    let mut told = told(&mut shop);
    told.sort();
    assert_eq!(told, both);
}

#[test]
fn a_damaged_row_raises_an_alarm_that_says_so() {
    let mut shop = Shop::open(1, &["one"]);
    shop.with_store(|txn| txn.put_raw("shop/order/odd", "{}".into()));
    shop.world.run_for(SETTLES + SETTLES_WITHIN);
    let alarms = shop.order_alarms("one");
    assert_eq!(keys(&alarms), ["odd"]);
    assert!(alarms[0].waits_for.contains("damaged"), "{alarms:?}");
    shop.with_store(|txn| txn.delete_raw("shop/order/odd"));
    shop.world.run_for(SOON);
    assert!(shop.order_alarms("one").is_empty());
}

#[test]
fn an_alarm_outlives_its_node_and_is_raised_once_for_all() {
    let mut shop = Shop::open(1, &["one"]);
    shop.sell_out("caviar");
    shop.order(Order::new("lunch", &["caviar"]));
    shop.world.run_for(SETTLES_WITHIN + SOON);
    let before = shop.alarms("one");
    shop.crash("one");
    shop.start("one");
    shop.world.run_for(SOON);
    let after = shop.alarms("one");
    assert_eq!(after, before, "since when, too");
    assert_eq!(told(&mut shop), [event(UNSETTLED, "lunch/caviar")]);
}

#[test]
fn an_alarm_of_a_row_that_went_while_nobody_looked_is_taken_back() {
    let mut shop = Shop::open(1, &["one"]);
    shop.sell_out("caviar");
    shop.order(Order::new("lunch", &["caviar"]));
    shop.world.run_for(SETTLES_WITHIN + SOON);
    shop.crash("one");
    shop.with_store(|txn| txn.delete::<Item>("lunch/caviar").map(drop));
    shop.delete_order("lunch");
    shop.start("one");
    shop.world.run_for(SOON);
    assert!(shop.alarms("one").is_empty());
    let both = [event(UNSETTLED, "lunch/caviar"), event(SETTLED, "lunch/caviar")];
    assert_eq!(told(&mut shop), both);
}

#[test]
fn two_nodes_raise_the_alarm_of_a_row_once() {
    let mut shop = Shop::open(1, &["one", "two"]);
    shop.sell_out("caviar");
    shop.order(Order::new("lunch", &["caviar"]));
    shop.world.run_for(SETTLES_WITHIN + SOON);
    assert_eq!(told(&mut shop), [event(UNSETTLED, "lunch/caviar")]);
    shop.restock("caviar");
    shop.world.run_for(SETTLES);
    assert_eq!(told(&mut shop).len(), 2);
    assert!(shop.alarms("one").is_empty() && shop.alarms("two").is_empty());
}

#[test]
fn an_order_that_waits_for_what_it_owns_says_so_in_its_alarm() {
    let mut shop = Shop::open(1, &["one"]);
    shop.order(Order::new("lunch", &["soup"]));
    shop.world.run_for(SOON);
    shop.sell_out("soup");
    shop.cancel("lunch");
    shop.world.run_for(SETTLES_WITHIN + SOON);
    let alarms = shop.order_alarms("one");
    assert_eq!(keys(&alarms), ["lunch"]);
    assert_eq!(alarms[0].waits_for, "its items to go");
    shop.restock("soup");
    shop.world.run_for(SETTLES);
    assert!(shop.order_alarms("one").is_empty());
}
