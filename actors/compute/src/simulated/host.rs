//! The simulated host: its guests, their fences, and what goes wrong.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::Notify,
};
use updraft_protocol::hypervisor::{
    Answer, ConsoleKind, Disk, DriverError, GuestEvent, GuestRef, GuestReport, GuestSpec,
    HostReport, Interface, Op, PowerState,
};
use updraft_runtime::{Env, env::UnixMicros, shelf::Shelf};
use uuid::Uuid;

use super::screen;
use crate::hypervisor::{ConsoleEnd, Hypervisor};

/// What may go wrong with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and nothing happens.
    Fails,
    /// It never answers and nothing happens.
    Hangs,
    /// It happens, and the answer says that it failed.
    SucceedsButSaysFailure,
    /// It happens twice.
    Twice,
    /// It happens this much later, whether or not anybody still waits.
    Late(Duration),
    /// The host forgets everything it had, then it happens.
    LosesState,
}

/// Decides before each operation what goes wrong.
pub trait Faults: Send + Sync + 'static {
    /// `None` lets it be.
    fn before(&self, op: &Op) -> Option<Fault>;
}

/// Nothing goes wrong.
pub struct NoFaults;

impl Faults for NoFaults {
    fn before(&self, _op: &Op) -> Option<Fault> {
        None
    }
}

/// How long a removed guest's generation is kept, as by the driver of real guests.
const REMOVED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What waits at most each way between a simulated console and its reader.
const CONSOLE_BYTES: usize = 64 * 1024;

/// What is kept of a simulated guest's console log.
const LOG_MAX_BYTES: usize = 256 * 1024;

/// What a shelf has of a guest.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    generation: u64,
    /// `None` once it is removed.
    guest: Option<Guest>,
    when: UnixMicros,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Guest {
    spec: GuestSpec,
    power: PowerState,
    disks: Vec<Disk>,
    interfaces: Vec<Interface>,
    console: String,
    boots: u32,
}

#[derive(Clone, Default)]
struct State {
    guests: BTreeMap<Uuid, Guest>,
    fences: BTreeMap<Uuid, u64>,
    events: Vec<GuestEvent>,
}

/// A machine that runs guests; outlives the processes on it, in a simulation by itself and on a real machine on
/// its shelf. Cheap to clone.
#[derive(Clone)]
pub struct SimulatedHost {
    report: HostReport,
    state: Arc<Mutex<State>>,
    happened: Arc<Notify>,
    /// Rings for consoles when a guest may have stopped.
    stirred: Arc<Notify>,
    shelf: Option<Shelf>,
    /// Whether its power has ever failed.
    lost_power: Arc<AtomicBool>,
    /// Held while something is done and put on the shelf.
    turn: Arc<Mutex<()>>,
}

impl SimulatedHost {
    /// A machine of this size.
    #[must_use]
    pub fn new(vcpus: u32, memory_mib: u64, disk_gib: u64) -> Self {
        let report = HostReport {
            hypervisor_type: "simulated".to_owned(),
            hypervisor_version: 1_000_000,
            virt_type: "simulated".to_owned(),
            vcpus,
            memory_mib,
            disk_gib,
            architecture: "x86_64".to_owned(),
        };
        Self {
            report,
            state: Arc::default(),
            happened: Arc::default(),
            stirred: Arc::default(),
            shelf: None,
            lost_power: Arc::default(),
            turn: Arc::default(),
        }
    }

    /// The same machine with its guests and their fences in this folder: it has those that are there, and no others. One
    /// that it has already goes on as it does. Blocks; call it at start-up.
    pub fn kept_in(self, env: &Env, folder: &Path) -> io::Result<Self> {
        let (shelf, kept) = Shelf::open::<Kept>(env, folder)?;
        let mut state = self.state.lock();
        let mut running = std::mem::take(&mut state.guests);
        state.fences.clear();
        for (name, Kept { generation, guest, when }) in kept {
            let long_gone = guest.is_none() && env.wall().since(when) > REMOVED_KEPT;
            let Some(id) = name.parse::<Uuid>().ok().filter(|_| !long_gone) else {
                shelf.remove(&name)?;
                continue;
            };
            state.fences.insert(id, generation);
            state.guests.extend(guest.map(|guest| (id, running.remove(&id).unwrap_or(guest))));
        }
        drop(state);
        Ok(Self { shelf: Some(shelf), ..self })
    }

