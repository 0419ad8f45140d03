//! Flavors: how large servers may be.

use std::collections::{BTreeMap, BTreeSet};

use axum::{Router, extract::Path, http::StatusCode, response::Response, routing::get};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Value, json};
use updraft_edge::rest::{JsonBody, Page, Query, Service};
use updraft_protocol::compute::FlavorSpec;
use updraft_runtime::store::{StoreError, Txn};

use super::{
    Api,
    body::{Count, Decimal, Flag, Int, NAME_MAX_CHARS, NUMBER_MAX, Name, Text, TextOrNumber},
    call::Call,
    servers::json as answer,
};
use crate::{
    error::{Error, Outcome, bad_field, bad_request, conflict, no_flavor},
    rows::FlavorRow,
};

/// The routes of flavors themselves.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/flavors", get(index).post(create))
        .route("/flavors/detail", get(detail))
        .route("/flavors/{flavor}", get(show).put(update).delete(delete))
}

/// The flavor of this id, if the caller may use it.
pub(super) fn find(call: &Call, txn: &Txn, id: &str) -> Outcome<FlavorRow> {
    let row = txn.get::<FlavorRow>(id)?;
    let seen =
        |row: &FlavorRow| row.visible_to(call.auth.principal.project_id()) || call.is_admin();
    row.filter(seen).ok_or_else(|| no_flavor(id))
}

/// A flavor as its users see it.
#[derive(Serialize)]
struct View<'r> {
    id: &'r str,
    name: &'r str,
    links: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Option<&'r str>>,
    #[serde(flatten)]
    size: Option<Size<'r>>,
}

#[derive(Serialize)]
struct Size<'r> {
    ram: u64,
    disk: u64,
    swap: Value,
    #[serde(rename = "OS-FLV-EXT-DATA:ephemeral")]
    ephemeral: u64,
    #[serde(rename = "OS-FLV-DISABLED:disabled")]
    disabled: bool,
    vcpus: u32,
    #[serde(rename = "os-flavor-access:is_public")]
    is_public: bool,
    rxtx_factor: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_specs: Option<&'r BTreeMap<String, String>>,
}

fn view<'r>(call: &Call, row: &'r FlavorRow, full: bool) -> View<'r> {
    let spec = &row.spec;
    View {
        id: &spec.id,
        name: &spec.name,
        links: call.links.resource(&format!("flavors/{}", spec.id)),
        description: (call.version >= 55).then_some(row.description.as_deref()),
        size: full.then(|| Size {
            ram: spec.ram_mib,
            disk: spec.disk_gib,
            swap: match spec.swap_mib {
                // An empty text was nova's way to say that there is none.
                0 if call.version < 75 => json!(""),
                swap => json!(swap),
            },
            ephemeral: spec.ephemeral_gib,
            disabled: false,
            vcpus: spec.vcpus,
            is_public: row.is_public,
            rxtx_factor: row.rxtx_factor,
            extra_specs: (call.version >= 61).then_some(&spec.extra_specs),
        }),
    }
}

#[derive(Serialize)]
struct One<'r> {
    flavor: View<'r>,
}

#[derive(Serialize)]
struct Many<'r> {
    flavors: Vec<View<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flavors_links: Option<Value>,
}

async fn index(call: Call, query: Query) -> Outcome<Response> {
    list(&call, &query, false).await
}

async fn detail(call: Call, query: Query) -> Outcome<Response> {
    list(&call, &query, true).await
}

async fn list(call: &Call, query: &Query, full: bool) -> Outcome<Response> {
    let page = Page::of(Service::Compute, query)?;
    let (min_ram, min_disk) = (least(query, "minRam")?, least(query, "minDisk")?);
    let shown = Shown::of(call, query)?;
    let mut rows =
        call.api.context.store.read(|txn| txn.scan::<FlavorRow>(None, usize::MAX)).await?;
    rows.retain(|row| {
        shown.holds(row) && row.spec.ram_mib >= min_ram && row.spec.disk_gib >= min_disk
    });
    sort(&mut rows, query)?;
    let rows = page.cut(rows, |row| &row.spec.id)?;
    let path = if full { "flavors/detail" } else { "flavors" };
    answer(&Many {
        flavors: rows.iter().map(|row| view(call, row, full)).collect(),
        flavors_links: page.links(&call.links, path, query, &rows, |row| &row.spec.id),
    })
}

