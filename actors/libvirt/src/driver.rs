//! The driver: which operation is done how, one at a time on each guest.
//!
//! Owns what is remembered between operations. Promises that an operation is let in by the fence
//! before it waits for its turn, so that a newer one is known at once and an older one under way
//! gives up at its next step.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use updraft_protocol::hypervisor::{
    Answer, ConsoleKind, DriverError, GuestEvent, GuestRef, GuestReport, Op, Outgoing,
};
use updraft_runtime::env::{BoxFuture, Env};
use uuid::Uuid;
use virt::connect::Connect;

use crate::{
    connection::Link,
    console,
    devices::{self, Device},
    events::{self, Due, Told, difference},
    failure::{Fault, in_file},
    fence::Fence,
    guest, host,
    session::{Call, Serve},
    virt_type::VirtTypes,
    work::{self, Snapshot, Work},
};

/// How often console logs are looked at for their size; a guest prints a few MiB meanwhile.
const TRIM_EVERY: Duration = Duration::from_secs(10);

/// Everything that operations share.
pub(crate) struct Driver {
    /// The door to the world.
    pub(crate) env: Env,
    /// The way to libvirt.
    pub(crate) link: Link,
    /// Which generations are served.
    pub(crate) fence: Arc<Fence>,
    /// How guest code is run here.
    pub(crate) virt_types: VirtTypes,
    /// Where guests' files are.
    pub(crate) instances: PathBuf,
    /// Guests to be looked at.
    pub(crate) due: Due,
    /// Since when a guest has been asked politely to stop, and for which generation.
    pub(crate) stopping: Mutex<BTreeMap<Uuid, (u64, Duration)>>,
    turns: crate::turns::Turns,
    out: mpsc::Sender<Outgoing>,
    told: Mutex<BTreeMap<Uuid, Told>>,
    logs: Mutex<BTreeMap<Uuid, PathBuf>>,
}

impl Serve for Driver {
    fn serve(
        self: Arc<Self>,
        op: Op,
        call: Call,
    ) -> BoxFuture<'static, Result<Answer, DriverError>> {
        Box::pin(async move { self.carry_out(op, call).await })
    }
}

impl Driver {
    /// A driver whose link is still down.
    pub(crate) fn new(
        env: Env,
        link: Link,
        fence: Fence,
        virt_types: VirtTypes,
        instances: PathBuf,
        out: mpsc::Sender<Outgoing>,
    ) -> Self {
        Self {
            env,
            link,
            fence: Arc::new(fence),
            virt_types,
            instances,
            due: Due::default(),
            stopping: Mutex::default(),
            turns: crate::turns::Turns::default(),
            out,
            told: Mutex::default(),
            logs: Mutex::default(),
        }
    }

    /// Starts what the driver does by itself.
    pub(crate) fn start(self: &Arc<Self>) {
        // Whoever listens does so before there is something to hear.
        self.env.spawn("events", events::follow(self.clone(), self.link.happenings()));
        self.env.spawn("availability", events::follow_link(self.clone(), self.link.status()));
        let driver = self.clone();
        self.env.spawn("connection", async move { driver.link.tend().await });
        let driver = self.clone();
        self.env.spawn("consoles", async move { driver.trim_consoles().await });
    }

    /// Remembers what the parent is about to be told of a guest.
    pub(crate) fn tell(&self, guest: Uuid, snapshot: Option<&Snapshot>) -> GuestReport {
        if let Some(snapshot) = snapshot {
            self.told.lock().insert(guest, snapshot.told());
            if let Some(log) = &snapshot.now.console_log {
                self.logs.lock().insert(guest, log.clone());
            }
        } else {
            self.told.lock().remove(&guest);
            self.logs.lock().remove(&guest);
        }
        work::report(self.newest(guest), snapshot)
    }

    /// The guests that are there, and those that the parent believes to be.
    pub(crate) async fn all_guests(&self) -> Result<BTreeSet<Uuid>, DriverError> {
        let there = self.list().await?;
        let told = self.told.lock().keys().copied().collect::<Vec<_>>();
        Ok(there.into_iter().map(|(guest, _)| guest).chain(told).collect())
    }

