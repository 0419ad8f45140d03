//! The first steps of the flow, as the record tells them.

use updraft_runtime::trace::StepKind;

use crate::{
    cloud::{Cloud, server_body},
    identity::Who::Member,
};

#[tokio::test(start_paused = true)]
async fn a_request_for_a_server_is_the_beginning_of_a_trace() {
    let cloud = Cloud::still().await;
    cloud.send(Member, "POST /servers", server_body("web")).await.is(202);
    let steps = cloud.steps();
    let local: Vec<_> = steps
        .iter()
        .filter(|step| !matches!(step.kind, StepKind::Call | StepKind::Reply))
        .map(|step| (step.kind, step.name.as_str(), step.from.as_str(), step.to.as_str()))
        .collect();
    assert_eq!(
        local,
        [
            (StepKind::Rest, "compute/POST /servers", "client", "compute.api"),
            (StepKind::Local, "identity/verify", "compute.api", "identity"),
            (StepKind::Local, "identity/verified", "identity", "compute.api"),
            (StepKind::Store, "compute/server_created", "compute.api", "compute.store"),
        ]
    );
    let row = cloud.rows::<updraft_compute::rows::ServerRow>().remove(0);
    assert!(steps.iter().all(|step| step.trace_id == row.trace.trace_id));
    assert!(row.auth.is_some(), "the request's rights travel with it");
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_stores_nothing() {
    let cloud = Cloud::still().await;
    let mut body = server_body("web");
    body["server"]["flavorRef"] = "huge".into();
    cloud.send(Member, "POST /servers", body).await.is(400);
    assert!(cloud.steps().iter().all(|step| step.kind != StepKind::Store));
}
