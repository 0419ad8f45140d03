//! Tunnels between nodes that break: on the in-memory switch, and over QUIC on simulated UDP.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::oneshot,
};
use updraft_harness::world::{NodeContext, Tier, World};
use updraft_runtime::{
    Env, message, protocol,
    rpc::{CallError, Cx, Fault, FaultKind, Refusal, Rpc, Service, TraceContext},
    transport::NodeId,
    tunnel::{OpenError, TUNNELS_PER_PEER_MAX, Tunnel},
};

const LIMIT: Duration = Duration::from_secs(300);
const TIERS: [Tier; 2] = [Tier::Memory, Tier::Quic];

/// What echoes understand.
struct Cave;
protocol!(Cave = "cave");

/// "I shout."
#[derive(Serialize, Deserialize)]
struct Shout {
    /// What is heard before anything was shouted.
    greeting: String,
    /// After so many bytes nothing is heard any more.
    ends_after: usize,
}
message!(tunnel Shout = Cave / "shout", from ["visitor"], to ["cave"]);

/// How many hear at the moment.
#[derive(Clone, Default)]
struct Hearing(Arc<AtomicUsize>);

impl Hearing {
    fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

async fn echo(mut end: DuplexStream, shout: Shout, hearing: Hearing) {
    hearing.0.fetch_add(1, Ordering::Relaxed);
    let _ = end.write_all(shout.greeting.as_bytes()).await;
    let (mut heard, mut room) = (0, vec![0; 4096]);
    while heard < shout.ends_after {
        match end.read(&mut room).await {
            Ok(count) if count > 0 => {
                heard += count;
                if end.write_all(&room[..count]).await.is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    hearing.0.fetch_sub(1, Ordering::Relaxed);
}

fn service(rpc: &Rpc, hearing: &Hearing) -> Service {
    let (env, hearing) = (rpc.env().clone(), hearing.clone());
    let cave = Service::of::<Cave>().tunnel(rpc, move |_, shout: Shout| {
        let (env, hearing) = (env.clone(), hearing.clone());
        async move {
            if shout.greeting == "nobody" {
                return Err(Fault::new(FaultKind::NotFound, "Nobody", "nobody is here"));
            }
            let (theirs, ours) = tokio::io::duplex(4096);
            env.spawn("echo", echo(ours, shout, hearing));
            Ok(theirs)
        }
    });
    cave.into()
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

struct Mountain {
    world: World,
    hearing: Hearing,
}

impl Mountain {
    fn start(tier: Tier, roles: &'static [&'static str]) -> Self {
        let (mut world, hearing) = (World::on_tier(3, tier), Hearing::default());
        let heard = hearing.clone();
        world.node("cave", &["control", "cave"], move |context: NodeContext| {
            let hearing = heard.clone();
            context.serve(&["cave"], move |node| {
                vec![node.directory().service(), service(&node.rpc(), &hearing)]
            })
        });
        world.node("visitor", roles, |context| context.serve(&["cave"], |_| Vec::new()));
        let known = |world: &mut World| {
            let rpc: Option<Rpc> = world.handle(&id("visitor"));
            rpc.is_some_and(|rpc| !rpc.directory().servers_of::<Shout>().is_empty())
        };
        assert!(world.run_until(LIMIT, known), "the cave is not known");
        Self { world, hearing }
    }

    fn rpc(&self) -> Rpc {
        self.world.handle(&id("visitor")).unwrap()
    }

    /// Does something on the visitor's node.
    fn on_visitor<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.world.on(&id("visitor"), LIMIT, work).unwrap()
    }

    fn until_hearing(&mut self, count: usize) {
        let hearing = self.hearing.clone();
        assert!(self.world.run_until(LIMIT, |_| hearing.now() == count), "{}", hearing.now());
    }
}

async fn open(rpc: &Rpc, greeting: &str, ends_after: usize) -> Result<Tunnel, OpenError> {
    let shout = Shout { greeting: greeting.to_owned(), ends_after };
    let cx = Cx::new("visitor", TraceContext::default());
    rpc.client::<Cave>().on(&id("cave")).open(shout, &cx).await
}

async fn hear(tunnel: &mut Tunnel, count: usize) -> Vec<u8> {
    let mut heard = Vec::new();
    while heard.len() < count {
        heard.extend(tunnel.reader.next().await.unwrap().unwrap());
    }
    heard
}

async fn sleep_for_ever(env: &Env) {
    loop {
        env.sleep(LIMIT).await;
    }
}

#[test]
fn what_is_said_comes_back_whole_and_the_end_is_heard() {
    for tier in TIERS {
        let mut mountain = Mountain::start(tier, &["visitor"]);
        let rpc = mountain.rpc();
        let said: Bytes = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        let shouted = said.clone();
        let heard = mountain.on_visitor(async move {
            let mut tunnel = open(&rpc, "", shouted.len()).await.unwrap();
            let Tunnel { reader, writer } = &mut tunnel;
            let speak = async { writer.send(shouted).await.unwrap() };
            let listen = async {
                let mut heard = Vec::new();
                while let Some(bytes) = reader.next().await.unwrap() {
                    heard.extend(bytes);
                }
                heard
            };
            tokio::join!(speak, listen).1
        });
        assert!(heard == said, "{tier:?}: {} bytes came back of {}", heard.len(), said.len());
        mountain.until_hearing(0);
    }
}

#[test]
fn who_is_silent_is_heard_first() {
    for tier in TIERS {
        let mut mountain = Mountain::start(tier, &["visitor"]);
        let rpc = mountain.rpc();
        let heard = mountain.on_visitor(async move {
            let mut tunnel = open(&rpc, "hello", usize::MAX).await.unwrap();
            hear(&mut tunnel, 5).await
        });
        assert_eq!(heard, b"hello", "{tier:?}");
        mountain.until_hearing(0);
    }
}

#[test]
fn a_no_is_heard_in_its_own_words_and_takes_no_place() {
    let mut mountain = Mountain::start(Tier::Memory, &["visitor"]);
    for _ in 0..2 * TUNNELS_PER_PEER_MAX {
        let rpc = mountain.rpc();
        let error = mountain.on_visitor(async move { open(&rpc, "nobody", 1).await }).unwrap_err();
        assert!(error.to_string().contains("nobody is here"), "{error}");
    }
}

#[test]
fn who_has_not_the_role_gets_none() {
    let mut mountain = Mountain::start(Tier::Memory, &["stranger"]);
    let rpc = mountain.rpc();
    let error = mountain.on_visitor(async move { open(&rpc, "", 1).await }).unwrap_err();
    let denied = |refusal: &Refusal| matches!(refusal, Refusal::Denied(_));
    assert!(
        matches!(&error, OpenError::Call(CallError::Refused { refusal, .. }) if denied(refusal)),
        "{error:?}"
    );
    assert_eq!(mountain.hearing.now(), 0);
}

#[test]
fn a_server_that_dies_is_heard_of() {
    for tier in TIERS {
        let mut mountain = Mountain::start(tier, &["visitor"]);
        let rpc = mountain.rpc();
        let (tell, mut told) = oneshot::channel();
        let mut outcome = mountain
            .world
            .begin(&id("visitor"), async move {
                let mut tunnel = open(&rpc, "hello", usize::MAX).await.unwrap();
                hear(&mut tunnel, 5).await;
                tell.send(()).unwrap();
                tunnel.reader.next().await
            })
            .unwrap();
        assert!(mountain.world.run_until(LIMIT, |_| told.try_recv().is_ok()));
        mountain.world.crash(&id("cave"));
        let mut ended = None;
        mountain.world.run_until(LIMIT, |_| {
            ended = outcome.try_recv().ok();
            ended.is_some()
        });
        assert!(matches!(ended, Some(Err(_))), "{tier:?}: {ended:?}");
    }
}

#[test]
fn a_visitor_that_dies_or_goes_is_talked_to_no_longer() {
    for tier in TIERS {
        let mut mountain = Mountain::start(tier, &["visitor"]);
        let rpc = mountain.rpc();
        let (tell, mut told) = oneshot::channel();
        let stays = async move {
            let mut tunnel = open(&rpc, "hello", usize::MAX).await.unwrap();
            hear(&mut tunnel, 5).await;
            tell.send(()).unwrap();
            sleep_for_ever(rpc.env()).await;
        };
        drop(mountain.world.begin(&id("visitor"), stays).unwrap());
        // Only then it stands: a handler is run before.
        assert!(mountain.world.run_until(LIMIT, |_| told.try_recv().is_ok()));
        mountain.until_hearing(1);
        mountain.world.crash(&id("visitor"));
        mountain.until_hearing(0);
    }
}

#[test]
fn one_more_than_there_may_be_is_refused_and_one_that_ends_makes_room() {
    for tier in TIERS {
        let mut mountain = Mountain::start(tier, &["visitor"]);
        let rpc = mountain.rpc();
        let refused = mountain.on_visitor(async move {
            let mut open_ones = Vec::new();
            for _ in 0..TUNNELS_PER_PEER_MAX {
                open_ones.push(open(&rpc, "x", usize::MAX).await.unwrap());
            }
            let refused = open(&rpc, "x", usize::MAX).await;
            open_ones.pop();
            // The other end has to hear of it first.
            while open(&rpc, "x", usize::MAX).await.is_err() {
                rpc.env().sleep(Duration::from_millis(10)).await;
            }
            refused.err()
        });
        assert!(matches!(refused, Some(OpenError::Full(_))), "{tier:?}: {refused:?}");
    }
}
