//! What a node does with frames, seen from the wire: duplicates, lost mailboxes, too many calls, callers who leave.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod cancelling;
mod probe;

use std::time::Duration;

use bytes::Bytes;
use updraft_runtime::{
    Env,
    rpc::{CALLS_MAX, CallError, Cx, Refusal, TraceContext},
};
use updraft_transport::{NodeId, wire::Kind};
use uuid::Uuid;

use probe::{Once, Probe, Probed, SETTLES};

/// Longer than a supervisor waits before it starts a service anew.
const STARTS_ANEW: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_repeated_cast_is_carried_out_once_and_never_answered() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Cast, "probe/note", 1).await;
    probe.arrives(Kind::Cast, "probe/note", 1).await;
    assert_eq!(probe.handled(), 1);
    assert_eq!(probe.sent(), []);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_deduplicated_call_is_answered_as_before() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Call, "probe/remembered", 1).await;
    probe.arrives(Kind::Call, "probe/remembered", 1).await;
    assert_eq!(probe.handled(), 1);
    let answers: Vec<Bytes> = probe.sent().into_iter().map(|frame| frame.body).collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_fenced_call_is_carried_out_again_once_it_was_answered() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Call, "probe/fenced", 1).await;
    probe.arrives(Kind::Call, "probe/fenced", 1).await;
    assert_eq!((probe.handled(), probe.sent().len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_of_a_call_that_is_sent_once_is_dropped() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Call, "probe/once", 1).await;
    probe.arrives(Kind::Call, "probe/once", 1).await;
    assert_eq!((probe.handled(), probe.sent().len()), (1, 1));
}

/// Whoever sent it was told that it was not begun, and may have asked somebody else.
#[tokio::test(start_paused = true)]
async fn a_copy_of_a_call_that_nobody_took_is_not_begun_once_somebody_does() {
    let (probe, actor) = (Probe::start().await, Uuid::from_u128(7));
    let to_actor = |method: &str| format!("probe#{actor}/{method}");
    let [once, fenced] = ["once", "fenced"].map(to_actor);
    probe.arrives(Kind::Call, &once, 1).await;
    probe.arrives(Kind::Call, &fenced, 2).await;
    probe.gains(actor, 3).await;
    probe.arrives(Kind::Call, &once, 1).await;
    assert_eq!(probe.handled(), 0, "it was refused");
    probe.arrives(Kind::Call, &fenced, 2).await;
    assert_eq!(probe.handled(), 1, "it may be sent again");
    probe.arrives(Kind::Call, &once, 4).await;
    assert_eq!(probe.handled(), 2, "another one");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_service_that_starts_anew_is_carried_out_then_and_once() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Call, "probe/panic", 1).await;
    Env::real().sleep(STARTS_ANEW).await;
    assert_eq!(probe.handled(), 1);
    probe.arrives(Kind::Call, "probe/remembered", 2).await;
    assert_eq!(probe.handled(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_too_many_is_refused_at_once_and_passes_when_others_have_ended() {
    let probe = Probe::start().await;
    let call = || {
        let rpc = probe.node.rpc().clone();
        async move {
            let cx = Cx::new("test", TraceContext::default());
            rpc.client::<Probed>().on(&NodeId::new("silent").unwrap()).call(&Once, &cx).await
        }
    };
    for _ in 0..CALLS_MAX {
        let call = call();
        Env::real().spawn("call", async move { drop(call.await) });
    }
    Env::real().sleep(SETTLES).await;
    let refused = Env::real().timeout(SETTLES, call()).await.unwrap();
    let busy = matches!(refused, Err(CallError::Refused { refusal: Refusal::Busy(_), .. }));
    assert!(busy, "{refused:?}");
    assert_eq!(probe.sent().len(), CALLS_MAX, "it was not sent");
    // Their deadline passes.
    Env::real().sleep(Duration::from_secs(10)).await;
    drop(call().await);
    assert_eq!(probe.sent().len(), CALLS_MAX + 1);
}
