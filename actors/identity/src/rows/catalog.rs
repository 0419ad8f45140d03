//! Regions, services and endpoints: the catalog.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use updraft_protocol::identity::{CatalogService, Endpoint, Interface};
use updraft_runtime::store::{IndexEntry, Record, StoreError, Txn};

use super::{Extra, Row};
use crate::ledger::Touched;

/// A region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RegionRow {
    pub(crate) id: String,
    pub(crate) description: String,
    pub(crate) parent_region_id: Option<String>,
    pub(crate) extra: Extra,
}

impl RegionRow {
    pub(crate) const BY_PARENT: &'static str = "parent";
}

impl Record for RegionRow {
    const TABLE: &'static str = "identity/region";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let parent = self.parent_region_id.as_ref();
        parent.map(|id| IndexEntry::many(Self::BY_PARENT, id)).into_iter().collect()
    }
}

impl Row for RegionRow {
    /// The catalog names regions by id, which never changes.
    fn touched(&self, _: &Txn) -> Result<BTreeSet<Touched>, StoreError> {
        Ok(BTreeSet::new())
    }
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServiceRow {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) enabled: bool,
    pub(crate) extra: Extra,
}

impl ServiceRow {
    pub(crate) const BY_TYPE: &'static str = "type";
}

impl Record for ServiceRow {
    const TABLE: &'static str = "identity/service";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        vec![IndexEntry::many(Self::BY_TYPE, &self.kind)]
    }
}

impl Row for ServiceRow {
    fn touched(&self, _: &Txn) -> Result<BTreeSet<Touched>, StoreError> {
        Ok(BTreeSet::from([Touched::Catalog]))
    }
}

/// One address of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndpointRow {
    pub(crate) id: String,
    pub(crate) service_id: String,
    pub(crate) interface: Interface,
    pub(crate) region_id: Option<String>,
    pub(crate) url: String,
    pub(crate) enabled: bool,
    pub(crate) extra: Extra,
}

impl EndpointRow {
    pub(crate) const BY_SERVICE: &'static str = "service";
    pub(crate) const BY_REGION: &'static str = "region";
}

impl Record for EndpointRow {
    const TABLE: &'static str = "identity/endpoint";

    fn key(&self) -> String {
        self.id.clone()
    }

    fn indexes(&self) -> Vec<IndexEntry> {
        let region = self.region_id.as_ref().map(|id| IndexEntry::many(Self::BY_REGION, id));
        let service = IndexEntry::many(Self::BY_SERVICE, &self.service_id);
        std::iter::once(service).chain(region).collect()
    }
}

impl Row for EndpointRow {
    fn touched(&self, _: &Txn) -> Result<BTreeSet<Touched>, StoreError> {
        Ok(BTreeSet::from([Touched::Catalog]))
    }
}

/// The catalog as it is published: what is enabled, services in the order of their types.
pub(crate) fn catalog(txn: &Txn) -> Result<Vec<CatalogService>, StoreError> {
    let mut endpoints: BTreeMap<String, Vec<Endpoint>> = BTreeMap::new();
    for row in txn.scan::<EndpointRow>(None, usize::MAX)? {
        if row.enabled {
            endpoints.entry(row.service_id).or_default().push(Endpoint {
                id: row.id,
                interface: row.interface,
                region_id: row.region_id.unwrap_or_default(),
                url: row.url,
            });
        }
    }
    let mut services: Vec<CatalogService> = txn
        .scan::<ServiceRow>(None, usize::MAX)?
        .into_iter()
        .filter(|row| row.enabled)
        .map(|row| CatalogService {
            endpoints: endpoints.remove(&row.id).unwrap_or_default(),
            id: row.id,
            kind: row.kind,
            name: row.name,
        })
        .collect();
    services.sort_by(|a, b| (&a.kind, &a.id).cmp(&(&b.kind, &b.id)));
    Ok(services)
}
