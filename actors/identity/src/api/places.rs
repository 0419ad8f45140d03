//! What changing a domain and changing a project have in common.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use updraft_runtime::env::UnixMicros;

use super::{
    fields::{Flag, Name, given},
    normalized, options,
    tags::Tags,
};
use crate::{
    core::Core,
    error::{Error, What},
    rows::{DomainRow, Extra, ProjectRow, is_immutable},
};

/// What a client changes; everything is left as it is that is not named.
#[derive(Deserialize)]
pub(super) struct ChangedPlace {
    name: Option<Name<64>>,
    #[serde(default, deserialize_with = "given")]
    description: Option<Option<String>>,
    enabled: Option<Flag>,
    tags: Option<Tags>,
    options: Option<Extra>,
    #[serde(flatten)]
    pub(super) extra: Extra,
}

/// The same, checked as far as it can be without the row.
#[derive(Clone)]
pub(super) struct Change {
    name: Option<String>,
    description: Option<Option<String>>,
    pub(super) enabled: Option<bool>,
    tags: Option<Vec<String>>,
    options: Option<Extra>,
    extra: Extra,
}

/// The attributes that domains and projects share.
struct Common<'a> {
    name: &'a mut String,
    description: &'a mut Option<String>,
    enabled: &'a mut bool,
    tags: &'a mut Vec<String>,
    options: &'a mut Extra,
    revoked_before: &'a mut Option<UnixMicros>,
    extra: &'a mut Extra,
}

impl ChangedPlace {
    pub(super) fn checked(self) -> Result<Change, Error> {
        Ok(Change {
            name: self.name.map(Name::trimmed),
            description: self.description,
            enabled: self.enabled.map(|flag| flag.0),
            tags: self.tags.map(Tags::into_texts),
            options: self.options,
            extra: normalized(self.extra),
        })
    }

    /// Takes an attribute that never changes out of the request; an error if it would.
    pub(super) fn must_stay(
        &mut self,
        name: &str,
        value: &Value,
        error: impl FnOnce() -> Error,
    ) -> Result<(), Error> {
        match self.extra.remove(name) {
            Some(given) if given != *value => Err(error()),
            _ => Ok(()),
        }
    }
}

impl Change {
    /// How far ahead of this node's clock a revocation has to be, if this is one.
    pub(super) async fn lead(&self, core: &Core) -> Duration {
        match self.enabled {
            Some(false) => core.clock_lead().await,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn apply_to_domain(
        &self,
        row: &mut DomainRow,
        now: UnixMicros,
    ) -> Result<(), Error> {
        let id = row.id.clone();
        let mut common = Common {
            name: &mut row.name,
            description: &mut row.description,
            enabled: &mut row.enabled,
            tags: &mut row.tags,
            options: &mut row.options,
            revoked_before: &mut row.revoked_before,
            extra: &mut row.extra,
        };
        self.apply(&mut common, What::Domain, &id, now)
    }

    pub(super) fn apply_to_project(
        &self,
        row: &mut ProjectRow,
        now: UnixMicros,
    ) -> Result<(), Error> {
        let id = row.id.clone();
        let mut common = Common {
            name: &mut row.name,
            description: &mut row.description,
            enabled: &mut row.enabled,
            tags: &mut row.tags,
            options: &mut row.options,
            revoked_before: &mut row.revoked_before,
            extra: &mut row.extra,
        };
        self.apply(&mut common, What::Project, &id, now)
    }

    fn apply(
        &self,
        row: &mut Common<'_>,
        what: What,
        id: &str,
        now: UnixMicros,
    ) -> Result<(), Error> {
        let options = options::of_place(self.options.clone(), row.options.clone())?;
        let unlocks = self.is_only_options() && !is_immutable(&options);
        if is_immutable(row.options) && !unlocks {
            return Err(what.immutable("update", id));
        }
        if *row.enabled && self.enabled == Some(false) {
            *row.revoked_before = (*row.revoked_before).max(Some(now));
        }
        *row.options = options;
        if let Some(name) = &self.name {
            row.name.clone_from(name);
        }
        if let Some(description) = &self.description {
            row.description.clone_from(description);
        }
        if let Some(tags) = &self.tags {
            row.tags.clone_from(tags);
        }
        *row.enabled = self.enabled.unwrap_or(*row.enabled);
        row.extra.extend(self.extra.clone());
        Ok(())
    }

    fn is_only_options(&self) -> bool {
        self.name.is_none()
            && self.description.is_none()
            && self.enabled.is_none()
            && self.tags.is_none()
            && self.extra.is_empty()
    }
}