    /// Another machine that is as this one is now, and goes its own way from here; it keeps nothing on a shelf.
    #[must_use]
    pub fn fork(&self) -> Self {
        let state = self.state.lock().clone();
        Self {
            report: self.report.clone(),
            state: Arc::new(Mutex::new(state)),
            happened: Arc::default(),
            stirred: Arc::default(),
            shelf: None,
            lost_power: Arc::default(),
            turn: Arc::default(),
        }
    }

    /// The newest generation that was served of each guest, those removed included.
    #[must_use]
    pub fn served(&self) -> BTreeMap<Uuid, u64> {
        self.state.lock().fences.clone()
    }

    /// Forgets which generations were served, as a driver would that keeps no fence.
    pub fn forget_served(&self) {
        self.state.lock().fences.clear();
    }

    /// The guests and what they do, for a test to look at.
    #[must_use]
    pub fn guests(&self) -> Vec<GuestReport> {
        let state = self.state.lock();
        state.guests.iter().map(|(id, guest)| state.report(*id, guest)).collect()
    }

    /// The disks of guests that are served by other hosts: the guest, the disk's serial, and the export's name.
    #[must_use]
    pub fn remote_disks(&self) -> Vec<(Uuid, String, String)> {
        let state = self.state.lock();
        let of = |(id, guest): (&Uuid, &Guest)| {
            let remote = guest.disks.iter().filter_map(|disk| {
                Some((*id, disk.serial.clone(), disk.remote.as_ref()?.name.clone()))
            });
            remote.collect::<Vec<_>>()
        };
        state.guests.iter().flat_map(of).collect()
    }

    fn name_of(&self, guest: Uuid) -> String {
        let state = self.state.lock();
        state.guests.get(&guest).map(|found| found.spec.title.clone()).unwrap_or_default()
    }

    fn hears(&self, guest: Uuid, bytes: &[u8]) {
        if let Some(found) = self.state.lock().guests.get_mut(&guest) {
            found.console.push_str(&String::from_utf8_lossy(bytes));
            let over = found.console.len().saturating_sub(LOG_MAX_BYTES);
            let from = (over..).find(|at| found.console.is_char_boundary(*at)).unwrap_or(over);
            found.console.drain(..from);
        }
    }

    /// Waits until a guest runs no longer.
    async fn stops(&self, guest: Uuid) {
        loop {
            let stirred = self.stirred.notified();
            tokio::pin!(stirred);
            stirred.as_mut().enable();
            if self.state.lock().talks(guest).is_err() {
                return;
            }
            stirred.await;
        }
    }

    /// A guest's power fails; nobody asked for it.
    pub fn guest_dies(&self, guest: Uuid) {
        let mut state = self.state.lock();
        if let Some(found) = state.guests.get_mut(&guest) {
            found.power = PowerState::Shutdown;
            state.events.push(GuestEvent::Power { guest, power: PowerState::Shutdown });
        }
        drop(state);
        self.happened.notify_one();
        self.stirred.notify_waiters();
    }

    /// The machine's power fails, and comes back: every guest is off, and nobody hears of it.
    pub fn power_fails(&self) {
        let mut state = self.state.lock();
        state.guests.values_mut().for_each(|guest| guest.power = PowerState::Shutdown);
        self.lost_power.store(true, Ordering::Release);
        self.stirred.notify_waiters();
    }

    /// Whether its power has ever failed, for a test to look at.
    #[must_use]
    pub fn has_lost_power(&self) -> bool {
        self.lost_power.load(Ordering::Acquire)
    }

    /// Does it, at once and without fault.
    pub fn carry_out(&self, op: &Op) -> Result<Answer, DriverError> {
        let answer = self.carry_out_on(&mut self.state.lock(), op);
        self.stirred.notify_waiters();
        answer
    }

