//! Lists of images: who sees which, filtered, sorted and cut into pages.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use serde_json::{Value, json};
use updraft_edge::rest::{Auth, Page, Query, Service, ServiceError};
use updraft_runtime::store::Txn;
use uuid::Uuid;

use super::view;
use crate::{
    Shared,
    asker::Asker,
    error::Error,
    rows::{BY_MEMBER, BY_NAME, BY_OWNER, BY_VISIBILITY, ImageRow, MemberStatus, Visibility},
};

mod filter;
mod order;

use filter::Filters;
use order::Order;

pub(super) async fn index(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    query: Query,
) -> Result<Json<Value>, ServiceError> {
    let told = |error: Error| Service::Image.error(error.status(), error.to_string());
    let asker = shared.asking(&auth);
    asker.may(&shared.policy, "get_images").map_err(told)?;
    let filters = Filters::read(&query).map_err(told)?;
    let order = Order::read(&query).map_err(told)?;
    let page = Page::of(Service::Image, &query)?;
    let found = shared.repository.read(|txn| candidates(txn, &asker, &filters)).await;
    let mut rows: Vec<(String, ImageRow)> = found
        .map_err(told)?
        .into_iter()
        .filter(|(_, row)| listed(row, &asker, &filters) && filters.take(row))
        .map(|(id, row)| (id.to_string(), row))
        .collect();
    rows.sort_by(|(_, a), (_, b)| order.compare(a, b));
    let rows = page.cut(rows, |(id, _)| id)?;
    let (first, next) = page.image_links("/v2/images", &query, &rows, |(id, _)| id);
    let images: Vec<Value> = rows.iter().map(|(_, row)| view::image(row)).collect();
    let mut list = json!({"images": images, "first": first, "schema": "/v2/schemas/images"});
    if let Some(next) = next {
        list["next"] = Value::from(next);
    }
    Ok(Json(list))
}

/// Images that may be listed, by the narrowest index there is.
fn candidates(
    txn: &Txn,
    asker: &Asker,
    filters: &Filters,
) -> Result<BTreeMap<Uuid, ImageRow>, Error> {
    let mut rows: Vec<ImageRow> = Vec::new();
    if let Some(ids) = filters.ids() {
        for id in ids.iter().filter_map(|id| id.parse::<Uuid>().ok()) {
            rows.extend(txn.get::<ImageRow>(&id.to_string())?);
        }
    } else if let Some(name) = filters.name() {
        rows.extend(txn.find::<ImageRow>(BY_NAME, name)?);
    } else if asker.is_admin() {
        rows.extend(txn.scan::<ImageRow>(None, usize::MAX)?);
    } else {
        for visibility in [Visibility::Public, Visibility::Community] {
            rows.extend(txn.find::<ImageRow>(BY_VISIBILITY, visibility.as_str())?);
        }
        if let Some(project) = asker.project() {
            rows.extend(txn.find::<ImageRow>(BY_OWNER, project)?);
            rows.extend(txn.find::<ImageRow>(BY_MEMBER, project)?);
        }
    }
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// Whether an image stands in the asker's list: the own ones, the public ones, and what was shared and
/// accepted. What belongs to the community is listed when asked for.
fn listed(row: &ImageRow, asker: &Asker, filters: &Filters) -> bool {
    if !asker.sees(row) {
        return false;
    }
    let own = row.owner.is_some() && row.owner.as_deref() == asker.project();
    if row.about.visibility == Visibility::Community && !own {
        return filters.names_visibility();
    }
    own || asker.is_admin() || row.about.visibility != Visibility::Shared || {
        let member = asker.project().and_then(|project| row.members.get(project));
        member.is_some_and(|member| {
            filters.member_status.is_none_or(|wanted| member.status == wanted)
        })
    }
}

/// Descending turns an order round.
fn directed(ordering: Ordering, descending: bool) -> Ordering {
    if descending { ordering.reverse() } else { ordering }
}

/// The membership that `member_status` asks for; `None` is any.
fn member_status(query: &Query) -> Result<Option<MemberStatus>, Error> {
    match query.get("member_status") {
        None => Ok(Some(MemberStatus::Accepted)),
        Some("all") => Ok(None),
        Some(text) => MemberStatus::parse(text)
            .map(Some)
            .ok_or_else(|| Error::invalid(format!("Invalid status: {text}"))),
    }
}
