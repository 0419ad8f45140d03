//! Spans that are exported: one request is one trace, whatever nodes it went over.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use updraft_harness::world::{NodeContext, Tier, World};
use updraft_runtime::{
    message, protocol,
    rpc::{CallError, Cx, Fault, MAILBOX_MAX, Rpc, Service, TraceContext},
    trace::otlp,
};
use updraft_transport::NodeId;

/// What hands on what it is asked.
pub struct Relay;
protocol!(Relay = "relay");

/// "Begin, and never end."
#[derive(Serialize, Deserialize)]
pub struct Last;
message!(cast Last = Relay / "last", from ["*"], to ["*"]);

/// "Ask the one after you, and so on; the last one says no."
#[derive(Serialize, Deserialize)]
pub struct Ask;
message!(call Ask = Relay / "ask", Fenced, from ["*"], to ["*"], reply u32);

const LIMIT: Duration = Duration::from_secs(60);

/// Who asks whom, from the one that begins.
const CHAIN: [&str; 4] = ["begins", "first", "second", "third"];

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn relay(name: &str, rpc: &Rpc) -> Service {
    let place = CHAIN.iter().position(|link| *link == name).unwrap();
    let next = CHAIN.get(place + 1).map(|next| rpc.client::<Relay>().on(&id(next)));
    let handlers = Service::of::<Relay>().call(move |ctx, Ask| {
        let next = next.clone();
        async move {
            let next = next.ok_or_else(|| Fault::internal("nobody is left"))?;
            next.call(&Ask, &ctx.onward()).await.map_err(|error| Fault::internal(error.to_string()))
        }
    });
    handlers.into()
}

/// The spans in the file once it has this many, each with its node.
fn spans(world: &mut World, file: &Path, count: usize) -> Vec<(String, Value)> {
    let read = || {
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let resources = lines.map(|mut line| line["resourceSpans"][0].take());
        let spans = resources.flat_map(|resource| {
            let node = &resource["resource"]["attributes"][1]["value"]["stringValue"];
            let node = node.as_str().unwrap().to_owned();
            let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap().clone();
            spans.into_iter().map(move |span| (node.clone(), span))
        });
        spans.collect::<Vec<_>>()
    };
    assert!(world.run_until(LIMIT, |_| read().len() >= count), "{:?}", read());
    read()
}

/// Asks along the whole chain while every node exports its spans to this file.
fn ask_along(world: &mut World, file: &Path) -> Result<u32, CallError> {
    for name in CHAIN {
        let file = file.to_owned();
        world.node(name, &["control"], move |node: NodeContext| {
            let env = node.env.clone();
            let file = file.clone();
            node.serve(&CHAIN, move |prepared| {
                let rpc = prepared.rpc();
                otlp::export_to_file(&env, rpc.local().clone(), rpc.spans(), file);
                vec![prepared.directory().service(), relay(name, &rpc)]
            })
        });
    }
    let begins = id(CHAIN[0]);
    let knows = |world: &mut World| {
        let Some(rpc) = world.handle::<Rpc>(&begins) else { return false };
        let known = async move { rpc.directory().servers_of::<Ask>().len() };
        world.on(&begins, LIMIT, known) == Some(CHAIN.len())
    };
    assert!(world.run_until(LIMIT, knows), "they meet");
    let rpc: Rpc = world.handle(&begins).unwrap();
    let call = async move {
        let cx = Cx::new("test", TraceContext::fresh(rpc.env()));
        rpc.client::<Relay>().on(&id(CHAIN[1])).call(&Ask, &cx).await
    };
    world.on(&id(CHAIN[0]), LIMIT, call).unwrap()
}

#[test]
fn a_request_over_three_hops_is_one_trace_with_the_right_parents() {
    for tier in [Tier::Memory, Tier::Quic, Tier::Real] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("spans.jsonl");
        let mut world = World::on_tier(1, tier);
        let outcome = ask_along(&mut world, &file);
        assert!(matches!(outcome, Err(CallError::Rejected(_))), "{outcome:?}");
        let spans = spans(&mut world, &file, 6);
        assert_eq!(spans.len(), 6, "the cloud's own messages have none: {spans:?}");
        let traces: BTreeSet<_> =
            spans.iter().map(|(_, span)| span["traceId"].as_str().unwrap()).collect();
        assert_eq!(traces.len(), 1);
        // Each span's node and kind (2: handled, 3: asked), from the first to the last.
        let below: BTreeMap<_, _> = spans
            .iter()
            .map(|(node, span)| (span["parentSpanId"].as_str().unwrap(), (node, span)))
            .collect();
        let (mut at, mut seen) = ("", Vec::new());
        while let Some((node, span)) = below.get(at) {
            seen.push((node.as_str(), span["kind"].as_u64().unwrap()));
            assert_eq!(span["status"]["code"], 2, "all of them ended with the last one's no");
            at = span["spanId"].as_str().unwrap();
        }
        let hops = [("first", 2), ("second", 2), ("third", 2)];
        let asks = [("begins", 3), ("first", 3), ("second", 3)];
        let chain: Vec<_> = asks.into_iter().zip(hops).flat_map(|(ask, hop)| [ask, hop]).collect();
        assert_eq!(seen, chain);
    }
}

#[test]
fn a_seed_gives_the_same_spans_again() {
    let run = || {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("spans.jsonl");
        let mut world = World::on_tier(7, Tier::Memory);
        let _ = ask_along(&mut world, &file);
        spans(&mut world, &file, 6)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_message_that_nobody_had_room_for_is_told_as_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let mut world = World::new(1);
    let told = file.clone();
    let busy = world.node("busy", &["control"], move |node: NodeContext| {
        let (env, file) = (node.env.clone(), told.clone());
        node.serve(&["busy"], move |prepared| {
            let rpc = prepared.rpc();
            otlp::export_to_file(&env, rpc.local().clone(), rpc.spans(), file);
            let lasts = Service::of::<Relay>().cast(|_, Last| std::future::pending());
            vec![prepared.directory().service(), lasts.into()]
        })
    });
    assert!(world.run_until(LIMIT, |world| world.handle::<Rpc>(&busy).is_some()));
    let rpc: Rpc = world.handle(&busy).unwrap();
    let casts = async move {
        let cx = Cx::new("test", TraceContext::fresh(rpc.env()));
        let client = rpc.client::<Relay>().on(rpc.local());
        (0..=MAILBOX_MAX).for_each(|_| client.cast(&Last, &cx).unwrap());
    };
    world.on(&busy, LIMIT, casts).unwrap();
    let spans = spans(&mut world, &file, MAILBOX_MAX + 2);
    let handled: Vec<_> = spans.iter().filter(|(_, span)| span["kind"] == 5).collect();
    let [(_, refused)] = handled.as_slice() else { panic!("one message had ended: {handled:?}") };
    assert_eq!(refused["status"]["message"], "relay is busy");
}