fn least(query: &Query, name: &str) -> Outcome<u64> {
    let Some(text) = query.get(name) else { return Ok(0) };
    text.parse().map_err(|_| bad_request(format!("Invalid {name} filter [{text}]")))
}

/// Which flavors a request asks for.
enum Shown<'c> {
    All,
    /// Those that the project may use.
    UsableBy(Option<&'c str>),
    NotPublic,
}

impl<'c> Shown<'c> {
    /// An administrator's choice by `is_public`; for anybody else, what may be used.
    fn of(call: &'c Call, query: &Query) -> Outcome<Self> {
        let usable = Self::UsableBy(call.auth.principal.project_id());
        let asked = query.get("is_public").filter(|_| call.is_admin()).unwrap_or("True");
        match asked.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::All),
            "true" | "1" | "t" | "on" | "y" | "yes" => Ok(usable),
            "false" | "0" | "f" | "off" | "n" | "no" => Ok(Self::NotPublic),
            _ => Err(bad_request(format!("Invalid is_public filter [{asked}]"))),
        }
    }

    fn holds(&self, row: &FlavorRow) -> bool {
        match self {
            Self::All => true,
            Self::UsableBy(project) => row.visible_to(*project),
            Self::NotPublic => !row.is_public,
        }
    }
}

fn sort(rows: &mut [FlavorRow], query: &Query) -> Outcome<()> {
    let key: fn(&FlavorRow, &FlavorRow) -> std::cmp::Ordering =
        match query.get("sort_key").unwrap_or("flavorid") {
            "flavorid" | "id" => |a, b| a.spec.id.cmp(&b.spec.id),
            "name" => |a, b| a.spec.name.cmp(&b.spec.name),
            "memory_mb" => |a, b| a.spec.ram_mib.cmp(&b.spec.ram_mib),
            "root_gb" => |a, b| a.spec.disk_gib.cmp(&b.spec.disk_gib),
            "vcpus" => |a, b| a.spec.vcpus.cmp(&b.spec.vcpus),
            "ephemeral_gb" => |a, b| a.spec.ephemeral_gib.cmp(&b.spec.ephemeral_gib),
            "swap" => |a, b| a.spec.swap_mib.cmp(&b.spec.swap_mib),
            "is_public" => |a, b| a.is_public.cmp(&b.is_public),
            "rxtx_factor" => |a, b| a.rxtx_factor.total_cmp(&b.rxtx_factor),
            "description" => |a, b| a.description.cmp(&b.description),
            "created_at" | "updated_at" | "disabled" | "vcpu_weight" => {
                |_, _| std::cmp::Ordering::Equal
            }
            other => {
                let reason = "not one of the keys that flavors can be sorted by";
                return Err(Service::Compute.invalid_query("sort_key", other, reason).into());
            }
        };
    rows.sort_by(|a, b| key(a, b).then_with(|| a.spec.id.cmp(&b.spec.id)));
    if query.get("sort_dir") == Some("desc") {
        rows.reverse();
    }
    Ok(())
}

async fn show(call: Call, Path(id): Path<String>) -> Outcome<Response> {
    let row = call.api.context.store.read(|txn| find(&call, txn, &id)).await?;
    answer(&One { flavor: view(&call, &row, true) })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    flavor: Create,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: Name,
    id: Option<NewId>,
    ram: Int<1, NUMBER_MAX>,
    vcpus: Int<1, NUMBER_MAX>,
    disk: Count,
    #[serde(rename = "OS-FLV-EXT-DATA:ephemeral")]
    ephemeral: Option<Count>,
    swap: Option<Count>,
    rxtx_factor: Option<Decimal>,
    #[serde(rename = "os-flavor-access:is_public")]
    is_public: Option<Flag>,
    description: Option<Text<0, DESCRIPTION_MAX_CHARS>>,
}

