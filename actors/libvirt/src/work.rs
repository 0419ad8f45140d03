//! One operation on one guest: its turn, its deadline, and the ways it may call libvirt.

use std::time::Duration;

use tokio::sync::broadcast;
use updraft_protocol::hypervisor::{Answer, DriverError, GuestRef, GuestReport, PowerState};
use uuid::Uuid;
use virt::{connect::Connect, domain::Domain, sys};

use crate::{
    connection::CallError,
    driver::Driver,
    events::{Happening, Told},
    failure::{Fault, is_no_domain},
    session::Call,
    turns::Turn,
    view::{self, View},
};

/// Between looks at a guest that is waited for, should its event be lost.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A guest as libvirt has it.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// What it does.
    pub(crate) power: PowerState,
    /// Whether it has an emulator; a held guest has one.
    pub(crate) active: bool,
    /// As it is: the running guest, or what would start.
    pub(crate) now: View,
    /// What starts next.
    pub(crate) next: View,
}

impl Snapshot {
    /// What the parent is told of it.
    pub(crate) fn told(&self) -> Told {
        Told { power: self.power, disks: self.now.serials() }
    }
}

/// What a call may do to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    None,
    Some,
}

/// An operation that may go ahead.
pub(crate) struct Work<'a> {
    /// The driver that it is done by.
    pub(crate) driver: &'a Driver,
    /// Which guest, for which generation.
    pub(crate) asked: GuestRef,
    /// The request, unless the driver works for itself.
    pub(crate) call: Option<Call>,
    /// The turn on the guest; looking alone needs none.
    pub(crate) turn: Option<Turn>,
}

impl Work<'_> {
    /// The guest.
    pub(crate) fn guest(&self) -> Uuid {
        self.asked.guest
    }

    /// Whether nothing newer was asked of this guest meanwhile.
    pub(crate) fn still_wanted(&self) -> Result<(), DriverError> {
        self.driver.fence.check(self.asked)
    }

    /// A call that changes nothing.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connect) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, DriverError> {
        self.run(work).await.map_err(|error| self.told(Effect::None, error))
    }

    /// A call that changes the guest.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connect) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, DriverError> {
        self.run(work).await.map_err(|error| self.told(Effect::Some, error))
    }

    /// A call that changes the guest and may well be refused: the refusal is for the caller to judge.
    pub(crate) async fn try_change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connect) -> Result<T, Fault> + Send + 'static,
    ) -> Result<Result<T, Fault>, DriverError> {
        match self.run(work).await {
            Ok(value) => Ok(Ok(value)),
            Err(CallError::Fault(fault)) => Ok(Err(fault)),
            Err(error) => Err(self.told(Effect::Some, error)),
        }
    }

    /// The guest, if there is one.
    pub(crate) async fn snapshot(&self) -> Result<Option<Snapshot>, DriverError> {
        let guest = self.guest();
        self.read(move |connect| inspect(connect, guest)).await
    }

    /// The guest, if there is one and it is not another's: libvirt tells of everybody's guests.
    pub(crate) async fn snapshot_if_ours(&self) -> Result<Option<Snapshot>, DriverError> {
        let guest = self.guest();
        self.read(move |connect| match inspect(connect, guest) {
            Err(Fault::Foreign) => Ok(None),
            other => other,
        })
        .await
    }

    /// The guest, which has to be there.
    pub(crate) async fn present(&self) -> Result<Snapshot, DriverError> {
        self.snapshot().await?.ok_or(DriverError::NoGuest(self.guest()))
    }

    /// Looks at the guest once more and answers with what is there.
    pub(crate) async fn report(&self) -> Result<Answer, DriverError> {
        let snapshot = self.snapshot().await?;
        Ok(Answer::Guest(self.driver.tell(self.guest(), snapshot.as_ref())))
    }

    /// Waits until something happens to the guest, at most so long.
    pub(crate) async fn wait(
        &self,
        happenings: &mut broadcast::Receiver<Happening>,
        at_most: Duration,
    ) -> Option<Happening> {
        let heard = async {
            loop {
                match happenings.recv().await {
                    Ok(happening) if happening.guest() == self.guest() => return Some(happening),
                    Ok(_) => {}
                    // Something was missed: look.
                    Err(_) => return None,
                }
            }
        };
        self.driver.env.timeout(at_most, heard).await.flatten()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connect) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, CallError> {
        if let Some(call) = &self.call {
            call.begin();
        }
        self.driver.link.call(self.turn.clone(), work).await
    }

    fn told(&self, effect: Effect, error: CallError) -> DriverError {
        match error {
            CallError::Fault(fault) => fault.into_driver_error(self.guest()),
            CallError::Down(reason) => DriverError::Unavailable(reason),
            CallError::Broken(words) if effect == Effect::None => DriverError::Unavailable(words),
            CallError::Broken(_) => {
                DriverError::Unknown(self.call.as_ref().map_or(0, |call| call.deadline_ms))
            }
        }
    }
}

