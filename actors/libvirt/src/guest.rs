//! A guest's life: defined, started, stopped, restarted, removed.
//!
//! Every operation looks first and does what is missing, so that a repeat finds its work done.

use std::time::Duration;

use updraft_protocol::hypervisor::{Answer, DriverError, GuestSpec, PowerState};
use virt::{connect::Connect, domain::Domain, sys};

use crate::{
    console, devices,
    events::Happening,
    failure::{Fault, in_file},
    work::{LOOK_EVERY, Snapshot, Work, inspect, look_up},
    xml,
};

/// How often a guest is asked again to stop: one that boots has no ear yet.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// Longest wait for a guest to restart by itself; then the plug is pulled.
const REBOOT_GRACE_MAX: Duration = Duration::from_secs(120);

/// What libvirt keeps beside a guest's definition.
const FORGET_ALL: u32 = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | sys::VIR_DOMAIN_UNDEFINE_NVRAM;

/// Makes the guest known; one that runs with the same devices is left as it is.
pub(crate) async fn define(work: &Work<'_>, spec: GuestSpec) -> Result<Answer, DriverError> {
    let virt_type = work.driver.virt_types.get().await;
    work.change(move |connect| {
        let host = xml::Host { virt_type, direct_io: &devices::takes_direct_io };
        let xml = xml::guest(&spec, &host)?;
        match inspect(connect, spec.guest.guest)? {
            Some(guest) if guest.active && has_devices_of(&guest, &spec) => return Ok(()),
            Some(guest) if guest.active => return Err(Fault::Runs),
            _ => {}
        }
        console::prepare(&spec.console_log).map_err(in_file("the console log's folder"))?;
        Domain::define_xml(connect, &xml)?;
        Ok(())
    })
    .await?;
    work.report().await
}

/// Lets it run.
pub(crate) async fn start(work: &Work<'_>) -> Result<Answer, DriverError> {
    let guest = work.guest();
    work.driver.stopping.lock().remove(&guest);
    work.change(move |connect| {
        let found = inspect(connect, guest)?.ok_or(Fault::NoGuest)?;
        let domain = look_up(connect, guest)?;
        if !found.active
            && let Err(refused) = domain.create()
        {
            // A driver that this one replaced may have begun it: libvirt ends what it was asked for.
            inspect(connect, guest)?.filter(|found| found.active).ok_or(refused)?;
        }
        if inspect(connect, guest)?.is_some_and(|found| found.power == PowerState::Paused) {
            domain.resume()?;
        }
        Ok(())
    })
    .await?;
    work.report().await
}

/// Lets it stop: asks until the grace is over, then pulls the plug. The grace counts from the first
/// request of this generation, so that a request repeated after its deadline goes on with it.
pub(crate) async fn stop(work: &Work<'_>, grace_ms: u32) -> Result<Answer, DriverError> {
    let mut happenings = work.driver.link.happenings();
    let since = asked_since(work);
    let mut asked_at = None;
    loop {
        work.still_wanted()?;
        let found = work.present().await?;
        if !found.active {
            work.driver.stopping.lock().remove(&work.guest());
            return work.report().await;
        }
        let now = work.driver.env.now();
        let left = Duration::from_millis(grace_ms.into()).saturating_sub(now - since);
        if left.is_zero() || found.power == PowerState::Paused {
            pull_the_plug(work).await?;
            continue;
        }
        if asked_at.is_none_or(|at| now.saturating_sub(at) >= ASK_EVERY) {
            ask(work, |domain| domain.shutdown().map(drop)).await?;
            asked_at = Some(now);
        }
        work.wait(&mut happenings, left.min(LOOK_EVERY)).await;
    }
}

/// Restarts it. The fence remembers a restart that is done: a repeat is none.
pub(crate) async fn reboot(work: &Work<'_>, hard: bool) -> Result<Answer, DriverError> {
    let found = work.present().await?;
    if !work.driver.fence.is_rebooted(work.asked) {
        let by_itself = !hard && found.active && found.power != PowerState::Paused;
        if !(by_itself && restarts_by_itself(work).await?) {
            work.still_wanted()?;
            pull_the_plug(work).await?;
            start(work).await?;
        }
        let (fence, asked) = (work.driver.fence.clone(), work.asked);
        let noted = work.driver.env.blocking(move || fence.note_rebooted(asked)).await;
        noted.unwrap_or_else(|gone| Err(DriverError::Failed(gone.to_string())))?;
    }
    work.report().await
}

