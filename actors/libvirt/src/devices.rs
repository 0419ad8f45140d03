//! Plugging and unplugging, in the running guest and in what starts next.
//!
//! The two may differ after an operation that broke off, so each is looked at and mended by itself.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};

use updraft_protocol::hypervisor::{Answer, Disk, DriverError, Interface};
use virt::sys;

use crate::{
    events::Happening,
    failure::Fault,
    sys::detach_device_alias,
    view::View,
    work::{LOOK_EVERY, Snapshot, Work, inspect, look_up},
    xml,
};

/// A guest that boots loses the request; QEMU takes another one after five seconds.
const ASK_AGAIN: Duration = Duration::from_secs(6);

/// QEMU's words for a device that was asked to go and has not gone yet.
const GOING_ALREADY: &str = "in the process of unplug";

/// A device by what it is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// By its serial.
    Disk(String),
    /// By its MAC address.
    Interface(String),
}

impl Device {
    fn is_in(&self, view: &View) -> bool {
        match self {
            Self::Disk(serial) => view.disk(serial).is_some(),
            Self::Interface(mac) => view.interface(mac).is_some(),
        }
    }

    fn alias(&self, guest: &Snapshot) -> Option<String> {
        [&guest.now, &guest.next].into_iter().find_map(|view| match self {
            Self::Disk(serial) => view.disk(serial)?.alias.clone(),
            Self::Interface(mac) => view.interface(mac)?.alias.clone(),
        })
    }

    /// Where a change is needed for the device to be there, or not to be.
    fn where_to_change(&self, guest: &Snapshot, wanted: bool) -> u32 {
        let live = guest.active && self.is_in(&guest.now) != wanted;
        let next = self.is_in(&guest.next) != wanted;
        let mut flags = 0;
        if live {
            flags |= sys::VIR_DOMAIN_AFFECT_LIVE;
        }
        if next {
            flags |= sys::VIR_DOMAIN_AFFECT_CONFIG;
        }
        flags
    }
}

/// Whether a file can be read past the page cache: some file systems refuse it.
pub(crate) fn takes_direct_io(path: &Path) -> bool {
    OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECT).open(path).is_ok()
}

/// Plugs a disk in.
pub(crate) async fn attach_disk(work: &Work<'_>, disk: Disk) -> Result<Answer, DriverError> {
    let guest = work.guest();
    let virt_type = work.driver.virt_types.get().await;
    work.change(move |connect| {
        let found = inspect(connect, guest)?.ok_or(Fault::NoGuest)?;
        let flags = Device::Disk(disk.serial.clone()).where_to_change(&found, true);
        if flags == 0 {
            return Ok(());
        }
        let host = xml::Host { virt_type, direct_io: &takes_direct_io };
        let xml = xml::disk(&disk, &target_for(&found, &disk.serial), &host)?;
        look_up(connect, guest)?.attach_device_flags(&xml, flags)?;
        Ok(())
    })
    .await?;
    work.report().await
}

/// Plugs an interface in.
pub(crate) async fn attach_interface(
    work: &Work<'_>,
    interface: Interface,
) -> Result<Answer, DriverError> {
    let guest = work.guest();
    work.change(move |connect| {
        let found = inspect(connect, guest)?.ok_or(Fault::NoGuest)?;
        let device = Device::Interface(interface.mac_address.clone());
        let flags = device.where_to_change(&found, true);
        if flags != 0 {
            look_up(connect, guest)?.attach_device_flags(&xml::interface(&interface)?, flags)?;
        }
        Ok(())
    })
    .await?;
    work.report().await
}

/// Unplugs a device and waits until the guest has let go of it. libvirt's answer to the request says
/// nothing of that; the event does, and so does a look.
pub(crate) async fn detach(work: &Work<'_>, device: Device) -> Result<Answer, DriverError> {
    let mut happenings = work.driver.link.happenings();
    let (mut alias, mut asked_at) = (String::new(), None);
    loop {
        work.still_wanted()?;
        let found = work.present().await?;
        if device.where_to_change(&found, false) == 0 {
            return work.report().await;
        }
        let now = work.driver.env.now();
        if asked_at.is_none_or(|at| now.saturating_sub(at) >= ASK_AGAIN) {
            alias = request_detach(work, &device, &found).await?;
            asked_at = Some(now);
        }
        wait_for_removal(work, &mut happenings, &alias).await;
    }
}

