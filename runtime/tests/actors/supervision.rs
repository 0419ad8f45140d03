//! What a supervisor does when children die, and when it is told to stop.

use std::time::Duration;

use updraft_runtime::{
    Env,
    supervise::{Restart, STOPS_WITHIN, Settings, Strategy, Supervisor},
};

use crate::troupe::{Stage, Told};

async fn troupe(strategy: Strategy, stage: &Stage) -> Supervisor {
    let settings = Settings { strategy, ..Settings::default() };
    let children = ["a", "b", "c"].map(|name| stage.player(name)).into();
    let supervisor = Supervisor::start(Env::real(), settings, children).await.unwrap();
    assert_eq!(stage.since(), ["start a", "start b", "start c"]);
    supervisor
}

#[tokio::test(start_paused = true)]
async fn one_for_one_starts_the_dead_one_alone() {
    let stage = Stage::default();
    let _supervisor = troupe(Strategy::OneForOne, &stage).await;
    for death in [Told::Fail, Told::Panic, Told::End] {
        stage.tell("b", death).await;
        assert_eq!(stage.since().last().unwrap(), "start b");
    }
}

#[tokio::test(start_paused = true)]
async fn one_for_all_stops_the_others_last_first_and_starts_all() {
    let stage = Stage::default();
    let _supervisor = troupe(Strategy::OneForAll, &stage).await;
    stage.tell("b", Told::Fail).await;
    assert_eq!(stage.since(), ["stop c", "stop a", "start a", "start b", "start c"]);
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_leaves_the_elder_alone() {
    let stage = Stage::default();
    let _supervisor = troupe(Strategy::RestForOne, &stage).await;
    stage.tell("b", Told::Fail).await;
    assert_eq!(stage.since(), ["stop c", "start b", "start c"]);
}

#[tokio::test(start_paused = true)]
async fn children_stop_in_the_opposite_order() {
    let stage = Stage::default();
    troupe(Strategy::OneForOne, &stage).await.stop().await;
    assert_eq!(stage.since(), ["stop c", "stop b", "stop a"]);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_does_not_stop_in_time_is_killed_and_the_others_stop_all_the_same() {
    let stage = Stage::default();
    let stuck = stage.slow_player("stuck", Duration::from_secs(3600));
    let children = vec![stage.player("a"), stuck.stops_within(Duration::from_secs(1))];
    let supervisor = Supervisor::start(Env::real(), Settings::default(), children).await.unwrap();
    stage.since();
    let stopped = Env::real().timeout(Duration::from_secs(2), supervisor.stop()).await;
    assert!(stopped.is_some(), "a second was given");
    assert_eq!(stage.since(), ["stop a"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_to_run_again_is_a_childs_own_choice() {
    let stage = Stage::default();
    let children = vec![
        stage.player("on-failure").restarts(Restart::OnFailure),
        stage.player("never").restarts(Restart::Never),
    ];
    let _supervisor = Supervisor::start(Env::real(), Settings::default(), children).await.unwrap();
    stage.since();
    stage.tell("on-failure", Told::Fail).await;
    assert_eq!(stage.since(), ["start on-failure"]);
    stage.tell("on-failure", Told::End).await;
    assert_eq!(stage.since(), ["stop on-failure"]);
    stage.tell("never", Told::Panic).await;
    assert_eq!(stage.since(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn too_many_deaths_escalate_and_the_rest_stops_in_order() {
    let stage = Stage::default();
    let settings = Settings { restarts_max: 2, ..Settings::default() };
    let children = ["a", "b", "c"].map(|name| stage.player(name)).into();
    let supervisor = Supervisor::start(Env::real(), settings, children).await.unwrap();
    for _ in 0..2 {
        stage.tell("b", Told::Fail).await;
    }
    stage.since();
    stage.tell("b", Told::Fail).await;
    assert_eq!(stage.since(), ["stop c", "stop a"]);
    let why = supervisor.escalated().await;
    assert!(why.contains("b died 3 times"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn deaths_that_are_far_apart_do_not_escalate() {
    let stage = Stage::default();
    let settings = Settings { restarts_max: 1, window: Duration::ZERO, ..Settings::default() };
    let children = vec![stage.player("a")];
    let _supervisor = Supervisor::start(Env::real(), settings, children).await.unwrap();
    for _ in 0..5 {
        stage.since();
        stage.tell("a", Told::Fail).await;
        assert_eq!(stage.since(), ["start a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_gives_up_is_started_anew_by_the_one_above() {
    let stage = Stage::default();
    let impatient = Settings { restarts_max: 0, ..Settings::default() };
    let below = ["b", "c"].map(|name| stage.player(name)).into();
    let below = Supervisor::child(&Env::real(), "below", impatient, below);
    let children = vec![stage.player("a"), below];
    let above = Supervisor::start(Env::real(), Settings::default(), children).await.unwrap();
    stage.since();
    stage.tell("b", Told::Fail).await;
    assert_eq!(stage.since(), ["stop c", "start b", "start c"]);
    above.stop().await;
    assert_eq!(stage.since(), ["stop c", "stop b", "stop a"]);
}

#[tokio::test(start_paused = true)]
async fn a_tree_gives_every_child_its_own_time_to_stop() {
    let stage = Stage::default();
    let slow = STOPS_WITHIN - Duration::from_secs(1);
    let below = ["b", "c"].map(|name| stage.slow_player(name, slow)).into();
    let below = Supervisor::child(&Env::real(), "below", Settings::default(), below);
    let above = Supervisor::start(Env::real(), Settings::default(), vec![below]).await.unwrap();
    stage.since();
    above.stop().await;
    assert_eq!(stage.since(), ["stop c", "stop b"], "neither was killed");
}