/// Stops it and forgets it, its console last but one: an unfinished removal is found again.
pub(crate) async fn remove(work: &Work<'_>) -> Result<Answer, DriverError> {
    let guest = work.guest();
    while let Some(found) = work.snapshot().await? {
        work.still_wanted()?;
        if found.active {
            pull_the_plug(work).await?;
            continue;
        }
        work.change(move |connect| {
            if let Some(log) = &found.next.console_log {
                console::remove(log).map_err(in_file("the console log"))?;
            }
            unless_gone(forget(connect, guest))
        })
        .await?;
    }
    work.driver.stopping.lock().remove(&guest);
    let (fence, asked) = (work.driver.fence.clone(), work.asked);
    let noted = work.driver.env.blocking(move || fence.note_removed(asked)).await;
    noted.unwrap_or_else(|gone| Err(DriverError::Failed(gone.to_string())))?;
    work.report().await
}

fn forget(connect: &Connect, guest: uuid::Uuid) -> Result<(), Fault> {
    Ok(look_up(connect, guest)?.undefine_flags(FORGET_ALL)?)
}

fn unless_gone(result: Result<(), Fault>) -> Result<(), Fault> {
    match result {
        Err(Fault::NoGuest) => Ok(()),
        other => other,
    }
}

fn has_devices_of(guest: &Snapshot, spec: &GuestSpec) -> bool {
    let serials = spec.disks.iter().map(|disk| &disk.serial);
    let macs = spec.interfaces.iter().map(|interface| &interface.mac_address);
    guest.now.serials().iter().eq(serials) && guest.now.mac_addresses().iter().eq(macs)
}

/// Since when this generation wants the guest to stop.
fn asked_since(work: &Work<'_>) -> Duration {
    let now = work.driver.env.now();
    let mut stopping = work.driver.stopping.lock();
    let entry = stopping.entry(work.guest()).or_insert((work.asked.generation, now));
    if entry.0 != work.asked.generation {
        *entry = (work.asked.generation, now);
    }
    entry.1
}

/// Ends its emulator. A guest that is down by then is a success.
async fn pull_the_plug(work: &Work<'_>) -> Result<(), DriverError> {
    let guest = work.guest();
    let done = work
        .try_change(move |connect| unless_gone(Ok(look_up(connect, guest)?.destroy()?)))
        .await?;
    match done {
        Err(fault) if !fault.is_wrong_state() => Err(fault.into_driver_error(guest)),
        _ => Ok(()),
    }
}

/// Asks the guest for something that it may well not do; it will be asked again.
async fn ask(
    work: &Work<'_>,
    question: impl FnOnce(&Domain) -> Result<(), virt::error::Error> + Send + 'static,
) -> Result<(), DriverError> {
    let guest = work.guest();
    let asked = work
        .try_change(move |connect| question(&look_up(connect, guest)?).map_err(Fault::from))
        .await?;
    if let Err(fault) = asked {
        tracing::info!(%guest, %fault, "the guest cannot be asked");
    }
    Ok(())
}

/// Asks a running guest to restart and waits for it, for at most half of what is left to the
/// deadline, so that the other half is left for pulling the plug.
async fn restarts_by_itself(work: &Work<'_>) -> Result<bool, DriverError> {
    let mut happenings = work.driver.link.happenings();
    let begun = work.driver.env.now();
    let left = work.call.as_ref().map_or(Duration::ZERO, |c| c.deadline.saturating_sub(begun));
    let patience = (left / 2).min(REBOOT_GRACE_MAX);
    let mut asked_at = None;
    loop {
        work.still_wanted()?;
        let now = work.driver.env.now();
        let waited = now.saturating_sub(begun);
        if waited >= patience {
            return Ok(false);
        }
        if asked_at.is_none_or(|at| now.saturating_sub(at) >= ASK_EVERY) {
            ask(work, |domain| domain.reboot(sys::VIR_DOMAIN_REBOOT_DEFAULT)).await?;
            asked_at = Some(now);
        }
        let heard = work.wait(&mut happenings, (patience - waited).min(LOOK_EVERY)).await;
        match heard {
            Some(Happening::Rebooted { .. }) => return Ok(true),
            // It may have gone down for good instead.
            Some(_) if !work.present().await?.active => return Ok(false),
            _ => {}
        }
    }
}
