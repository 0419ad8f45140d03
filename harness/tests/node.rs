//! What whoever starts a node, and serves something on it, counts on.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use updraft_harness::world::{NodeContext, World};
use updraft_runtime::{
    message,
    node::Prepared,
    protocol,
    rpc::{BelongsTo, Call, CallError, Cx, FaultKind, REPLY_MAX_BYTES, Rpc, Service, TraceContext},
    transport::NodeId,
};

const PATIENCE: Duration = Duration::from_secs(30);

struct Calculator;
protocol!(Calculator = "calculator");

#[derive(Serialize, Deserialize)]
struct Add(u32, u32);
message!(call Add = Calculator / "add", Fenced, from ["user"], to ["server"], reply u32);

/// "As many zeros as this."
#[derive(Serialize, Deserialize)]
struct Zeros(usize);
message!(call Zeros = Calculator / "zeros", Fenced, from ["user"], to ["server"], reply Vec<u8>);

fn calculator() -> Service {
    Service::of::<Calculator>()
        .call(|_, Add(a, b)| async move { Ok(a + b) })
        .call(|_, Zeros(count)| async move { Ok(vec![0; count]) })
        .into()
}

fn user(world: &mut World) -> NodeId {
    world.node("user", &["user", "control"], |node| {
        node.serve(&[], |prepared| vec![prepared.directory().service()])
    })
}

fn prepared(node: NodeContext) -> Prepared {
    Prepared::new(node.parts(&[NodeId::new("user").unwrap()]))
}

fn ask<M>(world: &mut World, user: &NodeId, question: M) -> Result<M::Reply, CallError>
where
    M: Call<Protocol = Calculator, Reply: Send> + BelongsTo<Calculator>,
{
    let rpc: Rpc = world.handle(user).unwrap();
    let asked = async move {
        rpc.directory().wait_for::<M>(1).await;
        let cx = Cx::new("test", TraceContext::default());
        rpc.client::<Calculator>().call(&question, &cx).await
    };
    world.on(user, PATIENCE, asked).unwrap()
}

#[test]
fn a_node_without_the_role_for_what_it_serves_is_told_which_method_and_which_role() {
    let mut world = World::new(1);
    let node = world.node("server", &["sever"], |node| async move {
        let handles = node.handles();
        let refused = prepared(node).start(vec![calculator()]).await.err().unwrap();
        handles.keep(|| refused.to_string());
    });
    world.run_for(Duration::from_secs(1));
    let why: String = world.handle(&node).unwrap();
    for said in ["node server", "calculator/add", r#"["sever"]"#, r#"["server"]"#] {
        assert!(why.contains(said), "{said} is not in: {why}");
    }
}

#[test]
fn a_node_whose_handle_was_dropped_serves_on() {
    let mut world = World::new(1);
    world.node("server", &["server"], |node| async move {
        drop(prepared(node).start(vec![calculator()]).await.unwrap());
    });
    let user = user(&mut world);
    world.run_for(Duration::from_secs(5));
    assert_eq!(ask(&mut world, &user, Add(2, 3)).unwrap(), 5);
}

#[test]
fn a_reply_comes_whole_up_to_its_limit_and_beyond_it_the_caller_is_told_at_once() {
    let mut world = World::new(1);
    world.node("server", &["server"], |node| node.serve(&["user"], |_| vec![calculator()]));
    let user = user(&mut world);
    world.run_for(Duration::from_secs(1));
    let most = REPLY_MAX_BYTES - 4; // less the length that goes before the zeros
    assert_eq!(ask(&mut world, &user, Zeros(most)).unwrap().len(), most);
    let refused = ask(&mut world, &user, Zeros(most + 1)).map(|zeros| zeros.len()).unwrap_err();
    let fault = refused.fault().unwrap();
    assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::OverLimit, "ReplyTooLarge"));
    assert!(fault.message.contains("calculator/zeros"), "{fault}");
}

#[test]
fn a_node_that_has_just_started_waits_for_the_servers_that_it_needs() {
    let mut world = World::new(1);
    let user = user(&mut world);
    world.run_for(Duration::from_secs(1));
    let rpc: Rpc = world.handle(&user).unwrap();
    let waiting = async move { rpc.directory().wait_for::<Add>(2).await };
    let mut found = world.begin(&user, waiting).unwrap();
    for name in ["one", "two"] {
        assert!(found.try_recv().is_err(), "{name} has not started yet");
        world.node(name, &["server"], |node| node.serve(&["user"], |_| vec![calculator()]));
        world.run_for(Duration::from_secs(5));
    }
    let names: Vec<_> = found.try_recv().unwrap().iter().map(NodeId::to_string).collect();
    assert_eq!(names, ["one", "two"]);
}