    /// The same, and what the machine then has of the guest is on its shelf before anybody sees it.
    async fn carry_out_durably(&self, env: &Env, op: &Op) -> Result<Answer, DriverError> {
        let (Some(shelf), Some(guest)) = (self.shelf.clone(), changed(op)) else {
            return self.carry_out(op);
        };
        let (host, op, when) = (self.clone(), op.clone(), env.wall());
        let work = move || host.carry_out_on_shelf(&shelf, guest, &op, when);
        let done = env.blocking(work).await.unwrap_or_else(|gone| Err(io::Error::other(gone)));
        done.map_err(|error| {
            DriverError::Failed(format!("the simulated host keeps nothing: {error}"))
        })?
    }

    fn carry_out_on_shelf(
        &self,
        shelf: &Shelf,
        guest: Uuid,
        op: &Op,
        when: UnixMicros,
    ) -> io::Result<Result<Answer, DriverError>> {
        let _turn = self.turn.lock();
        let mut after = self.state.lock().clone();
        let answer = self.carry_out_on(&mut after, op);
        if matches!(answer, Err(DriverError::Stale { .. })) {
            return Ok(answer);
        }
        shelf.put(&guest.to_string(), &after.kept(guest, when))?;
        self.state.lock().take(guest, after);
        self.stirred.notify_waiters();
        Ok(answer)
    }

    /// Forgets every guest that it has.
    async fn lose_guests(&self, env: &Env) -> Result<(), DriverError> {
        let (host, when) = (self.clone(), env.wall());
        let work = move || -> io::Result<()> {
            let _turn = host.turn.lock();
            let mut after = host.state.lock().clone();
            let guests = std::mem::take(&mut after.guests);
            if let Some(shelf) = &host.shelf {
                for guest in guests.into_keys() {
                    shelf.put(&guest.to_string(), &after.kept(guest, when))?;
                }
            }
            host.state.lock().guests.clear();
            host.stirred.notify_waiters();
            Ok(())
        };
        let done = env.blocking(work).await.unwrap_or_else(|gone| Err(io::Error::other(gone)));
        done.map_err(|error| DriverError::Failed(format!("nothing is lost: {error}")))
    }

    fn carry_out_on(&self, state: &mut State, op: &Op) -> Result<Answer, DriverError> {
        match op {
            Op::Probe => Ok(Answer::Host(self.report.clone())),
            Op::List => {
                let guests = state.guests.iter().map(|(id, guest)| state.report(*id, guest));
                Ok(Answer::Guests(guests.collect()))
            }
            Op::Describe { guest } => state.describe(*guest),
            Op::Console { guest, .. } => state.talks(*guest).map(|_| Answer::Done),
            Op::Screenshot { guest } => state.talks(*guest).map(screen::picture),
            Op::ConsoleLog { guest, bytes_max } => state.console(*guest, *bytes_max),
            Op::Define(spec) => state.define(spec),
            Op::Start(guest) => state.power(*guest, PowerState::Running),
            Op::Stop { guest, .. } => state.power(*guest, PowerState::Shutdown),
            Op::Reboot { guest, .. } => state.reboot(*guest),
            Op::Remove(guest) => state.remove(*guest),
            Op::AttachDisk { guest, disk } => state.with(*guest, |found| {
                if !found.disks.iter().any(|known| known.serial == disk.serial) {
                    found.disks.push(disk.clone());
                }
            }),
            Op::DetachDisk { guest, serial } => {
                state.with(*guest, |found| found.disks.retain(|disk| disk.serial != *serial))
            }
            Op::AttachInterface { guest, interface } => state.with(*guest, |found| {
                if !found.interfaces.iter().any(|known| known.port == interface.port) {
                    found.interfaces.push(interface.clone());
                }
            }),
            Op::DetachInterface { guest, mac_address } => state.with(*guest, |found| {
                found.interfaces.retain(|known| known.mac_address != *mac_address);
            }),
        }
    }
}

impl State {
    fn kept(&self, guest: Uuid, when: UnixMicros) -> Kept {
        let generation = self.fences.get(&guest).copied().unwrap_or_default();
        Kept { generation, guest: self.guests.get(&guest).cloned(), when }
    }

    /// Takes over what another state has of a guest.
    fn take(&mut self, guest: Uuid, mut from: Self) {
        self.fences.extend(from.fences.remove(&guest).map(|fence| (guest, fence)));
        match from.guests.remove(&guest) {
            Some(found) => self.guests.insert(guest, found),
            None => self.guests.remove(&guest),
        };
    }

