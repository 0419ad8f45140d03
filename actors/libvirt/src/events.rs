//! What libvirt says by itself, and what the parent is told of it.
//!
//! Promises that a change is reported once, after whatever operation is under way on its guest, and
//! only if no operation's answer told it already: an event is the difference between what is and
//! what the parent was told last. Never trusts an event's content; it only wakes a look.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};
use updraft_protocol::hypervisor::{GuestEvent, PowerState};
use uuid::Uuid;

use crate::{connection::Status, driver::Driver};

/// Happenings that a slow listener may be behind; beyond it, it looks at everything anew.
pub(crate) const HAPPENINGS_MAX: usize = 1024;

/// Something that libvirt said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    /// A guest's life changed: started, stopped, held, forgotten.
    Changed {
        /// The guest.
        guest: Uuid,
    },
    /// A guest restarted without its emulator ending.
    Rebooted {
        /// The guest.
        guest: Uuid,
    },
    /// A guest let go of a device.
    DeviceRemoved {
        /// The guest.
        guest: Uuid,
        /// libvirt's name for the device.
        alias: String,
    },
}

impl Happening {
    /// The guest that it is about.
    pub(crate) fn guest(&self) -> Uuid {
        match self {
            Self::Changed { guest }
            | Self::Rebooted { guest }
            | Self::DeviceRemoved { guest, .. } => *guest,
        }
    }
}

/// What the parent was told last of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// What it does.
    pub(crate) power: PowerState,
    /// The serials of its disks.
    pub(crate) disks: Vec<String>,
}

/// The events that lead from what was told to what is.
pub(crate) fn difference(guest: Uuid, told: Option<&Told>, now: Option<&Told>) -> Vec<GuestEvent> {
    let power = |side: Option<&Told>| side.map_or(PowerState::Absent, |t| t.power);
    let mut events = Vec::new();
    if power(told) != power(now) {
        events.push(GuestEvent::Power { guest, power: power(now) });
    }
    if let (Some(told), Some(now)) = (told, now) {
        let gone = told.disks.iter().filter(|serial| !now.disks.contains(serial));
        events.extend(gone.map(|s| GuestEvent::DiskRemoved { guest, serial: s.clone() }));
    }
    events
}

/// Guests that a look is due at; a burst of events about one guest is one look.
#[derive(Default)]
pub(crate) struct Due(Mutex<BTreeSet<Uuid>>);

impl Due {
    /// Whether a look has to be started: none is due yet.
    fn add(&self, guest: Uuid) -> bool {
        self.0.lock().insert(guest)
    }

    /// The look begins; what happens from now on needs another.
    pub(crate) fn begin(&self, guest: Uuid) {
        self.0.lock().remove(&guest);
    }
}

