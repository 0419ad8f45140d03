//! Actors that wait, and what they hold in memory.

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use updraft_bench_load::{Failure, Idle, resident_bytes};
use updraft_runtime::{
    Env,
    rpc::Service,
    supervise::{Child, Settings, Supervisor},
};

use super::node;

/// They are left alone for so long before their memory is read.
const SETTLE: Duration = Duration::from_secs(1);

/// An actor with a mailbox and a number.
struct Waiting;

impl Actor for Waiting {
    type Msg = u64;
    type State = u64;
    type Arguments = u64;

    async fn pre_start(&self, _: ActorRef<u64>, number: u64) -> Result<u64, ActorProcessingErr> {
        Ok(number)
    }
}

/// What each of so many supervised actors, or services of one node, holds.
pub(super) async fn idle(env: &Env, count: u32, services: bool) -> Result<String, Failure> {
    let own = i32::try_from(std::process::id())?;
    let before = resident_bytes(own)?;
    let bytes = if services {
        let node = node::alone(env, (0..count).map(service).collect()).await?;
        env.sleep(SETTLE).await;
        let now = resident_bytes(own)?;
        node.stop().await;
        now - before
    } else {
        let children = (0..count).map(child).collect();
        let supervisor = Supervisor::start(env.clone(), Settings::default(), children).await?;
        env.sleep(SETTLE).await;
        let now = resident_bytes(own)?;
        supervisor.stop().await;
        now - before
    };
    Ok(serde_json::to_string(&Idle { bytes: bytes / f64::from(count), maker_bytes: None })?)
}

fn child(number: u32) -> Child {
    Child::new(&format!("waiting-{number}"), move |supervisor| {
        Box::pin(async move {
            let (actor, _) = Actor::spawn_linked(None, Waiting, number.into(), supervisor).await?;
            Ok(actor.get_cell())
        })
    })
}

/// A service of its own topic.
fn service(number: u32) -> Service {
    Service::empty(&format!("waiting-{number}"))
}