/// Looks at a guest of ours; nobody else's is touched.
pub(crate) fn inspect(connect: &Connect, guest: Uuid) -> Result<Option<Snapshot>, Fault> {
    match look_up(connect, guest) {
        Ok(domain) => inspect_domain(&domain).map(Some),
        Err(Fault::NoGuest) => Ok(None),
        Err(other) => Err(other),
    }
}

/// libvirt's handle on a guest.
pub(crate) fn look_up(connect: &Connect, guest: Uuid) -> Result<Domain, Fault> {
    Domain::lookup_by_uuid(connect, guest).map_err(absent)
}

/// A guest that went away between two calls is no refusal.
fn absent(error: virt::error::Error) -> Fault {
    if is_no_domain(&error) { Fault::NoGuest } else { Fault::Libvirt(error) }
}

/// Looks at a guest.
pub(crate) fn inspect_domain(domain: &Domain) -> Result<Snapshot, Fault> {
    let (state, reason) = domain.get_state().map_err(absent)?;
    let now = view::read(&domain.get_xml_desc(0).map_err(absent)?)?;
    if !now.ours {
        return Err(Fault::Foreign);
    }
    let active = !matches!(state, sys::VIR_DOMAIN_SHUTOFF | sys::VIR_DOMAIN_CRASHED);
    let next = if active {
        view::read(&domain.get_xml_desc(sys::VIR_DOMAIN_XML_INACTIVE).map_err(absent)?)?
    } else {
        now.clone()
    };
    Ok(Snapshot { power: power_state(state, reason), active, now, next })
}

fn power_state(state: sys::virDomainState, reason: i32) -> PowerState {
    // A guest that could not even be started is down as before; who started it was told why.
    let crashed = u32::try_from(reason) == Ok(sys::VIR_DOMAIN_SHUTOFF_CRASHED);
    match state {
        sys::VIR_DOMAIN_SHUTOFF if crashed => PowerState::Crashed,
        sys::VIR_DOMAIN_SHUTOFF => PowerState::Shutdown,
        sys::VIR_DOMAIN_CRASHED => PowerState::Crashed,
        sys::VIR_DOMAIN_PAUSED | sys::VIR_DOMAIN_PMSUSPENDED => PowerState::Paused,
        // Blocked on a device, or on its way down: it still runs.
        _ => PowerState::Running,
    }
}

/// What is answered of a guest.
pub(crate) fn report(asked: GuestRef, snapshot: Option<&Snapshot>) -> GuestReport {
    GuestReport {
        guest: asked,
        power: snapshot.map_or(PowerState::Absent, |s| s.power),
        disks: snapshot.map(|s| s.now.serials()).unwrap_or_default(),
        mac_addresses: snapshot.map(|s| s.now.mac_addresses()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_its_emulator_took_along_crashed() {
        let crashed = i32::try_from(sys::VIR_DOMAIN_SHUTOFF_CRASHED).unwrap();
        assert_eq!(power_state(sys::VIR_DOMAIN_SHUTOFF, crashed), PowerState::Crashed);
    }

    #[test]
    fn a_guest_that_could_not_be_started_is_shut_down() {
        let failed = i32::try_from(sys::VIR_DOMAIN_SHUTOFF_FAILED).unwrap();
        assert_eq!(power_state(sys::VIR_DOMAIN_SHUTOFF, failed), PowerState::Shutdown);
    }

    #[test]
    fn a_guest_that_went_down_by_itself_is_shut_down() {
        let shutdown = i32::try_from(sys::VIR_DOMAIN_SHUTOFF_SHUTDOWN).unwrap();
        assert_eq!(power_state(sys::VIR_DOMAIN_SHUTOFF, shutdown), PowerState::Shutdown);
    }

    #[test]
    fn a_guest_on_its_way_down_still_runs() {
        assert_eq!(power_state(sys::VIR_DOMAIN_SHUTDOWN, 0), PowerState::Running);
    }
}
