//! Two nodes: one adds numbers for the other.
//!
//! `cargo run -p updraft-harness --example two_nodes -- --real` runs it over QUIC on this machine, without `--real`
//! in a simulation, and with `--quic` in one over simulated UDP.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use updraft_harness::world::World;
use updraft_runtime::{
    message, protocol,
    rpc::{Cx, Rpc, Service, TraceContext},
};

/// What adds numbers.
struct Calculator;
protocol!(Calculator = "calculator");

/// "Add these."
#[derive(Serialize, Deserialize)]
struct Add(u32, u32);
message!(call Add = Calculator / "add", Fenced, from ["user"], to ["server"], reply u32);

fn calculator() -> Service {
    Service::of::<Calculator>().call(|_, Add(a, b)| async move { Ok(a + b) }).into()
}

fn main() {
    let mut world = World::from_args();
    let server =
        world.node("server", &["server"], |node| node.serve(&["user"], |_| vec![calculator()]));
    let user = world.node("user", &["user", "control"], |node| {
        node.serve(&[], |prepared| vec![prepared.directory().service()])
    });
    let minute = Duration::from_secs(60);
    world.run_until(minute, |world| world.handle::<Rpc>(&user).is_some());
    let rpc: Rpc = world.handle(&user).expect("the user's node runs");
    let sum = world.on(&user, minute, async move {
        let cx = Cx::new("example", TraceContext::fresh(rpc.env()));
        rpc.directory().wait_for::<Add>(1).await;
        let calculator = rpc.client::<Calculator>().on(&server);
        calculator.call(&Add(2, 3), &cx).await
    });
    assert!(matches!(sum, Some(Ok(5))), "{sum:?}");
    println!("2 + 3 = 5, says the server");
}
