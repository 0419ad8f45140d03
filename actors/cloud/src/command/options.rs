//! The settings as options, each with its environment variable: what is given here goes before the file.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
use serde::Serialize;
use updraft_cloud::machine::{
    DataDir,
    config::{
        ApiUrl, ConfigError, HostSize, HypervisorKind, Loopback, PhysicalMtu, PhysicalNetworks,
        Ratio, Region, SchedulerDriver, Settings, TokenLifetime, VirtType, address,
    },
};

use super::Failure;

/// Where the cloud is.
#[derive(Args, Clone, Serialize)]
pub(crate) struct Place {
    /// The configuration file (TOML); 'updraft config' prints one
    #[arg(long, env = "UPDRAFT_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// The folder that holds everything of the cloud on this machine [default: /var/lib/updraft]
    #[arg(long, env = "UPDRAFT_DATA_DIR", value_name = "DIR", value_parser = clap::value_parser!(PathBuf))]
    data_dir: Option<PathBuf>,
}

/// Where the store of the control services is.
#[derive(Args, Clone, Serialize)]
pub(crate) struct DatabaseOptions {
    /// The PostgreSQL database that holds the store, as a URL without a password [default: a file in the data folder]
    // Checked with the file's settings: what is said of a wrong one must not repeat it.
    #[arg(long, env = "UPDRAFT_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// A file that holds the password of the database's user [default: none is needed]
    #[arg(long, env = "UPDRAFT_DATABASE_PASSWORD_FILE", value_name = "FILE", value_parser = clap::value_parser!(PathBuf))]
    database_password_file: Option<PathBuf>,
}

/// What the control services need to know.
#[derive(Args, Clone, Serialize)]
#[command(next_help_heading = "Control services")]
pub(crate) struct ControlOptions {
    #[command(flatten)]
    #[serde(flatten)]
    database: DatabaseOptions,
    /// The folder that holds the bytes of images, shared by all control nodes [default: images in the data folder]
    #[arg(long, env = "UPDRAFT_IMAGE_DIR", value_name = "DIR", value_parser = clap::value_parser!(PathBuf))]
    image_dir: Option<PathBuf>,
    /// Where the REST APIs listen; loopback only [default: 127.0.0.1:8774]
    #[arg(long, env = "UPDRAFT_LISTEN", value_name = "ADDRESS")]
    listen: Option<Loopback>,
    /// Where clients reach the APIs, if not where they listen: a name or a balancer before several control nodes
    #[arg(long, env = "UPDRAFT_API_URL", value_name = "URL")]
    api_url: Option<ApiUrl>,
    /// Where the control node listens for other nodes: QUIC with mutual TLS, over UDP [default: 127.0.0.1:8775]
    #[arg(long, env = "UPDRAFT_QUIC_LISTEN", value_name = "ADDRESS", value_parser = address)]
    quic_listen: Option<SocketAddr>,
    /// Where other nodes reach the control node, if not where it listens
    #[arg(long, env = "UPDRAFT_QUIC_ADDRESS", value_name = "ADDRESS", value_parser = address)]
    quic_address: Option<SocketAddr>,
    /// Where Prometheus finds the metrics of all nodes, without a token [default: nowhere]
    #[arg(long, env = "UPDRAFT_METRICS_LISTEN", value_name = "ADDRESS", value_parser = address)]
    metrics_listen: Option<SocketAddr>,
    /// The region's name in the catalog [default: RegionOne]
    #[arg(long, env = "UPDRAFT_REGION", value_name = "NAME")]
    region: Option<Region>,
    /// How long a token lives, in seconds [default: 3600]
    #[arg(long, env = "UPDRAFT_TOKEN_LIFETIME_SECS", value_name = "SECONDS")]
    token_lifetime_secs: Option<TokenLifetime>,
    /// How long the address of a server's console can be opened, in seconds [default: 600]
    #[arg(long, env = "UPDRAFT_CONSOLE_TOKEN_TTL_SECS", value_name = "SECONDS")]
    console_token_ttl_secs: Option<TokenLifetime>,
    /// The folder with noVNC, which shows a server's screen in a browser [default: /usr/share/novnc]
    #[arg(long, env = "UPDRAFT_NOVNC_DIR", value_name = "FOLDER")]
    novnc_dir: Option<PathBuf>,
    /// How a host is chosen among those that have room [default: filters]
    #[arg(long, env = "UPDRAFT_SCHEDULER_DRIVER", value_enum, value_name = "DRIVER")]
    scheduler_driver: Option<SchedulerDriver>,
    /// Virtual processors that may be promised for each real one [default: 4.0]
    #[arg(long, env = "UPDRAFT_CPU_ALLOCATION_RATIO", value_name = "NUMBER")]
    cpu_allocation_ratio: Option<Ratio>,
    /// Memory that may be promised, as a multiple of what there is [default: 1.0]
    #[arg(long, env = "UPDRAFT_RAM_ALLOCATION_RATIO", value_name = "NUMBER")]
    ram_allocation_ratio: Option<Ratio>,
    /// Largest packet of the physical networks between hosts, in bytes [default: 1500]
    #[arg(long, env = "UPDRAFT_PHYSICAL_MTU", value_name = "BYTES")]
    physical_mtu: Option<PhysicalMtu>,
}

