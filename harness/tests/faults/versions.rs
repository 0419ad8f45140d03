//! Two versions of the wire at once: nodes of the former release among those of this one.

use std::{sync::Arc, time::Duration};

use updraft_harness::{
    fault::{Fault, FaultKind, FaultPlan, NodeTrouble, Target},
    world::{Tier, World},
};
use updraft_transport::{
    Class, Frame, Header, Incarnation, Kind, LinkError, NodeId, Transport,
    body::{LABEL_BYTES, Label},
    wire::WireVersion,
};

/// The kind that is shown here.
pub(super) const KIND: FaultKind = FaultKind::FormerWire;

const FROM: Duration = Duration::from_secs(3);
const UNTIL: Duration = Duration::from_secs(6);
const SETTLED: Duration = Duration::from_secs(2);

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn three_nodes(tier: Tier, plan: FaultPlan) -> World {
    let mut world = World::on_tier(plan.seed, tier);
    for name in ["a", "b", "c"] {
        world.node(name, &["peer"], |context| async move {
            for other in ["a", "b", "c"].map(id).into_iter().filter(|id| *id != context.node()) {
                context.transport.learn(&other, context.address_of(&other));
            }
            let (transport, life) = (context.transport.clone(), context.incarnation);
            context.handles().keep(|| (transport, life));
            let mut events = context.events;
            context.env.spawn("listen", async move { while events.recv().await.is_some() {} });
        });
    }
    world.follow(plan);
    world
}

fn hello(incarnation: Incarnation) -> Frame {
    let header = Header {
        kind: Kind::Cast,
        method: "test/hello".into(),
        id: 1,
        incarnation,
        deadline_ms: 1_000,
        trace_id: [0; 16],
        span_id: [0; 8],
        trace_flags: 0,
        context: Vec::new().into(),
    };
    Frame { header, body: Vec::new().into() }
}

/// Whether one can send the other what only the newest version has.
fn speaks_newest(world: &mut World, from: &str, to: &str) -> bool {
    let (transport, life): (Arc<dyn Transport>, Incarnation) = world.handle(&id(from)).unwrap();
    let to = id(to);
    for _ in 0..100 {
        match transport.open_body(&to, Label([0; LABEL_BYTES])) {
            Ok(_) => return true,
            Err(LinkError::NoBodies { version, .. }) => {
                assert_eq!(version, WireVersion::TWO);
                return false;
            }
            Err(_) => {
                // A frame brings the connection up.
                transport.send(&to, Class::Calls, hello(life)).unwrap();
                world.run_for(Duration::from_millis(50));
            }
        }
    }
    panic!("{from} and {to} do not find each other");
}

fn life(world: &World, node: &str) -> u64 {
    let (_, life): (Arc<dyn Transport>, Incarnation) = world.handle(&id(node)).unwrap();
    life.0
}

#[test]
fn a_node_of_the_former_release_is_spoken_to_as_it_understands_and_comes_back() {
    for tier in [Tier::Quic, Tier::Disks] {
        let fault = Fault::Node { nodes: Target::node("a"), trouble: NodeTrouble::FormerWire };
        let mut world = three_nodes(tier, FaultPlan::new(2).with(FROM, UNTIL, fault));
        world.run_for(SETTLED);
        assert!(speaks_newest(&mut world, "b", "a") && speaks_newest(&mut world, "a", "b"));
        world.run_for(FROM + SETTLED - world.now());
        assert!(!speaks_newest(&mut world, "b", "a") && !speaks_newest(&mut world, "a", "c"));
        assert!(speaks_newest(&mut world, "b", "c"));
        world.run_for(UNTIL + SETTLED - world.now());
        assert!(speaks_newest(&mut world, "b", "a") && speaks_newest(&mut world, "a", "c"));
        assert_eq!(["a", "b", "c"].map(|node| life(&world, node)), [3, 1, 1], "{tier}");
        assert_eq!(world.struck().into_iter().collect::<Vec<_>>(), [(KIND, 1)]);
    }
}
