//! Every setting in words: one line each for the file that `updraft config` prints, the messages and the book.

use super::values::{
    ADDRESS, ApiUrl, DatabaseUrl, HostSize, Loopback, PhysicalMtu, PhysicalNetworks, Ratio, Region,
    TokenLifetime,
};

/// A setting, for people.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// Its key in the file.
    pub key: &'static str,
    /// What it decides.
    pub meaning: &'static str,
    /// What it may be.
    pub allowed: &'static str,
}

/// All of them, in the order of [`Settings`](super::Settings).
pub const DESCRIBED: [Described; 24] = [
    Described {
        key: "data_dir",
        meaning: "the folder that holds everything of the cloud on this machine",
        allowed: "a path; a relative one counts from where the command is given",
    },
    Described {
        key: "database_url",
        meaning: "the PostgreSQL database that holds the store of the control services; empty is a file in data_dir",
        allowed: DatabaseUrl::ALLOWED,
    },
    Described {
        key: "database_password_file",
        meaning: "a file that holds the password of the database's user; empty if none is needed",
        allowed: "a path; a relative one counts from where the command is given",
    },
    Described {
        key: "image_dir",
        meaning: "the folder that holds the bytes of images; with several control nodes one that all of them share; \
                  empty is images in data_dir",
        allowed: "a path; a relative one counts from where the command is given",
    },
    Described { key: "listen", meaning: "where the REST APIs listen", allowed: Loopback::ALLOWED },
    Described {
        key: "api_url",
        meaning: "where clients reach the APIs, as the catalog and clouds.yaml have it: with several control nodes a \
                  name or a balancer before all of them; empty is what listen says",
        allowed: ApiUrl::ALLOWED,
    },
    Described {
        key: "quic_listen",
        meaning: "where the control node listens for other nodes: QUIC with mutual TLS, over UDP",
        allowed: ADDRESS,
    },
    Described {
        key: "quic_address",
        meaning: "where other nodes reach the control node; 0.0.0.0:0 is what quic_listen says",
        allowed: ADDRESS,
    },
    Described {
        key: "node_listen",
        meaning: "where a compute node listens for other nodes; 0.0.0.0:0 is any free port at the address \
                  that leads to the control node",
        allowed: ADDRESS,
    },
    Described {
        key: "tunnel_address",
        meaning: "where other hosts reach the networks' tunnels of this one (VXLAN over UDP, port 4789); 0.0.0.0 is \
                  where its compute node listens",
        allowed: "an IP address of this host",
    },
    Described {
        key: "physical_networks",
        meaning: "the physical networks that this host has a way to, each by a bridge that is there: routers lead out \
                  over it to external networks of this provider:physical_network; empty is none",
        allowed: PhysicalNetworks::ALLOWED,
    },
    Described {
        key: "metrics_listen",
        meaning: "where the control node shows the metrics of all nodes to Prometheus, without asking who looks; \
                  0.0.0.0:0 is nowhere",
        allowed: ADDRESS,
    },
    Described {
        key: "trace_file",
        meaning: "the file to which this machine's nodes append what they do for each request, for an OpenTelemetry \
                  collector; empty is nowhere",
        allowed: "a path; a relative one counts from where the command is given",
    },
    Described {
        key: "hypervisor",
        meaning: "what runs guests on this machine",
        allowed: "libvirt or simulated",
    },
    Described {
        key: "virt_type",
        meaning: "how guest code is run: translated, by the processor, or whichever a trial guest shows to work",
        allowed: "auto, qemu or kvm",
    },
    Described {
        key: "region",
        meaning: "the region's name in the catalog",
        allowed: Region::ALLOWED,
    },
    Described {
        key: "token_lifetime_secs",
        meaning: "how long a token lives, in seconds",
        allowed: TokenLifetime::ALLOWED,
    },
    Described {
        key: "console_token_ttl_secs",
        meaning: "how long the address of a server's console can be opened, in seconds",
        allowed: TokenLifetime::ALLOWED,
    },
    Described {
        key: "novnc_dir",
        meaning: "the folder with noVNC, which shows a server's screen in a browser; Debian's package novnc has it",
        allowed: "a path; a relative one counts from where the command is given",
    },
    Described {
        key: "scheduler_driver",
        meaning: "how a host is chosen among those that have room: the best by weights, the one with fewest \
                  processors promised, any, or any of the zone asked for (nova if none was)",
        allowed: "filters, simple, chance or zone",
    },
    Described {
        key: "cpu_allocation_ratio",
        meaning: "virtual processors that may be promised for each real one",
        allowed: Ratio::ALLOWED,
    },
    Described {
        key: "ram_allocation_ratio",
        meaning: "memory that may be promised, as a multiple of what there is",
        allowed: Ratio::ALLOWED,
    },
    Described {
        key: "physical_mtu",
        meaning: "the largest packet of the physical networks between hosts, in bytes; networks in tunnels have 50 less",
        allowed: PhysicalMtu::ALLOWED,
    },
    Described {
        key: "simulated_host",
        meaning: "what a simulated host has: processors, MiB of memory, GiB of disk",
        allowed: HostSize::ALLOWED,
    },
];

/// What is said of a setting.
#[must_use]
pub fn described(key: &str) -> Option<&'static Described> {
    DESCRIBED.iter().find(|described| described.key == key)
}

impl Described {
    /// The environment variable that has it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("UPDRAFT_{}", self.key.to_uppercase())
    }

    /// The option on the command line that has it.
    #[must_use]
    pub fn option(&self) -> String {
        self.key.replace('_', "-")
    }
}
