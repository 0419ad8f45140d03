//! Locks on servers.

use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use updraft_edge::rest::{Service, from_value};
use updraft_runtime::store::Txn;

use super::{
    actions::accepted,
    body::{NAME_MAX_CHARS, Text},
    call::Call,
    change::{self, Verb},
};
use crate::{
    error::{Outcome, bad_field},
    rows::{Lock, ServerRow},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    lock: Option<Argument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Argument {
    locked_reason: Option<Text<1, NAME_MAX_CHARS>>,
}

/// Whether the server is of the caller's own project. An administrator's lock on it is still an owner's.
fn owns(call: &Call, row: &ServerRow) -> bool {
    call.auth.principal.project_id() == Some(&row.project_id)
}

pub(super) async fn lock(call: &Call, id: &str, body: &Value) -> Outcome<Response> {
    if call.version < 73 && body["lock"].is_object() {
        return Err(bad_field("lock", "an object", "an object where null belongs"));
    }
    let body: Body = from_value(Service::Compute, body)?;
    let reason = body.lock.and_then(|argument| argument.locked_reason).map(|text| text.0);
    let act = |_: &mut Txn, row: &mut ServerRow| {
        let owner = owns(call, row);
        if row.locked.is_none() || !owner {
            row.locked = Some(Lock { by_admin: !owner, reason: reason.clone() });
        }
        Ok(())
    };
    change::at_once(call, id, Verb::Lock, act).await?;
    Ok(accepted())
}

pub(super) async fn unlock(call: &Call, id: &str) -> Outcome<Response> {
    let act = |_: &mut Txn, row: &mut ServerRow| {
        let by_other = row.locked.as_ref().is_some_and(|lock| lock.by_admin == owns(call, row));
        if by_other {
            call.must_in("os-lock-server:unlock:unlock_override", &row.project_id)?;
        }
        row.locked = None;
        Ok(())
    };
    change::at_once(call, id, Verb::Unlock, act).await?;
    Ok(accepted())
}