    /// Takes in what all guests do, without a word: before it, the parent was told nothing. What an
    /// operation told meanwhile is newer and stays.
    pub(crate) async fn learn(&self) -> Result<(), DriverError> {
        for (guest, snapshot) in self.list().await? {
            if let Some(log) = &snapshot.now.console_log {
                self.logs.lock().entry(guest).or_insert_with(|| log.clone());
            }
            self.told.lock().entry(guest).or_insert_with(|| snapshot.told());
        }
        Ok(())
    }

    /// Looks at a guest in its turn and reports what the parent does not know yet.
    pub(crate) async fn look(&self, guest: Uuid) -> Result<(), DriverError> {
        let work = self.own_work(guest).await;
        self.due.begin(guest);
        let snapshot = work.snapshot_if_ours().await?;
        let now = snapshot.as_ref().map(Snapshot::told);
        let events = difference(guest, self.told.lock().get(&guest), now.as_ref());
        self.tell(guest, snapshot.as_ref());
        for event in events {
            self.say(event).await;
        }
        Ok(())
    }

    /// The driver's own work on a guest, which serves whatever generation is the newest.
    async fn own_work(&self, guest: Uuid) -> Work<'_> {
        let turn = Some(self.turns.take(guest).await);
        Work { driver: self, asked: self.newest(guest), call: None, turn }
    }

    async fn carry_out(&self, op: Op, call: Call) -> Result<Answer, DriverError> {
        match op {
            Op::Probe => {
                call.begin();
                host::report(self).await.map(Answer::Host)
            }
            Op::List => {
                call.begin();
                self.list().await.map(|guests| self.reports(guests))
            }
            Op::Describe { guest } => self.describe(guest, call).await,
            Op::Screenshot { guest } => self.screenshot(guest, call).await,
            Op::Console { guest, kind } => self.console(guest, kind, call).await,
            Op::ConsoleLog { guest, bytes_max } => self.console_log(guest, bytes_max, call).await,
            Op::Define(spec) => guest::define(&self.admit(spec.guest, call).await?, *spec).await,
            Op::Start(asked) => guest::start(&self.admit(asked, call).await?).await,
            Op::Stop { guest: asked, grace_ms } => {
                guest::stop(&self.admit(asked, call).await?, grace_ms).await
            }
            Op::Reboot { guest: asked, hard } => {
                guest::reboot(&self.admit(asked, call).await?, hard).await
            }
            Op::Remove(asked) => guest::remove(&self.admit(asked, call).await?).await,
            Op::AttachDisk { guest: asked, disk } => {
                devices::attach_disk(&self.admit(asked, call).await?, disk).await
            }
            Op::DetachDisk { guest: asked, serial } => {
                devices::detach(&self.admit(asked, call).await?, Device::Disk(serial)).await
            }
            Op::AttachInterface { guest: asked, interface } => {
                devices::attach_interface(&self.admit(asked, call).await?, interface).await
            }
            Op::DetachInterface { guest: asked, mac_address } => {
                let device = Device::Interface(mac_address);
                devices::detach(&self.admit(asked, call).await?, device).await
            }
        }
    }

    /// Lets an operation in and waits for its turn.
    async fn admit(&self, asked: GuestRef, call: Call) -> Result<Work<'_>, DriverError> {
        // The place in the queue is taken first, so that requests are served in their order; the
        // fence does not wait for the turn.
        let turn = async { Ok(self.turns.take(asked.guest).await) };
        let fence = self.fence.clone();
        let admitted = async {
            let written = self.env.blocking(move || fence.admit(asked)).await;
            written.unwrap_or_else(|gone| Err(DriverError::Failed(gone.to_string())))
        };
        let (turn, ()) = tokio::try_join!(turn, admitted)?;
        let work = Work { driver: self, asked, call: Some(call), turn: Some(turn) };
        work.still_wanted()?;
        Ok(work)
    }

    async fn describe(&self, guest: Uuid, call: Call) -> Result<Answer, DriverError> {
        let work = self.look_only(guest, call);
        Ok(Answer::Guest(work::report(work.asked, work.snapshot().await?.as_ref())))
    }

    fn reports(&self, guests: Vec<(Uuid, Snapshot)>) -> Answer {
        let report =
            |(guest, snapshot): (Uuid, Snapshot)| work::report(self.newest(guest), Some(&snapshot));
        Answer::Guests(guests.into_iter().map(report).collect())
    }

    /// The guest with the newest generation that was asked of it.
    fn newest(&self, guest: Uuid) -> GuestRef {
        GuestRef { guest, generation: self.fence.served(guest) }
    }

    fn look_only(&self, guest: Uuid, call: Call) -> Work<'_> {
        Work { driver: self, asked: self.newest(guest), call: Some(call), turn: None }
    }

    async fn console(
        &self,
        guest: Uuid,
        kind: ConsoleKind,
        call: Call,
    ) -> Result<Answer, DriverError> {
        let found = self.look_only(guest, call).present().await?;
        if !found.active {
            return Err(DriverError::Failed("the guest does not run".to_owned()));
        }
        let (what, socket) = match kind {
            ConsoleKind::Screen => ("screen", found.now.screen),
            ConsoleKind::Serial => ("serial line", found.now.serial),
        };
        // A guest of before there were any, or one whose folder has too long a path.
        let none =
            || DriverError::Failed(format!("the guest was started without a {what} to talk to"));
        socket.map(Answer::Socket).ok_or_else(none)
    }

    async fn screenshot(&self, guest: Uuid, call: Call) -> Result<Answer, DriverError> {
        let work = self.look_only(guest, call);
        if !work.present().await?.active {
            return Err(DriverError::Failed("the guest does not run".to_owned()));
        }
        let picture = work.read(move |connect| console::picture(connect, guest)).await?;
        Ok(Answer::Picture(STANDARD.encode(picture)))
    }

    async fn console_log(
        &self,
        guest: Uuid,
        bytes_max: u32,
        call: Call,
    ) -> Result<Answer, DriverError> {
        let log = self.look_only(guest, call).present().await?.now.console_log;
        let log = log.ok_or_else(|| DriverError::Failed("the guest has no console log".into()))?;
        let read = move || console::tail(&log, bytes_max).map_err(in_file("the console log"));
        match self.env.blocking(read).await {
            Ok(Ok(text)) => Ok(Answer::Console(text)),
            Ok(Err(fault)) => Err(fault.into_driver_error(guest)),
            Err(gone) => Err(DriverError::Failed(gone.to_string())),
        }
    }

    async fn list(&self) -> Result<Vec<(Uuid, Snapshot)>, DriverError> {
        self.link.call(None, list_guests).await.map_err(host::to_driver_error)
    }

    /// Tells the parent something that it did not ask for.
    pub(crate) async fn say(&self, event: GuestEvent) {
        tracing::debug!(?event, "said");
        if self.out.send(Outgoing::Event(event)).await.is_err() {
            tracing::debug!("an event that nobody hears");
        }
    }

    async fn trim_consoles(self: Arc<Self>) {
        loop {
            self.env.sleep(TRIM_EVERY).await;
            let logs: Vec<_> = self.logs.lock().values().cloned().collect();
            let trimmed = self.env.blocking(move || {
                for log in logs {
                    if let Err(error) = console::trim(&log) {
                        tracing::warn!(log = %log.display(), %error, "a console log stays large");
                    }
                }
            });
            trimmed.await.ok();
        }
    }
}

fn list_guests(connect: &Connect) -> Result<Vec<(Uuid, Snapshot)>, Fault> {
    let mut guests = Vec::new();
    for domain in connect.list_all_domains(0)? {
        match work::inspect_domain(&domain) {
            Ok(snapshot) => guests.push((domain.get_uuid()?, snapshot)),
            Err(Fault::Foreign | Fault::NoGuest) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(guests)
}
