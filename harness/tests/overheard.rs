//! What is sent over QUIC is seen in a record of everything, and whether anybody looks changes nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::time::Duration;

use updraft_harness::{
    fault::{Fault, FaultPlan, LinkTrouble, Target},
    record::{Detail, End, Recorder, What, difference},
    timeline::{self, Told},
    world::{NodeContext, Tier, World},
};
use updraft_transport::{Class, Event, Frame, Header, Kind, NodeId};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Greets the other and itself now and then, and answers what it hears of the other.
async fn talk(context: NodeContext, other: NodeId) {
    let (env, link, node) = (context.env.clone(), context.transport.clone(), context.node());
    link.learn(&other, context.address_of(&other));
    let frame = move |kind, id| {
        let header = Header {
            kind,
            method: "test/greet".into(),
            id,
            incarnation: context.incarnation,
            deadline_ms: 60_000,
            trace_id: [0; 16],
            span_id: [0; 8],
            trace_flags: 0,
            context: Vec::new().into(),
        };
        Frame { header, body: vec![7; 100].into() }
    };
    let (answers, mut events) = (link.clone(), context.events);
    let (answer, to) = (frame, other.clone());
    context.env.spawn("listen", async move {
        while let Some(event) = events.recv().await {
            let Event::Frame { peer, frame } = event else { continue };
            if frame.header.kind == Kind::Call && peer.node == to {
                answers.send(&to, Class::Calls, answer(Kind::Reply, frame.header.id)).unwrap();
            }
        }
    });
    for id in 1_u64.. {
        for to in [&other, &node] {
            link.send(to, Class::Calls, frame(Kind::Call, id)).unwrap();
        }
        env.sleep(ms(100)).await;
    }
}

/// Everything that is recorded of two nodes, of which one is not heard for a while.
fn run(detail: Detail) -> Recorder {
    let recorder = Recorder::new(detail);
    recorder.install();
    let mut world = World::on_tier(1, Tier::Quic);
    let cut = Fault::Link {
        from: Target::node("a"),
        to: Target::node("b"),
        both_ways: false,
        trouble: LinkTrouble::Cut,
    };
    world.follow(FaultPlan::new(1).with(ms(2_000), ms(20_000), cut));
    for (name, other) in [("a", "b"), ("b", "a")] {
        let other = NodeId::new(other).unwrap();
        world.node(name, &["peer"], move |context| talk(context, other.clone()));
    }
    world.run_for(ms(8_000));
    recorder
}

/// Of what a sends b, when each that arrives does.
fn arrivals(recorder: &Recorder, from: &str, to: &str) -> Vec<(Duration, String)> {
    let records = recorder.records().into_iter();
    let passed = records.filter_map(|record| match record.what {
        What::Passed(sent, End::Receiver) => Some((record.at, sent)),
        _ => None,
    });
    passed
        .filter(|(_, sent)| sent.from.as_str() == from && sent.to.as_str() == to)
        .map(|(at, sent)| (at, sent.heading.unwrap().method))
        .collect()
}

#[test]
fn frames_inside_of_quic_are_recorded_at_both_ends() {
    let recorder = run(Detail::Everything);
    let heard = arrivals(&recorder, "a", "b");
    assert!(heard.len() > 15 && heard.iter().all(|(_, method)| method == "test/greet"));
    assert!(heard.iter().all(|(at, _)| *at < ms(2_010)), "what is cut arrives: {heard:?}");
    assert!(arrivals(&recorder, "a", "a").iter().any(|(at, _)| *at > ms(7_000)));
    let page = timeline::page(&Told::default(), &recorder.records());
    assert!(page.contains("test/greet"), "the page shows no message");
    assert!(
        recorder
            .lines()
            .iter()
            .any(|line| line.contains("a>b Calls 100") && line.ends_with(", arrived"))
    );
}

#[test]
fn whether_everything_is_recorded_changes_nothing() {
    let of_datagrams = |detail| {
        let lines = run(detail).lines().into_iter();
        lines.filter(|line| !line.ends_with(", sent") && !line.ends_with(", arrived")).collect()
    };
    let [some, all]: [Vec<String>; 2] = [Detail::Events, Detail::Everything].map(of_datagrams);
    assert!(some.len() > 300, "only {} lines", some.len());
    if let Some(difference) = difference(&some, &all) {
        panic!("{difference}");
    }
}
