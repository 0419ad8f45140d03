//! Callers who stop waiting: whoever works for them is told, and whoever works for those.

use std::time::Duration;

use updraft_runtime::{
    Env,
    rpc::{CallError, CancellationToken, Client, Cx, Refusal, Rpc, TraceContext},
};
use updraft_transport::{Frame, Header, Incarnation, NodeId, wire::Kind};

use crate::probe::{Endless, Probe, Probed, SETTLES, frame};

fn cx() -> Cx {
    Cx::new("test", TraceContext::default())
}

fn silent(rpc: &Rpc) -> Client<Probed> {
    rpc.client().on(&NodeId::new("silent").unwrap())
}

/// The kinds and numbers of what was sent.
fn kinds(sent: &[Frame]) -> Vec<(Kind, u64)> {
    sent.iter().map(|Frame { header, .. }| (header.kind, header.id)).collect()
}

#[tokio::test(start_paused = true)]
async fn who_was_asked_is_told_when_the_caller_is_dropped() {
    let probe = Probe::start().await;
    let call = async { silent(probe.node.rpc()).call(&Endless, &cx()).await };
    assert!(Env::real().timeout(Duration::from_millis(100), call).await.is_none());
    let sent = probe.sent();
    let id = sent[0].header.id;
    assert_eq!(kinds(&sent), [(Kind::Call, id), (Kind::Cancel, id)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_is_unknown_and_one_that_was_never_sent_is_refused() {
    let probe = Probe::start().await;
    let (token, rpc) = (CancellationToken::new(), probe.node.rpc());
    let cx = cx().until(token.clone());
    let cancelled = async {
        Env::real().sleep(SETTLES).await;
        token.cancel();
    };
    let silent = silent(rpc);
    let (outcome, ()) = tokio::join!(silent.call(&Endless, &cx), cancelled);
    assert!(matches!(outcome, Err(CallError::Unknown { .. })), "{outcome:?}");
    let sent = probe.sent().len();
    let outcome = silent.call(&Endless, &cx).await;
    let refused = matches!(outcome, Err(CallError::Refused { refusal: Refusal::Cancelled, .. }));
    assert!(refused, "{outcome:?}");
    assert_eq!(probe.sent().len(), sent);
}

#[tokio::test(start_paused = true)]
async fn a_handler_hears_that_nobody_waits() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Call, "probe/endless", 1).await;
    assert_eq!(probe.handled(), 0, "it waits");
    probe.arrives(Kind::Cancel, "", 2).await;
    assert_eq!(probe.handled(), 0, "another call was meant");
    probe.arrives(Kind::Cancel, "", 1).await;
    assert_eq!(probe.handled(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_hears_that_its_caller_has_started_anew() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Call, "probe/endless", 1).await;
    let mut next_life = frame(Kind::Cast, "probe/note", 1);
    next_life.header.incarnation = Incarnation(2);
    probe.hears(next_life).await;
    assert_eq!(probe.handled(), 2, "the cast, and the call that nobody waits for");
}

#[tokio::test(start_paused = true)]
async fn calls_that_a_handler_makes_onward_end_with_the_one_it_serves() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Call, "probe/onward", 1).await;
    let before = kinds(&probe.sent());
    assert!(matches!(before.as_slice(), [(Kind::Call, _), ..]), "{before:?}");
    probe.arrives(Kind::Cancel, "", 1).await;
    let after = kinds(&probe.sent());
    let cancelled: Vec<_> = after[before.len()..].iter().map(|(kind, _)| *kind).collect();
    assert_eq!(cancelled, [Kind::Cancel, Kind::Reply], "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_cancelled_before_it_was_begun_is_refused() {
    let probe = Probe::start().await;
    let call = frame(Kind::Call, "probe/once", 1);
    let cancel = Header { kind: Kind::Cancel, ..call.header.clone() };
    probe.hear_at_once([call, Frame { header: cancel, ..frame(Kind::Cancel, "", 1) }]).await;
    assert_eq!(probe.handled(), 0);
}
