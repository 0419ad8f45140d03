//! A node that never waits is told of, and does not hold the world up for ever.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{panic::AssertUnwindSafe, time::Duration};

use updraft_harness::world::{NodeContext, World};
use updraft_runtime::{Env, env::BoxFuture};

/// A task that begins itself again after so long.
fn again(env: Env, pause: Duration) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        if !pause.is_zero() {
            env.sleep(pause).await;
        }
        let task = again(env.clone(), pause);
        env.spawn("again", task);
    })
}

/// A world with a node that begins such a task, for a while; what broke there, if anything did.
fn broken(pause: Duration) -> Option<String> {
    let mut world = World::new(1);
    world.node("host-1", &[], move |NodeContext { env, .. }| async move {
        env.spawn("again", again(env.clone(), pause));
    });
    let run = AssertUnwindSafe(|| world.run_for(Duration::from_millis(20)));
    let panic = std::panic::catch_unwind(run).err()?;
    Some(panic.downcast_ref::<String>().unwrap().clone())
}

#[test]
fn a_node_that_goes_on_without_waiting_is_named() {
    let words = broken(Duration::ZERO).unwrap();
    for part in ["a node comes to rest in each of its turns", "host-1", r#"task "again""#] {
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn one_that_waits_for_the_clock_may_go_on_for_ever() {
    assert_eq!(broken(Duration::from_millis(1)), None);
}