/// Asks for a device's removal wherever it is; answers with its name.
async fn request_detach(
    work: &Work<'_>,
    device: &Device,
    found: &Snapshot,
) -> Result<String, DriverError> {
    let guest = work.guest();
    let flags = device.where_to_change(found, false);
    let alias = device.alias(found).ok_or_else(|| {
        DriverError::Failed("libvirt has no name for the device, which another made".into())
    })?;
    let named = alias.clone();
    let asked = work
        .try_change(move |connect| {
            Ok(detach_device_alias(&look_up(connect, guest)?, &named, flags)?)
        })
        .await?;
    match asked {
        Err(fault) if !fault.to_string().contains(GOING_ALREADY) => {
            Err(fault.into_driver_error(guest))
        }
        _ => Ok(alias),
    }
}

async fn wait_for_removal(
    work: &Work<'_>,
    happenings: &mut tokio::sync::broadcast::Receiver<Happening>,
    name: &str,
) {
    let begun = work.driver.env.now();
    loop {
        let waited = work.driver.env.now().saturating_sub(begun);
        let Some(left) = LOOK_EVERY.checked_sub(waited) else { return };
        match work.wait(happenings, left).await {
            Some(Happening::DeviceRemoved { alias, .. }) if alias == name => return,
            Some(Happening::DeviceRemoved { .. } | Happening::Rebooted { .. }) => {}
            // It stopped, or something was missed.
            Some(Happening::Changed { .. }) | None => return,
        }
    }
}

/// The bus name for a disk: its own if one half of the guest has it already, or the first free one.
fn target_for(guest: &Snapshot, serial: &str) -> String {
    let views = [&guest.now, &guest.next];
    if let Some(disk) = views.into_iter().find_map(|view| view.disk(serial)) {
        return disk.target.clone();
    }
    let taken = |name: &str| {
        views.into_iter().any(|view| view.disks.iter().any(|disk| disk.target == name))
    };
    let disks = guest.now.disks.len() + guest.next.disks.len();
    (0..=disks).map(xml::target_name).find(|name| !taken(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use updraft_protocol::hypervisor::PowerState;

    use super::*;
    use crate::view::DiskView;

    fn view(disks: &[(&str, &str)]) -> View {
        let disk = |&(serial, target): &(&str, &str)| DiskView {
            serial: serial.into(),
            target: target.into(),
            alias: Some(xml::disk_alias(serial)),
        };
        View { ours: true, disks: disks.iter().map(disk).collect(), ..View::default() }
    }

    fn running(now: View, next: View) -> Snapshot {
        Snapshot { power: PowerState::Running, active: true, now, next }
    }

    fn volume() -> Device {
        Device::Disk("volume".into())
    }

    #[test]
    fn a_disk_goes_into_the_running_guest_and_into_what_starts_next() {
        let guest = running(view(&[]), view(&[]));
        let both = sys::VIR_DOMAIN_AFFECT_LIVE | sys::VIR_DOMAIN_AFFECT_CONFIG;
        assert_eq!(volume().where_to_change(&guest, true), both);
    }

    #[test]
    fn a_half_plugged_disk_is_plugged_where_it_is_missing() {
        let guest = running(view(&[]), view(&[("volume", "vdb")]));
        assert_eq!(volume().where_to_change(&guest, true), sys::VIR_DOMAIN_AFFECT_LIVE);
        assert_eq!(target_for(&guest, "volume"), "vdb");
    }

    #[test]
    fn a_disk_that_is_there_needs_nothing() {
        let there = view(&[("volume", "vdb")]);
        assert_eq!(volume().where_to_change(&running(there.clone(), there), true), 0);
    }

    #[test]
    fn a_stopped_guest_is_changed_in_what_starts_next_alone() {
        let there = view(&[("volume", "vdb")]);
        let mut guest = running(there.clone(), there);
        guest.active = false;
        assert_eq!(volume().where_to_change(&guest, false), sys::VIR_DOMAIN_AFFECT_CONFIG);
    }

    #[test]
    fn the_first_free_bus_name_is_taken() {
        let guest =
            running(view(&[("root", "vda"), ("x", "vdc")]), view(&[("root", "vda"), ("y", "vdb")]));
        assert_eq!(target_for(&guest, "volume"), "vdd");
    }
}