/// Follows libvirt's events for as long as the program runs.
pub(crate) async fn follow(driver: Arc<Driver>, mut happenings: broadcast::Receiver<Happening>) {
    loop {
        match happenings.recv().await {
            Ok(happening) => look_soon(&driver, happening.guest()),
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "events came faster than they could be followed");
                look_at_all(&driver).await;
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Tells the parent when libvirt goes and comes, and finds out what happened meanwhile.
pub(crate) async fn follow_link(driver: Arc<Driver>, mut status: watch::Receiver<Status>) {
    let mut said: Option<Availability> = None;
    let mut learnt = false;
    while status.changed().await.is_ok() {
        let now = Availability::of(&status.borrow_and_update());
        for event in announcements(said.as_ref(), &now) {
            driver.say(event).await;
        }
        if let Availability::Up(number) = now {
            let probing = driver.clone();
            driver
                .env
                .spawn("virt type", async move { probing.virt_types.resolve(&probing).await });
            tracing::debug!(number, learnt, "finding out what the guests do");
            if learnt {
                look_at_all(&driver).await;
            } else {
                learnt = driver.learn().await.is_ok();
            }
        }
        said = Some(now);
    }
}

/// Whether operations can succeed, and on which connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Availability {
    Up(u64),
    Down(String),
}

impl Availability {
    fn of(status: &Status) -> Self {
        match status {
            Status::Up(connection) => Self::Up(connection.number),
            Status::Down(reason) => Self::Down(reason.clone()),
        }
    }
}

/// What the parent is told: each change once, also one that came and went unseen.
fn announcements(said: Option<&Availability>, now: &Availability) -> Vec<GuestEvent> {
    let event =
        |available, reason: &str| GuestEvent::Hypervisor { available, reason: reason.to_owned() };
    match (said, now) {
        (Some(Availability::Up(before)), Availability::Up(after)) if before == after => Vec::new(),
        (Some(Availability::Up(_)), Availability::Up(_)) => {
            vec![event(false, "the connection was lost for a moment"), event(true, "")]
        }
        (_, Availability::Up(_)) => vec![event(true, "")],
        (Some(Availability::Down(_)), Availability::Down(_)) => Vec::new(),
        (_, Availability::Down(reason)) => vec![event(false, reason)],
    }
}

/// Looks at every guest that is there or was told of.
async fn look_at_all(driver: &Arc<Driver>) {
    match driver.all_guests().await {
        Ok(guests) => guests.into_iter().for_each(|guest| look_soon(driver, guest)),
        Err(error) => tracing::warn!(%error, "the guests cannot be listed"),
    }
}

fn look_soon(driver: &Arc<Driver>, guest: Uuid) {
    if !driver.due.add(guest) {
        return;
    }
    let looking = driver.clone();
    driver.env.spawn("look", async move {
        if let Err(error) = looking.look(guest).await {
            tracing::warn!(%guest, %error, "a guest that changed cannot be looked at");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST: Uuid = Uuid::from_u128(1);

    fn told(power: PowerState, disks: &[&str]) -> Told {
        Told { power, disks: disks.iter().map(|&s| s.to_owned()).collect() }
    }

    #[test]
    fn nothing_new_is_no_event() {
        let same = told(PowerState::Running, &["a"]);
        assert_eq!(difference(GUEST, Some(&same), Some(&same)), []);
    }

    #[test]
    fn a_guest_that_crashed_is_an_event() {
        let (before, after) = (told(PowerState::Running, &[]), told(PowerState::Crashed, &[]));
        let expected = [GuestEvent::Power { guest: GUEST, power: PowerState::Crashed }];
        assert_eq!(difference(GUEST, Some(&before), Some(&after)), expected);
    }

    #[test]
    fn a_guest_that_vanished_is_absent() {
        let before = told(PowerState::Shutdown, &["a"]);
        let expected = [GuestEvent::Power { guest: GUEST, power: PowerState::Absent }];
        assert_eq!(difference(GUEST, Some(&before), None), expected);
    }

    #[test]
    fn a_disk_that_went_is_named() {
        let before = told(PowerState::Running, &["a", "b"]);
        let after = told(PowerState::Running, &["a"]);
        let expected = [GuestEvent::DiskRemoved { guest: GUEST, serial: "b".into() }];
        assert_eq!(difference(GUEST, Some(&before), Some(&after)), expected);
    }

    fn hypervisor(available: bool, reason: &str) -> GuestEvent {
        GuestEvent::Hypervisor { available, reason: reason.into() }
    }

    #[test]
    fn a_libvirt_that_stays_away_is_said_once() {
        let (first, again) =
            (Availability::Down("no socket".into()), Availability::Down("b".into()));
        assert_eq!(announcements(None, &first), [hypervisor(false, "no socket")]);
        assert_eq!(announcements(Some(&first), &again), []);
    }

    #[test]
    fn a_connection_that_was_replaced_unseen_is_a_loss_and_a_return() {
        let said = announcements(Some(&Availability::Up(1)), &Availability::Up(2));
        let expected =
            [hypervisor(false, "the connection was lost for a moment"), hypervisor(true, "")];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_burst_of_events_is_one_look() {
        let due = Due::default();
        assert!(due.add(GUEST) && !due.add(GUEST));
        due.begin(GUEST);
        assert!(due.add(GUEST));
    }
}
