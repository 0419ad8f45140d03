//! What administrators ask over REST: a token for another host, and which nodes there are.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use updraft_edge::{
    policy::{Enforcer, own},
    rest::{Auth, JsonBody, Service, ServiceError},
};
use updraft_runtime::{directory::DEAD_AFTER, env::UnixMicros, rpc::Rpc};
use updraft_transport::NodeId;

use super::registrar::{Refusal, Registrar, Wish};
use crate::rest::{JOIN_TOKENS_CREATE, NODES_LIST};

/// How long a token is good unless something else is asked for: the time to walk to a machine.
const LASTS_DEFAULT_MINUTES: u64 = 60;

/// "Give me a token."
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Invitation {
    /// The one name that it shall be good for.
    pub node: Option<NodeId>,
    /// How long it shall be good, in minutes.
    pub lasts_minutes: Option<u64>,
    /// Whether it is to make a control node of the machine, and not a host.
    pub control: bool,
}

/// A token, shown once.
#[derive(Clone, Serialize, Deserialize)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// From when on it is no longer good.
    pub expires: UnixMicros,
    /// Where a host that joins with it finds the control node.
    pub control_address: SocketAddr,
}

/// A node, as far as this control node knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// Its name.
    pub node: NodeId,
    /// What it may be.
    pub roles: Vec<String>,
    /// Where it listens, if it was heard since this control node started.
    pub address: Option<SocketAddr>,
    /// How often it had started when it was last heard.
    pub incarnation: Option<u64>,
    /// Milliseconds since it was last heard.
    pub silent_ms: Option<u64>,
    /// Whether it is taken to live.
    pub alive: bool,
}

#[derive(Clone)]
struct Desk {
    enforcer: Enforcer,
    rpc: Rpc,
    registrar: Registrar,
}

/// `POST /join-tokens` and `GET /nodes`.
pub(crate) fn routes(enforcer: Enforcer, rpc: Rpc, registrar: Registrar) -> Router {
    Router::new().route("/join-tokens", post(invite)).route("/nodes", get(nodes)).with_state(Desk {
        enforcer,
        rpc,
        registrar,
    })
}

impl Desk {
    fn must(&self, auth: &Auth, rule: &str) -> Result<(), ServiceError> {
        self.enforcer.enforce(auth, rule, &own(&auth.principal))
    }
}

async fn invite(
    State(desk): State<Desk>,
    auth: Auth,
    JsonBody(wanted): JsonBody<Invitation>,
) -> Result<(StatusCode, Json<Issued>), ServiceError> {
    desk.must(&auth, JOIN_TOKENS_CREATE)?;
    let members = desk.rpc.directory().members();
    let own = members.into_iter().find(|heard| heard.member.node == *desk.rpc.local());
    let own = own.ok_or_else(|| Service::Cloud.unavailable("The node is not ready yet."))?;
    let minutes = wanted.lasts_minutes.unwrap_or(LASTS_DEFAULT_MINUTES);
    let wish = Wish {
        control: desk.rpc.local().clone(),
        address: own.member.address,
        node: wanted.node,
        lasts: Duration::from_secs(minutes.saturating_mul(60)),
        for_control: wanted.control,
    };
    let token = desk.registrar.invite(wish).await.map_err(|refusal| told(&refusal))?;
    let expires = UnixMicros(token.expires_unix_secs.saturating_mul(1_000_000));
    tracing::info!(expires_unix_secs = token.expires_unix_secs, "a join token was given out");
    let text = token.to_text().to_string();
    Ok((StatusCode::CREATED, Json(Issued { token: text, expires, control_address: token.address })))
}

fn told(refusal: &Refusal) -> ServiceError {
    let status = match refusal {
        Refusal::Lifetime => StatusCode::BAD_REQUEST,
        Refusal::TooMany | Refusal::Alone => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Service::Cloud.error(status, refusal.to_string())
}

async fn nodes(State(desk): State<Desk>, auth: Auth) -> Result<Json<Vec<Listed>>, ServiceError> {
    desk.must(&auth, NODES_LIST)?;
    let joined = desk.registrar.nodes().await;
    let joined = joined.map_err(|error| Service::Cloud.store_error(&error))?;
    let mut heard = desk.rpc.directory().members();
    // The directory remembers whom it has heard, also after their removal.
    heard.retain(|heard| joined.iter().all(|row| row.node != heard.member.node || row.is_member()));
    let mut listed: Vec<_> = heard
        .iter()
        .map(|heard| Listed {
            node: heard.member.node.clone(),
            roles: heard.member.roles.iter().map(|role| role.0.to_string()).collect(),
            address: Some(heard.member.address),
            incarnation: Some(heard.member.incarnation.0),
            silent_ms: Some(heard.age_ms),
            alive: u128::from(heard.age_ms) < DEAD_AFTER.as_millis(),
        })
        .collect();
    let silent = joined.iter().filter(|row| heard.iter().all(|h| h.member.node != row.node));
    listed.extend(silent.filter(|row| row.is_member()).map(|row| Listed {
        node: row.node.clone(),
        roles: row.roles.clone(),
        address: None,
        incarnation: None,
        silent_ms: None,
        alive: false,
    }));
    listed.sort_by(|one, other| one.node.cmp(&other.node));
    Ok(Json(listed))
}
