//! One request as every handler sees it: who asks, in which version, and what they may.

use axum::{extract::FromRequestParts, http::request::Parts};
use updraft_edge::{
    policy::own,
    rest::{Auth, Links, Microversion, Service, ServiceError},
};
use updraft_protocol::identity::AuthContext;
use updraft_runtime::{
    policy::Target,
    rpc::{Cx, TraceContext},
    store::Txn,
    trace::StepKind,
};
use uuid::Uuid;

use super::Api;
use crate::{
    error::{Error, Outcome, forbidden, no_server},
    rows::ServerRow,
    servers::API,
};

/// What every rule's name begins with.
const RULES: &str = "os_compute_api";

/// A request, authenticated and of a known version.
pub(crate) struct Call {
    pub(crate) api: Api,
    pub(crate) auth: Auth,
    /// The minor number of the microversion; the major one is 2.
    pub(crate) version: u32,
    pub(crate) links: Links,
}

impl FromRequestParts<Api> for Call {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ServiceError> {
        let auth = Auth::from_request_parts(parts, api).await?;
        let version = Microversion::from_request_parts(parts, api).await?.minor;
        let links = Links::from_request_parts(parts, api).await?;
        Ok(Self { api: api.clone(), auth, version, links })
    }
}

impl Call {
    /// Refuses unless the rule lets the caller act in the own project.
    pub(crate) fn must(&self, rule: &str) -> Outcome<()> {
        self.must_on(rule, &own(&self.auth.principal))
    }

    /// Refuses unless the rule lets the caller act on a thing of this project.
    pub(crate) fn must_in(&self, rule: &str, project_id: &str) -> Outcome<()> {
        self.must_on(rule, &in_project(project_id))
    }

    /// Refuses unless the rule lets the caller act on a thing of this user.
    pub(crate) fn must_for(&self, rule: &str, user_id: &str) -> Outcome<()> {
        self.must_on(rule, &Target::new().with("user_id", user_id))
    }

    fn must_on(&self, rule: &str, target: &Target) -> Outcome<()> {
        self.api.enforcer.enforce(&self.auth, &format!("{RULES}:{rule}"), target)?;
        Ok(())
    }

    /// Whether the rule lets the caller act in the own project.
    pub(crate) fn may(&self, rule: &str) -> bool {
        let target = own(&self.auth.principal);
        self.api.enforcer.allows(&self.auth, &format!("{RULES}:{rule}"), &target)
    }

    /// Whether the caller administers the cloud: sees every project and passes every lock.
    pub(crate) fn is_admin(&self) -> bool {
        let target = own(&self.auth.principal);
        self.api.enforcer.allows(&self.auth, updraft_edge::policy::ADMIN_RULE, &target)
    }

    /// The caller.
    pub(crate) fn user_id(&self) -> &str {
        &self.auth.principal.user.id
    }

    /// The project that the caller's token is for.
    pub(crate) fn project_id(&self) -> Outcome<&str> {
        let missing = || forbidden("The token is not for a project.");
        self.auth.principal.project_id().ok_or_else(missing)
    }

    /// Refuses in a version below this one, as if there were no such route.
    pub(crate) fn since(&self, version: u32) -> Outcome<()> {
        if self.version >= version { Ok(()) } else { Err(Service::Compute.no_such_path().into()) }
    }

    /// Refuses in a version above this one, as if there were no such route.
    pub(crate) fn until(&self, version: u32) -> Outcome<()> {
        if self.version <= version { Ok(()) } else { Err(Service::Compute.no_such_path().into()) }
    }

    /// Whether a project's things exist for the caller.
    pub(crate) fn sees(&self, project_id: &str) -> bool {
        self.auth.principal.project_id() == Some(project_id) || self.is_admin()
    }

    /// The server of this id, if the rule lets the caller do this with it. One that the caller may not see
    /// does not exist.
    pub(crate) fn server(&self, txn: &Txn, id: &str, rule: &str) -> Outcome<ServerRow> {
        let row = find_server(txn, id)?.filter(|row| self.sees(&row.project_id));
        let row = row.ok_or_else(|| no_server(id))?;
        self.must_in(rule, &row.project_id)?;
        Ok(row)
    }

    /// The same, read on its own.
    pub(crate) async fn read_server(&self, id: &str, rule: &str) -> Outcome<ServerRow> {
        self.api.context.store.read(|txn| self.server(txn, id, rule)).await
    }

    /// What inner calls carry of the caller.
    pub(crate) fn cx(&self, trace: TraceContext) -> Outcome<Cx> {
        let encoded = self.auth.context().encode().map_err(|error| {
            tracing::warn!(%error, "a caller's context does not fit into a message");
            Error::from(Service::Compute.internal())
        })?;
        Ok(Cx::new(API, trace).with_context(encoded.into()))
    }

    /// Who asks, for the row of what is asked for.
    pub(crate) fn auth_context(&self) -> AuthContext {
        self.auth.context()
    }

    /// What the steps of the caller's token are recorded under.
    pub(crate) fn token_trace(&self) -> [u8; 16] {
        self.auth.principal.audit_ids.first().map(|id| id.0).unwrap_or_default()
    }

    /// Begins the trace of a flow: the request, and its token, which the edge has judged already.
    pub(crate) fn begin_flow(&self, name: &str) -> TraceContext {
        let context = &self.api.context;
        let trace = self.auth.request_id.trace(&context.env);
        let record = |kind, name: &str, from: &str, to: &str| {
            context.record(trace.trace_id, kind, name, from, to);
        };
        record(StepKind::Rest, &format!("compute/{name}"), "client", API);
        record(StepKind::Local, "identity/verify", API, "identity");
        record(StepKind::Local, "identity/verified", "identity", API);
        trace
    }

    /// Records that the flow's first commit is done.
    pub(crate) fn stored(&self, trace: TraceContext, name: &str) {
        let context = &self.api.context;
        context.record(trace.trace_id, StepKind::Store, name, API, "compute.store");
    }
}

/// A thing of a project, as rules see it.
fn in_project(project_id: &str) -> Target {
    Target::new().with("project_id", project_id).with("tenant_id", project_id)
}

/// The server of this id. What is no id is the id of nothing: clients try names first.
fn find_server(txn: &Txn, id: &str) -> Outcome<Option<ServerRow>> {
    match Uuid::try_parse(id) {
        Ok(id) => Ok(txn.get::<ServerRow>(&id.to_string())?),
        Err(_) => Ok(None),
    }
}
