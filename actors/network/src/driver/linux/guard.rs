//! Packet filter rules that hold each guest to its own addresses and to its security groups.
//!
//! One table of the bridge family and one of the inet family per agent; what is in them is told in [`script`].
//! Answers of DHCP servers, router advertisements and whatever a guest sends to the host itself are dropped. So
//! the source address that the metadata service sees is the guest's own. Each change is one transaction of the
//! kernel's.

use std::{collections::BTreeMap, path::PathBuf};

use tokio::sync::Mutex;
use updraft_protocol::network::FilterWant;
use updraft_runtime::Env;
use uuid::Uuid;

use super::{
    LinuxConfig,
    command::{self, CommandError},
};
use crate::driver::{DriverError, TapSpec, names};

mod listing;
mod rule;
mod script;

pub(super) use listing::Held;

/// The first number by which the connections of a bridge are told from those of others: small ones are what
/// somebody else on the host would take.
const ZONE_FIRST: u16 = 0x5500;

/// The agent's tables.
pub(super) struct Guard {
    env: Env,
    program: PathBuf,
    table: String,
    /// Held while a number is chosen.
    choosing: Mutex<()>,
}

impl Guard {
    pub(super) fn new(env: &Env, config: &LinuxConfig) -> Self {
        let (program, table) = (config.nft.clone(), config.tag.table());
        Self { env: env.clone(), program, table, choosing: Mutex::new(()) }
    }

    /// The tap's guest can use its own addresses only, and hear and say what its groups let pass, from before the
    /// tap is up.
    pub(super) async fn hold(&self, tap: &TapSpec) -> Result<(), DriverError> {
        let doing = format!("guarding {}", names::tap(tap.port));
        self.load(&doing, &script::hold(&self.table, tap)).await
    }

    /// No rule speaks of the tap any longer.
    pub(super) async fn release(&self, tap: &str) -> Result<(), DriverError> {
        self.load(&format!("unguarding {tap}"), &script::release(&self.table, tap)).await
    }

    /// The security group lets pass exactly what is wanted.
    pub(super) async fn filter(&self, want: &FilterWant) -> Result<(), DriverError> {
        let doing = format!("filtering by security group {}", want.group);
        self.load(&doing, &script::filter(&self.table, want)).await
    }

    /// Nothing is left of the security group; an error if a tap still has it.
    pub(super) async fn unfilter(&self, group: Uuid) -> Result<(), DriverError> {
        let doing = format!("removing security group {group}");
        self.load(&doing, &script::unfilter(&self.table, group)).await
    }

    /// Connections on the bridge are tracked, apart from those on others; returns their zone.
    pub(super) async fn track(&self, bridge: &str) -> Result<u16, DriverError> {
        let _turn = self.choosing.lock().await;
        let zones = self.zones().await?;
        if let Some(zone) = zones.get(bridge) {
            return Ok(*zone);
        }
        let doing = format!("tracking connections on {bridge}");
        let Some(zone) = (ZONE_FIRST..=u16::MAX).find(|zone| zones.values().all(|it| it != zone))
        else {
            return Err(DriverError::failed(doing, "the host has too many bridges"));
        };
        self.load(&doing, &script::zone(&self.table, bridge, zone)).await?;
        Ok(zone)
    }

    /// The bridge is gone; returns the zone that its connections were in.
    pub(super) async fn untrack(&self, bridge: &str) -> Result<Option<u16>, DriverError> {
        let _turn = self.choosing.lock().await;
        let Some(zone) = self.zones().await?.remove(bridge) else { return Ok(None) };
        let doing = format!("tracking no connections on {bridge}");
        self.load(&doing, &script::unzone(&self.table, bridge, zone)).await?;
        Ok(Some(zone))
    }

    /// The tables are gone.
    pub(super) async fn remove(&self) -> Result<(), DriverError> {
        self.load("removing the guests' packet filter", &script::remove(&self.table)).await
    }

    /// What is held.
    pub(super) async fn held(&self) -> Result<Held, DriverError> {
        let words = ["-j", "list", "table", "bridge", &self.table];
        let mut held = match self.list(&words).await? {
            Some(text) => listing::table(&text).map_err(unreadable)?,
            None => return Ok(Held::default()),
        };
        held.zones = self.zones().await?;
        Ok(held)
    }

    async fn zones(&self) -> Result<BTreeMap<String, u16>, DriverError> {
        let text = self.list(&["-j", "list", "map", "inet", &self.table, "zones"]).await?;
        text.map_or(Ok(BTreeMap::new()), |text| listing::zones(&text).map_err(unreadable))
    }

    /// What nft lists; `None` if there is no such thing.
    async fn list(&self, words: &[&str]) -> Result<Option<String>, DriverError> {
        match command::run(&self.env, &self.program, words, "").await {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.says("No such file or directory") => Ok(None),
            Err(error) => Err(unlisted(error)),
        }
    }

    async fn load(&self, doing: &str, script: &str) -> Result<(), DriverError> {
        let loaded = command::run(&self.env, &self.program, &["-f", "-"], script).await;
        loaded.map(drop).map_err(|error| DriverError::failed(doing, error))
    }
}

fn unlisted(error: CommandError) -> DriverError {
    DriverError::failed("listing packet filter rules", error)
}

fn unreadable(error: serde_json::Error) -> DriverError {
    DriverError::failed("reading packet filter rules", error)
}
