//! What all resources have in common.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use serde_json::{Map, Value};
use updraft_edge::rest::{Auth, JsonBody, Links, Query};
use updraft_runtime::{policy::Target, store::Txn};

use super::{
    App,
    asker::Asker,
    attribute::Spec,
    body,
    body::Body,
    listing,
    listing::{Listing, View},
};
use crate::{
    config::Config,
    error::{NetworkError, Outcome, bad_resource, revision_mismatch},
    ops,
    rows::Standard,
    work::Work,
};

/// One kind of thing that clients make, see, change and delete.
pub(crate) trait Resource: Sized + 'static {
    /// What is stored of it.
    type Row: Send + 'static;

    /// Its name and attributes.
    const SPEC: &'static Spec;
    /// Whether PUT changes it.
    const CHANGES: bool = true;
    /// Whether whoever lists it gets a default security group first.
    const ENSURES_DEFAULT_GROUP: bool = false;

    /// The row that a client's text names.
    fn get(txn: &Txn, id: &str) -> Outcome<Self::Row>;

    /// What neutron says when there is none of this id.
    fn not_found(id: &str) -> NetworkError;

    /// All rows that the caller may see, and perhaps others.
    fn all(txn: &Txn, asker: &Asker<'_>) -> Outcome<Vec<Self::Row>>;

    /// What every resource has.
    fn standard(row: &Self::Row) -> &Standard;

    /// What rules may ask about a row.
    fn target(txn: &Txn, row: &Self::Row) -> Outcome<Target>;

    /// What rules may ask about a row that is to be made.
    fn new_target(txn: &Txn, asker: &Asker<'_>, body: &Body) -> Outcome<Target> {
        let _ = (txn, asker);
        Ok(owned(body.project_id()))
    }

    /// What rules may ask about a change besides what they may ask about the row.
    fn changed_target(target: Target, body: &Body) -> Target {
        let _ = body;
        target
    }

    /// As clients see it.
    fn view(txn: &Txn, config: &Config, row: &Self::Row) -> Outcome<View>;

    /// Makes one.
    fn create(work: &mut Work<'_>, asker: &Asker<'_>, body: &Body) -> Outcome<Self::Row>;

    /// Makes several, all or none.
    fn create_all(
        work: &mut Work<'_>,
        asker: &Asker<'_>,
        bodies: &[Body],
    ) -> Outcome<Vec<Self::Row>> {
        bodies.iter().map(|body| Self::create(work, asker, body)).collect()
    }

    /// Changes one.
    fn update(
        work: &mut Work<'_>,
        asker: &Asker<'_>,
        old: &Self::Row,
        body: &Body,
    ) -> Outcome<Self::Row>;

    /// Deletes one.
    fn delete(work: &mut Work<'_>, asker: &Asker<'_>, row: &Self::Row) -> Outcome<()>;
}

/// The target of what belongs to a project.
pub(crate) fn owned(project_id: &str) -> Target {
    Target::new().with("project_id", project_id).with("tenant_id", project_id)
}

/// The routes of a resource.
pub(crate) fn routes<R: Resource>() -> Router<App> {
    let collection = format!("/{}", R::SPEC.plural.replace('_', "-"));
    let one: MethodRouter<App> = get(show::<R>).delete(delete::<R>);
    let one = if R::CHANGES { one.put(update::<R>) } else { one };
    Router::new()
        .route(&collection, get(list::<R>).post(create::<R>))
        .route(&format!("{collection}/{{id}}"), one)
}

/// The row that a client names, if the caller may see it, with its target.
pub(crate) fn visible<R: Resource>(
    txn: &Txn,
    asker: &Asker<'_>,
    id: &str,
) -> Outcome<(R::Row, Target)> {
    let row = R::get(txn, id)?;
    let target = R::target(txn, &row)?;
    if !asker.may(&format!("get_{}", R::SPEC.singular), &target) {
        return Err(R::not_found(id));
    }
    Ok((row, target))
}

async fn list<R: Resource>(
    State(app): State<App>,
    auth: Auth,
    query: Query,
    links: Links,
) -> Result<Json<Value>, NetworkError> {
    let asker = app.asker(&auth);
    let listing = Listing::of(R::SPEC, &query)?;
    if R::ENSURES_DEFAULT_GROUP {
        let named = listing.project_id().filter(|_| asker.is_admin);
        let project_id = named.unwrap_or(&asker.project_id).to_owned();
        if !project_id.is_empty() {
            let ensure =
                |work: &mut Work<'_>| ops::security::ensure_default(work, &project_id).map(drop);
            app.core.transact(Default::default(), ensure).await?;
        }
    }
    let views = app.core.read(|txn| views::<R>(txn, &app.core.config, &asker)).await?;
    let marker = query.get("marker").unwrap_or_default();
    let answer = listing.answer(R::SPEC, views, &query, &links)?;
    answer.map(Json).ok_or_else(|| R::not_found(marker))
}