/// An id that a new flavor is given: it will stand in addresses.
struct NewId(String);

impl<'de> Deserialize<'de> for NewId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(TextOrNumber)?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "._- ".contains(c);
        let length = text.chars().count();
        if length > NAME_MAX_CHARS {
            return Err(D::Error::custom("the id is too long"));
        }
        if length == 0 || text.trim() != text || !text.chars().all(legal) {
            return Err(D::Error::custom(format_args!(
                "'{text}' is no id: letters, digits, '.', '_', '-' and blanks within make one"
            )));
        }
        Ok(Self(text))
    }
}

/// Longest description of a flavor, in characters.
const DESCRIPTION_MAX_CHARS: usize = 65_535;

impl Create {
    fn row(self, version: u32, id: String) -> Outcome<FlavorRow> {
        if self.description.is_some() && version < 55 {
            let reason = "Additional properties are not allowed ('description' was unexpected)";
            return Err(bad_field("flavor", "an object", reason));
        }
        let number = |count: i64| u64::try_from(count).unwrap_or(0);
        let optional = |count: Option<Count>| count.map_or(0, |count| number(count.0));
        Ok(FlavorRow {
            spec: FlavorSpec {
                id: self.id.map_or(id, |id| id.0),
                name: self.name.0.trim().to_owned(),
                vcpus: u32::try_from(self.vcpus.0).unwrap_or(u32::MAX),
                ram_mib: number(self.ram.0),
                disk_gib: number(self.disk.0),
                ephemeral_gib: optional(self.ephemeral),
                swap_mib: optional(self.swap),
                extra_specs: BTreeMap::new(),
            },
            description: self.description.map(|text| text.0),
            rxtx_factor: self.rxtx_factor.map_or(1.0, |factor| factor.0),
            is_public: self.is_public.is_none_or(|flag| flag.0),
            access: BTreeSet::new(),
        })
    }
}

async fn create(call: Call, JsonBody(body): JsonBody<CreateBody>) -> Outcome<Response> {
    call.must("os-flavor-manage:create")?;
    let row = body.flavor.row(call.version, call.api.context.env.uuid().to_string())?;
    let inserted = call.api.context.store.transact(|txn| txn.insert(&row)).await;
    inserted.map_err(|error| taken(&row, error))?;
    answer(&One { flavor: view(&call, &row, true) })
}

fn taken(row: &FlavorRow, error: StoreError) -> Error {
    match error {
        StoreError::Exists { .. } => {
            conflict(format!("Flavor with ID {} already exists.", row.spec.id))
        }
        StoreError::Duplicate { .. } => {
            conflict(format!("Flavor with name {} already exists.", row.spec.name))
        }
        other => other.into(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateBody {
    flavor: Update,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    description: Option<Text<0, DESCRIPTION_MAX_CHARS>>,
}

async fn update(
    call: Call,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<UpdateBody>,
) -> Outcome<Response> {
    call.since(55)?;
    call.must("os-flavor-manage:update")?;
    let row = call
        .api
        .context
        .store
        .transact(|txn| {
            let mut row = find(&call, txn, &id)?;
            row.description = body.flavor.description.as_ref().map(|text| text.0.clone());
            txn.put(&row)?;
            Ok::<_, Error>(row)
        })
        .await?;
    answer(&One { flavor: view(&call, &row, true) })
}

async fn delete(call: Call, Path(id): Path<String>) -> Outcome<StatusCode> {
    call.must("os-flavor-manage:delete")?;
    let deleted = call.api.context.store.transact(|txn| txn.delete::<FlavorRow>(&id)).await?;
    deleted.map(|_| StatusCode::ACCEPTED).ok_or_else(|| no_flavor(&id))
}
