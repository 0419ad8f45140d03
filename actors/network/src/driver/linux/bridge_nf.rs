//! Keeps the host's own packet filter away from frames between guests.
//!
//! Where the kernel has `br_netfilter`, bridged frames pass the host's forward chains, and a firewall that
//! drops what it does not know cuts guests off from DHCP and from each other. So it is switched off while
//! this agent has bridges; what was set before is kept in a file and set again when everything is removed.

use std::{fs, io, path::Path};

use crate::driver::DriverError;

const SETTINGS: &str = "/proc/sys/net/bridge";
const NAMES: [&str; 3] =
    ["bridge-nf-call-arptables", "bridge-nf-call-ip6tables", "bridge-nf-call-iptables"];
const SAVED: &str = "bridge-nf";

fn failed(error: io::Error) -> DriverError {
    DriverError::failed(format!("setting {SETTINGS}"), error)
}

/// A host without the setting has nothing to be kept away.
fn read(name: &str) -> Result<Option<String>, DriverError> {
    match fs::read_to_string(Path::new(SETTINGS).join(name)) {
        Ok(value) => Ok(Some(value.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn write(name: &str, value: &str) -> Result<(), DriverError> {
    fs::write(Path::new(SETTINGS).join(name), value).map_err(failed)
}

/// Switches it off, and remembers what was on.
pub(super) fn quiet(state_dir: &Path) -> Result<(), DriverError> {
    let mut on = Vec::new();
    for name in NAMES {
        if read(name)?.is_some_and(|value| value != "0") {
            on.push(name);
        }
    }
    if on.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(state_dir).map_err(failed)?;
    let file = state_dir.join(SAVED);
    let before = fs::read_to_string(&file).unwrap_or_default();
    let saved: Vec<&str> =
        NAMES.into_iter().filter(|name| on.contains(name) || before.contains(name)).collect();
    super::files::write_atomically(&file, &saved.join("\n")).map_err(failed)?;
    tracing::info!(settings = on.join(" "), "bridged frames no longer pass the host's filter");
    on.into_iter().try_for_each(|name| write(name, "0"))
}

/// Sets again what was on.
pub(super) fn restore(state_dir: &Path) -> Result<(), DriverError> {
    let file = state_dir.join(SAVED);
    let saved = match fs::read_to_string(&file) {
        Ok(saved) => saved,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for name in NAMES.into_iter().filter(|name| saved.lines().any(|line| line == *name)) {
        if read(name)?.is_some() {
            write(name, "1")?;
        }
    }
    fs::remove_file(&file).map_err(failed)
}
