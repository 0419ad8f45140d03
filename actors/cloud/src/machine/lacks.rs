//! What a machine lacks to run guests.

use std::{env, path::Path};

use super::{
    config::{HypervisorKind, Settings},
    data_dir::DataDir,
    libvirtd,
};

/// The programs without which no guest runs, with what each is for.
const PROGRAMS: [(&str, &str); 7] = [
    ("qemu-system-x86_64", "QEMU"),
    ("qemu-img", "QEMU's disk tool qemu-img"),
    ("libvirtd", "libvirt"),
    ("dnsmasq", "dnsmasq"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
];

/// Where the programs of administrators lie, which a shell's path may leave out.
const ALSO: &str = "/usr/sbin:/sbin";

/// What is missing for guests to run, in one sentence with the remedy; `None` when nothing is known to be.
#[must_use]
pub fn lacks(settings: &Settings, data: &DataDir) -> Option<String> {
    if settings.hypervisor == HypervisorKind::Simulated {
        return None;
    }
    let what = before_start().or_else(|| libvirtd::lack(data))?;
    Some(format!(
        "Guests cannot run yet: {what}. 'updraft up --hypervisor simulated' gives the identical flow without \
         them."
    ))
}

fn before_start() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root can run them; start it as root".to_owned());
    }
    let missing: Vec<_> =
        PROGRAMS.iter().filter(|(program, _)| !found(program)).map(|(_, name)| *name).collect();
    if !missing.is_empty() {
        let names = missing.join(", ");
        return Some(format!(
            "this machine lacks {names}, which scripts/host-packages.sh installs"
        ));
    }
    let driver = env::current_exe().ok()?.with_file_name("updraft-libvirt");
    (!driver.exists()).then(|| format!("{} is missing beside this program", driver.display()))
}

fn found(program: &str) -> bool {
    let path = env::var("PATH").unwrap_or_default();
    path.split(':').chain(ALSO.split(':')).any(|folder| Path::new(folder).join(program).is_file())
}