fn views<R: Resource>(txn: &Txn, config: &Config, asker: &Asker<'_>) -> Outcome<Vec<View>> {
    let rule = format!("get_{}", R::SPEC.singular);
    let mut views = Vec::new();
    for row in R::all(txn, asker)? {
        let target = R::target(txn, &row)?;
        if asker.may(&rule, &target) {
            views.push(asker.unveiled(R::SPEC, R::view(txn, config, &row)?, &target));
        }
    }
    Ok(views)
}

async fn show<R: Resource>(
    State(app): State<App>,
    auth: Auth,
    query: Query,
    Path(id): Path<String>,
) -> Result<Json<Value>, NetworkError> {
    let asker = app.asker(&auth);
    let view = app
        .core
        .read(|txn| {
            let (row, target) = visible::<R>(txn, &asker, &id)?;
            Ok(asker.unveiled(R::SPEC, R::view(txn, &app.core.config, &row)?, &target))
        })
        .await?;
    Ok(Json(wrap(R::SPEC.singular, listing::cut(view, &listing::fields(&query)))))
}

fn wrap(name: &str, value: Value) -> Value {
    Map::from_iter([(name.to_owned(), value)]).into()
}

async fn create<R: Resource>(
    State(app): State<App>,
    auth: Auth,
    JsonBody(value): JsonBody<Value>,
) -> Result<Response, NetworkError> {
    let asker = app.asker(&auth);
    let bodies = body::read_create(R::SPEC, &value, &asker.owner())?;
    let action = format!("create_{}", R::SPEC.singular);
    let trace = app.trace(&auth, &format!("POST {}", R::SPEC.plural));
    let make = |work: &mut Work<'_>| {
        for body in &bodies {
            let target = R::new_target(work.txn, &asker, body)?;
            let target = R::changed_target(target, body);
            asker.must_with(&action, R::SPEC, body, &target)?;
        }
        let rows = R::create_all(work, &asker, &bodies)?;
        rows.iter()
            .map(|row| {
                let view = R::view(work.txn, work.config, row)?;
                Ok(asker.unveiled(R::SPEC, view, &R::target(work.txn, row)?))
            })
            .collect::<Outcome<Vec<View>>>()
    };
    let mut views = app.core.transact(trace, make).await?;
    let answer = match views.pop() {
        Some(view) if !body::is_bulk(R::SPEC, &value) => wrap(R::SPEC.singular, view.into()),
        last => {
            views.extend(last);
            wrap(R::SPEC.plural, views.into_iter().map(Value::from).collect())
        }
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

async fn update<R: Resource>(
    State(app): State<App>,
    auth: Auth,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(value): JsonBody<Value>,
) -> Result<Json<Value>, NetworkError> {
    let asker = app.asker(&auth);
    let expected = expected_revision(&headers)?;
    let body = body::read_update(R::SPEC, &value, &asker.owner());
    let action = format!("update_{}", R::SPEC.singular);
    let trace = app.trace(&auth, &format!("PUT {}", R::SPEC.plural));
    let change = |work: &mut Work<'_>| {
        let (old, target) = visible::<R>(work.txn, &asker, &id)?;
        let body = body.as_ref().map_err(Clone::clone)?;
        check_revision(expected, R::standard(&old))?;
        let target = R::changed_target(target, body);
        asker.must_with(&action, R::SPEC, body, &target)?;
        let row = R::update(work, &asker, &old, body)?;
        let view = R::view(work.txn, work.config, &row)?;
        Ok(asker.unveiled(R::SPEC, view, &R::target(work.txn, &row)?))
    };
    let view = app.core.transact(trace, change).await?;
    Ok(Json(wrap(R::SPEC.singular, view.into())))
}

async fn delete<R: Resource>(
    State(app): State<App>,
    auth: Auth,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, NetworkError> {
    let asker = app.asker(&auth);
    let expected = expected_revision(&headers)?;
    let action = format!("delete_{}", R::SPEC.singular);
    let trace = app.trace(&auth, &format!("DELETE {}", R::SPEC.plural));
    let remove = |work: &mut Work<'_>| {
        let (row, target) = visible::<R>(work.txn, &asker, &id)?;
        check_revision(expected, R::standard(&row))?;
        asker.must(&action, &target)?;
        R::delete(work, &asker, &row)
    };
    app.core.transact(trace, remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The revision that `If-Match` names, if it names one.
fn expected_revision(headers: &HeaderMap) -> Outcome<Option<u64>> {
    let Some(text) = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let mut named = text
        .split(',')
        .filter_map(|tag| tag.trim().trim_matches('"').strip_prefix("revision_number="));
    let Some(number) = named.next() else { return Ok(None) };
    if named.next().is_some() {
        let reason = "Multiple revision_number etags are not supported.";
        return Err(bad_resource("if-match", reason));
    }
    number.parse().map(Some).map_err(|_| {
        let reason = "Revision number etag must be in the format of revision_number=<int>";
        bad_resource("if-match", reason)
    })
}

fn check_revision(expected: Option<u64>, standard: &Standard) -> Outcome<()> {
    match expected {
        Some(expected) if expected != standard.revision => {
            Err(revision_mismatch(expected, standard.revision))
        }
        _ => Ok(()),
    }
}