    fn report(&self, id: Uuid, guest: &Guest) -> GuestReport {
        GuestReport {
            guest: GuestRef { guest: id, generation: self.fences.get(&id).copied().unwrap_or(0) },
            power: guest.power,
            disks: guest.disks.iter().map(|disk| disk.serial.clone()).collect(),
            mac_addresses: guest.interfaces.iter().map(|i| i.mac_address.clone()).collect(),
        }
    }

    /// Refuses what is older than the newest generation served.
    fn fence(&mut self, guest: GuestRef) -> Result<(), DriverError> {
        let served = self.fences.entry(guest.guest).or_default();
        if guest.generation < *served {
            return Err(DriverError::Stale { asked: guest.generation, served: *served });
        }
        *served = guest.generation;
        Ok(())
    }

    fn describe(&self, guest: Uuid) -> Result<Answer, DriverError> {
        let found = self.guests.get(&guest).ok_or(DriverError::NoGuest(guest))?;
        Ok(Answer::Guest(self.report(guest, found)))
    }

    fn with(
        &mut self,
        guest: GuestRef,
        change: impl FnOnce(&mut Guest),
    ) -> Result<Answer, DriverError> {
        self.fence(guest)?;
        let found = self.guests.get_mut(&guest.guest).ok_or(DriverError::NoGuest(guest.guest))?;
        change(found);
        self.describe(guest.guest)
    }

    fn define(&mut self, spec: &GuestSpec) -> Result<Answer, DriverError> {
        self.fence(spec.guest)?;
        let id = spec.guest.guest;
        let old = self.guests.get(&id);
        if old.is_some_and(|guest| guest.power == PowerState::Running) {
            return Err(DriverError::Failed("the guest runs".to_owned()));
        }
        let guest = Guest {
            spec: spec.clone(),
            power: PowerState::Shutdown,
            disks: spec.disks.clone(),
            interfaces: spec.interfaces.clone(),
            console: old.map(|guest| guest.console.clone()).unwrap_or_default(),
            boots: old.map_or(0, |guest| guest.boots),
        };
        self.guests.insert(id, guest);
        self.describe(id)
    }

    fn power(&mut self, guest: GuestRef, power: PowerState) -> Result<Answer, DriverError> {
        self.with(guest, |found| {
            if found.power != PowerState::Running && power == PowerState::Running {
                found.boot();
            }
            found.power = power;
        })
    }

    fn reboot(&mut self, guest: GuestRef) -> Result<Answer, DriverError> {
        self.with(guest, |found| {
            found.power = PowerState::Running;
            found.boot();
        })
    }

    fn remove(&mut self, guest: GuestRef) -> Result<Answer, DriverError> {
        self.fence(guest)?;
        self.guests.remove(&guest.guest);
        Ok(Answer::Done)
    }

    /// The name of a guest that has consoles now.
    fn talks(&self, guest: Uuid) -> Result<&str, DriverError> {
        let found = self.guests.get(&guest).ok_or(DriverError::NoGuest(guest))?;
        match found.power {
            PowerState::Running => Ok(&found.spec.title),
            _ => Err(DriverError::Failed("the guest does not run".to_owned())),
        }
    }

    fn console(&self, guest: Uuid, bytes_max: u32) -> Result<Answer, DriverError> {
        let found = self.guests.get(&guest).ok_or(DriverError::NoGuest(guest))?;
        let from = found.console.len().saturating_sub(bytes_max as usize);
        let tail = found.console.get(from..).unwrap_or(&found.console);
        Ok(Answer::Console(tail.to_owned()))
    }
}

impl Guest {
    fn boot(&mut self) {
        self.boots += 1;
        let (name, boots) = (&self.spec.title, self.boots);
        self.console.push_str(&format!("simulated guest {name}: boot {boots}\n"));
    }
}

/// A node's handle on its machine.
pub struct SimulatedHypervisor {
    env: Env,
    host: SimulatedHost,
    faults: Arc<dyn Faults>,
}

