//! What can be set. The command line goes before the environment, and both before the file.
//!
//! Owns the settings, what each may be, and the words on them. A file is read whole or refused with the line
//! that is wrong; nothing in it is passed over.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use updraft_compute::consoles;
use updraft_runtime::{Env, node::Node, trace::otlp};

mod described;
mod values;

pub use described::{DESCRIBED, Described, described};
pub use values::{
    ApiUrl, DatabaseUrl, HostSize, HypervisorKind, Loopback, OutOfRange, PhysicalMtu,
    PhysicalNetworks, Ratio, Region, SchedulerDriver, TokenLifetime, VirtType, address, is_open,
};

/// Largest file: far more than all settings take, so that a wrong path does not fill the memory.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Every setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The folder that holds everything of the cloud on this machine.
    pub data_dir: PathBuf,
    /// The database that holds the store of the control services; none is a file in the folder.
    pub database_url: DatabaseUrl,
    /// A file that holds the password of the database's user; empty if none is needed.
    pub database_password_file: PathBuf,
    /// The folder that holds the bytes of images; empty is one in `data_dir`.
    pub image_dir: PathBuf,
    /// Where the REST APIs listen.
    pub listen: Loopback,
    /// Where clients reach the APIs; empty is what `listen` says.
    pub api_url: ApiUrl,
    /// Where the control node listens for other nodes (QUIC, UDP).
    pub quic_listen: SocketAddr,
    /// Where other nodes reach the control node; `0.0.0.0:0` is what `quic_listen` says.
    pub quic_address: SocketAddr,
    /// Where a compute node listens for other nodes; `0.0.0.0:0` is any free port at the address that leads
    /// to the control node.
    pub node_listen: SocketAddr,
    /// Where other hosts reach the networks' tunnels of this one; `0.0.0.0` is where its compute node listens.
    pub tunnel_address: IpAddr,
    /// The host's ways to physical networks.
    pub physical_networks: PhysicalNetworks,
    /// Where Prometheus finds the metrics of all nodes; `0.0.0.0:0` is nowhere.
    pub metrics_listen: SocketAddr,
    /// Where the spans of requests go, for an OpenTelemetry collector; empty is nowhere.
    pub trace_file: PathBuf,
    /// What runs guests on this machine.
    pub hypervisor: HypervisorKind,
    /// How guest code is run.
    pub virt_type: VirtType,
    /// The region's name in the catalog.
    pub region: Region,
    /// How long a token lives.
    pub token_lifetime_secs: TokenLifetime,
    /// How long the address of a server's console can be opened.
    pub console_token_ttl_secs: TokenLifetime,
    /// The folder with noVNC.
    pub novnc_dir: PathBuf,
    /// How a host is chosen for a server.
    pub scheduler_driver: SchedulerDriver,
    /// Virtual processors that may be promised for each real one.
    pub cpu_allocation_ratio: Ratio,
    /// Memory that may be promised, as a multiple of what there is.
    pub ram_allocation_ratio: Ratio,
    /// Largest packet of the physical networks between hosts.
    pub physical_mtu: PhysicalMtu,
    /// What a simulated host has.
    pub simulated_host: HostSize,
}

impl Default for Settings {
    fn default() -> Self {
        let open = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            data_dir: "/var/lib/updraft".into(),
            database_url: DatabaseUrl::default(),
            database_password_file: PathBuf::new(),
            image_dir: PathBuf::new(),
            listen: Loopback::port(8774),
            api_url: ApiUrl::default(),
            quic_listen: SocketAddr::from(([127, 0, 0, 1], 8775)),
            quic_address: open,
            node_listen: open,
            tunnel_address: Ipv4Addr::UNSPECIFIED.into(),
            physical_networks: PhysicalNetworks::default(),
            metrics_listen: open,
            trace_file: PathBuf::new(),
            hypervisor: HypervisorKind::default(),
            virt_type: VirtType::default(),
            region: Region::default(),
            token_lifetime_secs: TokenLifetime::default(),
            console_token_ttl_secs: TokenLifetime::of(consoles::TOKEN_TTL),
            novnc_dir: consoles::NOVNC_DIR.into(),
            scheduler_driver: SchedulerDriver::default(),
            cpu_allocation_ratio: Ratio::of(4.0),
            ram_allocation_ratio: Ratio::of(1.0),
            physical_mtu: PhysicalMtu::default(),
            simulated_host: HostSize { vcpus: 64, memory_mib: 262_144, disk_gib: 4_096 },
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}; --config or UPDRAFT_CONFIG names the file")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file does not say what it should.
    #[error("{path}, line {line}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong there, and what is allowed.
        message: String,
    },
    /// Settings that do not go together, or cannot be laid over one another.
    #[error("{0}")]
    Together(String),
}

impl Settings {
    /// Exports what a node does for each request, if they say where to.
    pub(super) fn export_spans(&self, env: &Env, node: &Node) {
        if !self.trace_file.as_os_str().is_empty() {
            let rpc = node.rpc();
            let file = self.trace_file.clone();
            otlp::export_to_file(env, rpc.local().clone(), rpc.spans(), file);
        }
    }

    /// The settings of a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let io = |source| ConfigError::Io { path: path.to_owned(), source };
        if fs::metadata(path).map_err(io)?.len() > FILE_MAX_BYTES {
            return Err(io(io::Error::other("it is too large for a configuration file")));
        }
        let text = fs::read_to_string(path).map_err(io)?;
        toml::from_str(&text).map_err(|error| syntax(path, &text, &error))
    }

    /// These settings with others laid over them; `over` has only what differs, under the same keys.
    pub fn with(self, over: &impl Serialize) -> Result<Self, ConfigError> {
        let together = |error: &dyn std::fmt::Display| ConfigError::Together(error.to_string());
        let mut all = toml::Table::try_from(self).map_err(|error| together(&error))?;
        all.extend(toml::Table::try_from(over).map_err(|error| together(&error))?);
        all.try_into().map_err(|error: toml::de::Error| together(&error.message()))
    }

    /// As a file that says the same, with a comment on each setting.
    pub fn to_file(&self) -> Result<String, toml::ser::Error> {
        let (values, defaults) =
            (toml::Table::try_from(self)?, toml::Table::try_from(Self::default())?);
        let mut file = String::new();
        for described in &DESCRIBED {
            let Described { key, meaning, allowed } = described;
            let Some((value, default)) = values.get(*key).zip(defaults.get(*key)) else { continue };
            let (option, variable) = (described.option(), described.variable());
            file.push_str(&format!(
                "# {meaning}\n# Allowed: {allowed}\n# Default: {default}; also --{option} and {variable}\n\
                 {key} = {value}\n\n"
            ));
        }
        Ok(file)
    }
}

/// An error with the line it is on, and what is allowed for the key there.
fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let here = text.lines().nth(line - 1).unwrap_or_default();
    let key = here.split('=').next().unwrap_or_default().trim();
    let message = error.message().trim_end().replace('\n', ", ");
    // A value of the right type that is out of its range says itself what is allowed.
    let known = described(key).filter(|known| !message.contains(known.allowed));
    let allowed = known.map(|known| format!("; {key} is {}", known.allowed));
    ConfigError::Syntax {
        path: path.to_owned(),
        line,
        message: format!("{message}{}", allowed.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
