//! What can be set: by the configuration file, and over it by the command line.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// What runs guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HypervisorKind {
    /// QEMU by way of libvirt: real guests. Needs root, and what `scripts/host-packages.sh` installs.
    #[default]
    Libvirt,
    /// Guests in memory only: the identical flow, on any machine, by any user.
    Simulated,
}

/// How guest code is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum VirtType {
    /// Whatever a trial guest shows to work.
    #[default]
    Auto,
    /// Translated; slow, and works everywhere.
    Qemu,
    /// By the processor.
    Kvm,
}

impl VirtType {
    /// As the driver's argument has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Qemu => "qemu",
            Self::Kvm => "kvm",
        }
    }
}

/// Every setting. The file is TOML; a key that is not here is an error that names its line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The folder that holds everything of the cloud.
    pub data_dir: PathBuf,
    /// Where the REST APIs listen. Only loopback until TLS is set up.
    pub listen: SocketAddr,
    /// Where the control node listens for other nodes (QUIC, UDP).
    pub quic_listen: SocketAddr,
    /// What runs guests on this machine.
    pub hypervisor: HypervisorKind,
    /// How guest code is run.
    pub virt_type: VirtType,
    /// The region's name in the catalog.
    pub region: String,
    /// Virtual processors that may be promised for each real one.
    pub cpu_allocation_ratio: Ratio,
    /// Memory that may be promised, as a multiple of what there is.
    pub ram_allocation_ratio: Ratio,
    /// What a simulated host has: processors, memory in MiB, disk in GiB.
    pub simulated_host: (u32, u64, u64),
}

/// A positive ratio.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ratio(pub f64);

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: "/var/lib/updraft".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8774)),
            quic_listen: SocketAddr::from(([127, 0, 0, 1], 8775)),
            hypervisor: HypervisorKind::default(),
            virt_type: VirtType::default(),
            region: "RegionOne".to_owned(),
            cpu_allocation_ratio: Ratio(4.0),
            ram_allocation_ratio: Ratio(1.0),
            simulated_host: (64, 262_144, 4_096),
        }
    }
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It does not say what it should.
    #[error("{path}: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, and what is allowed there.
        source: Box<toml::de::Error>,
    },
}

impl Settings {
    /// The settings of a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::read(file.path()).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_known_ones() {
        let error = error_of("region = \"r\"\nhypervizor = \"libvirt\"\n");
        assert!(error.contains("line 2") && error.contains("hypervizor"), "{error}");
        assert!(error.contains("`hypervisor`"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_named_with_the_allowed_ones() {
        let error = error_of("hypervisor = \"xen\"\n");
        assert!(error.contains("line 1") && error.contains("`simulated`"), "{error}");
    }
}