impl SimulatedHypervisor {
    /// A handle whose operations go wrong as the hook says.
    #[must_use]
    pub fn new(env: Env, host: SimulatedHost, faults: Arc<dyn Faults>) -> Self {
        Self { env, host, faults }
    }
}

/// The guest that an operation may change.
fn changed(op: &Op) -> Option<Uuid> {
    match op {
        Op::Probe | Op::List | Op::Describe { .. } => None,
        Op::Console { .. } | Op::Screenshot { .. } | Op::ConsoleLog { .. } => None,
        Op::Define(spec) => Some(spec.guest.guest),
        Op::Start(guest)
        | Op::Stop { guest, .. }
        | Op::Reboot { guest, .. }
        | Op::Remove(guest)
        | Op::AttachDisk { guest, .. }
        | Op::DetachDisk { guest, .. }
        | Op::AttachInterface { guest, .. }
        | Op::DetachInterface { guest, .. } => Some(guest.guest),
    }
}

#[async_trait]
impl Hypervisor for SimulatedHypervisor {
    async fn perform(&self, op: Op, deadline: Duration) -> Result<Answer, DriverError> {
        let waited = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        match self.faults.before(&op) {
            None => self.happen(&op).await,
            Some(Fault::Fails) => Err(DriverError::Failed("an injected failure".to_owned())),
            Some(Fault::Hangs) => {
                self.env.sleep(deadline).await;
                Err(DriverError::Unknown(waited))
            }
            Some(Fault::SucceedsButSaysFailure) => {
                // That it happened is the point; what it would have answered is not heard.
                let _ = self.happen(&op).await;
                Err(DriverError::Failed("an injected failure after success".to_owned()))
            }
            Some(Fault::Twice) => {
                // As above: only the second answer is heard.
                let _ = self.happen(&op).await;
                self.happen(&op).await
            }
            Some(Fault::Late(delay)) => {
                let (env, host) = (self.env.clone(), self.host.clone());
                self.env.spawn("simulated.late", async move {
                    env.sleep(delay).await;
                    // Nobody hears it.
                    let _ = host.carry_out_durably(&env, &op).await;
                });
                self.env.sleep(deadline.min(delay)).await;
                Err(DriverError::Unknown(waited))
            }
            Some(Fault::LosesState) => {
                self.host.lose_guests(&self.env).await?;
                self.happen(&op).await
            }
        }
    }

    async fn console(
        &self,
        guest: Uuid,
        kind: ConsoleKind,
        deadline: Duration,
    ) -> Result<ConsoleEnd, DriverError> {
        self.perform(Op::Console { guest, kind }, deadline).await?;
        let (ours, theirs) = tokio::io::duplex(CONSOLE_BYTES);
        let host = self.host.clone();
        self.env.spawn("simulated.console", async move {
            let talk = async {
                // Whoever talked to it has gone.
                let _ = match kind {
                    ConsoleKind::Screen => screen::serve(ours, &host.name_of(guest)).await,
                    ConsoleKind::Serial => serial(&host, guest, ours).await,
                };
            };
            tokio::select! {
                biased;
                () = host.stops(guest) => {}
                () = talk => {}
            }
        });
        Ok(Box::new(theirs))
    }

    async fn next_event(&self) -> GuestEvent {
        loop {
            let happened = self.host.happened.notified();
            {
                let mut state = self.host.state.lock();
                if !state.events.is_empty() {
                    return state.events.remove(0);
                }
            }
            happened.await;
        }
    }
}

/// Says what guest it is, and repeats what it is told, which its log keeps too.
async fn serial(host: &SimulatedHost, guest: Uuid, mut line: DuplexStream) -> io::Result<()> {
    line.write_all(format!("simulated guest {}\r\n", host.name_of(guest)).as_bytes()).await?;
    let mut heard = [0; 256];
    loop {
        match line.read(&mut heard).await? {
            0 => return Ok(()),
            count => {
                host.hears(guest, &heard[..count]);
                line.write_all(&heard[..count]).await?;
            }
        }
    }
}

impl SimulatedHypervisor {
    async fn happen(&self, op: &Op) -> Result<Answer, DriverError> {
        self.host.carry_out_durably(&self.env, op).await
    }
}

#[cfg(test)]
mod tests;