/// What a host that runs guests needs to know.
#[derive(Args, Clone, Serialize)]
#[command(next_help_heading = "Guests")]
pub(crate) struct HostOptions {
    /// What runs guests on this machine [default: libvirt]
    #[arg(long, env = "UPDRAFT_HYPERVISOR", value_enum, value_name = "KIND")]
    hypervisor: Option<HypervisorKind>,
    /// How guest code is run [default: auto]
    #[arg(long, env = "UPDRAFT_VIRT_TYPE", value_enum, value_name = "TYPE")]
    virt_type: Option<VirtType>,
    /// What a simulated host has: processors, MiB of memory, GiB of disk [default: 64,262144,4096]
    #[arg(long, env = "UPDRAFT_SIMULATED_HOST", value_name = "VCPUS,MIB,GIB")]
    simulated_host: Option<HostSize>,
    /// The file to which this machine's nodes append what they do for each request, for an OpenTelemetry collector
    /// [default: nowhere]
    #[arg(long, env = "UPDRAFT_TRACE_FILE", value_name = "FILE", help_heading = "Traces")]
    trace_file: Option<PathBuf>,
}

/// What a node needs to know of itself.
#[derive(Args, Clone, Serialize)]
#[command(next_help_heading = "Compute node")]
pub(crate) struct NodeOptions {
    /// Where the compute node listens for other nodes [default: any free port at the address that leads to the
    /// control node]
    #[arg(long, env = "UPDRAFT_NODE_LISTEN", value_name = "ADDRESS", value_parser = address)]
    node_listen: Option<SocketAddr>,
    /// Where other hosts reach the networks' tunnels of this one [default: where its compute node listens]
    #[arg(long, env = "UPDRAFT_TUNNEL_ADDRESS", value_name = "ADDRESS")]
    tunnel_address: Option<IpAddr>,
    /// The physical networks that this host has a way to, each by a bridge that is there [default: none]
    #[arg(long, env = "UPDRAFT_PHYSICAL_NETWORKS", value_name = "NAME:BRIDGE,..")]
    physical_networks: Option<PhysicalNetworks>,
}

/// Options that lie over the settings of a file.
pub(crate) trait Over {
    /// The settings with these options over them.
    fn over(&self, settings: Settings) -> Result<Settings, ConfigError>;
}

impl<T: Serialize> Over for T {
    fn over(&self, settings: Settings) -> Result<Settings, ConfigError> {
        settings.with(self)
    }
}

impl Place {
    /// All settings: those of the file, under what the environment and the command line say.
    pub(crate) fn settings(&self, options: &[&dyn Over]) -> Result<Settings, Failure> {
        let mut settings = match &self.config {
            Some(path) => Settings::read(path)?,
            None => Settings::default(),
        };
        settings = self.over(settings)?;
        for options in options {
            settings = options.over(settings)?;
        }
        let files = [
            &mut settings.database_password_file,
            &mut settings.image_dir,
            &mut settings.trace_file,
            &mut settings.novnc_dir,
        ];
        for path in files {
            if !path.as_os_str().is_empty() {
                // The process that is left in the background works elsewhere.
                *path = std::path::absolute(&*path)?;
            }
        }
        if settings.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::Together("data_dir is empty: name a folder".to_owned()).into());
        }
        Ok(settings)
    }

    /// A folder that a cloud was started in before.
    pub(crate) fn existing(&self) -> Result<DataDir, Failure> {
        Ok(DataDir::existing(&self.settings(&[])?.data_dir)?)
    }
}
