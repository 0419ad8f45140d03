//! How guest code is run on this host: by the processor, or by translation.
//!
//! Neither an openable `/dev/kvm`, nor libvirt's account of what the host can do, nor a guest that
//! "runs" proves anything: there are hosts where all three are there and no kernel gets anywhere,
//! because their KVM executes guest code instruction by instruction. So a guest is run that does
//! work and says when it is done. What was found is kept until kernel or emulator change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use virt::{domain::Domain, sys};

use crate::{
    connection::CallError,
    driver::Driver,
    failure::{Fault, in_file},
    probe_program,
    xml::{self, VirtType},
};

/// How long the probe guest may take. Translated it takes half a second; on hardware less; a KVM that
/// steps through instructions takes minutes.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// Between looks at what the probe guest wrote.
const PROBE_LOOK: Duration = Duration::from_millis(100);

/// What the operator asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Setting {
    /// Try and see.
    Auto,
    /// Translation, which works everywhere.
    Qemu,
    /// The processor.
    Kvm,
}

/// The answer, once there is one.
pub(crate) struct VirtTypes {
    setting: Setting,
    answer: watch::Sender<Option<VirtType>>,
    /// Two connections in a row are no reason for two probes at once.
    trying: tokio::sync::Mutex<()>,
}

/// What an earlier process found out.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    /// What it was found on.
    host: String,
    /// Whether the processor runs guests.
    kvm: bool,
}

impl VirtTypes {
    /// The answer, unless it has to be found out.
    pub(crate) fn new(setting: Setting) -> Self {
        let known = match setting {
            Setting::Auto => None,
            Setting::Qemu => Some(VirtType::Qemu),
            Setting::Kvm => Some(VirtType::Kvm),
        };
        Self { setting, answer: watch::channel(known).0, trying: tokio::sync::Mutex::default() }
    }

    /// Waits for the answer.
    pub(crate) async fn get(&self) -> VirtType {
        let mut answer = self.answer.subscribe();
        let known = answer.wait_for(Option::is_some).await.ok().and_then(|known| *known);
        known.unwrap_or(VirtType::Qemu)
    }

    /// Finds the answer out, if that is still to be done.
    pub(crate) async fn resolve(&self, driver: &Driver) {
        let _alone = self.trying.lock().await;
        if self.setting != Setting::Auto || self.answer.borrow().is_some() {
            return;
        }
        match find_out(driver).await {
            Ok(found) => {
                tracing::info!(virt_type = found.as_str(), "how guests run here");
                self.answer.send_replace(Some(found));
            }
            // The next connection tries again.
            Err(error) => tracing::warn!(%error, "how guests run here is still unknown"),
        }
    }
}

async fn find_out(driver: &Driver) -> Result<VirtType, CallError> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(VirtType::Qemu);
    }
    let emulator = driver.link.call(None, |connect| Ok(connect.get_hyp_version()?)).await?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let host = format!("kernel {}, emulator {emulator}", kernel.trim());
    let path = driver.instances.join("virt-type.json");
    let known = read(&path).filter(|found| found.host == host);
    let kvm = match known {
        Some(found) => found.kvm,
        None => {
            let kvm = runs(driver, VirtType::Kvm).await?;
            keep(&path, &Found { host, kvm });
            kvm
        }
    };
    Ok(if kvm { VirtType::Kvm } else { VirtType::Qemu })
}

fn read(path: &Path) -> Option<Found> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Only a cache: losing it costs a probe.
fn keep(path: &Path, found: &Found) {
    let kept = serde_json::to_vec(found).map_err(io::Error::from).and_then(|c| fs::write(path, c));
    if let Err(error) = kept {
        tracing::warn!(%error, "how guests run here is not kept");
    }
}

/// Whether a guest of this kind gets its work done in time.
async fn runs(driver: &Driver, kind: VirtType) -> Result<bool, CallError> {
    let folder = driver.instances.join("probe");
    let result = run_in(driver, kind, &folder).await;
    if let Err(error) = fs::remove_dir_all(&folder) {
        tracing::debug!(%error, "the probe's folder stays");
    }
    match result {
        // libvirt would not even begin: that is an answer.
        Err(CallError::Fault(fault)) => {
            tracing::info!(%fault, kind = kind.as_str(), "the probe guest cannot be run");
            Ok(false)
        }
        other => other,
    }
}

async fn run_in(driver: &Driver, kind: VirtType, folder: &Path) -> Result<bool, CallError> {
    let (image, console) = prepare(folder).map_err(in_file("the probe's folder"))?;
    let name = format!("updraft-probe-{}", process::id());
    let xml = xml::probe(&name, kind, &image, &console).map_err(Fault::from)?;
    let started = driver.env.now();
    // Should this program end meanwhile, libvirt ends the guest with the connection.
    let begin = move |connect: &_| {
        Domain::create_xml(connect, &xml, sys::VIR_DOMAIN_START_AUTODESTROY)?;
        Ok(())
    };
    driver.link.call(None, begin).await?;
    let mut done = false;
    while !done && driver.env.now().saturating_sub(started) < PROBE_DEADLINE {
        driver.env.sleep(PROBE_LOOK).await;
        let said = fs::read(&console).unwrap_or_default();
        done = said.starts_with(probe_program::SAYS);
    }
    let took_ms = driver.env.now().saturating_sub(started).as_millis();
    tracing::info!(kind = kind.as_str(), done, took_ms, "the probe guest is over");
    let end = move |connect: &_| Ok(Domain::lookup_by_name(connect, &name)?.destroy()?);
    driver.link.call(None, end).await?;
    Ok(done)
}

fn prepare(folder: &Path) -> io::Result<(PathBuf, PathBuf)> {
    fs::create_dir_all(folder)?;
    let (image, console) = (folder.join("disk.raw"), folder.join("console.log"));
    fs::write(&image, probe_program::disk())?;
    fs::write(&console, "")?;
    Ok((image, console))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("virt-type.json");
        let found = Found { host: "kernel 1".into(), kvm: true };
        keep(&path, &found);
        assert_eq!(read(&path), Some(found));
    }

    #[test]
    fn a_damaged_note_is_no_note() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("virt-type.json");
        fs::write(&path, "{").unwrap();
        assert_eq!(read(&path), None);
    }

    #[tokio::test]
    async fn what_the_operator_says_is_not_tried() {
        assert_eq!(VirtTypes::new(Setting::Kvm).get().await, VirtType::Kvm);
        assert_eq!(VirtTypes::new(Setting::Qemu).get().await, VirtType::Qemu);
    }
}
