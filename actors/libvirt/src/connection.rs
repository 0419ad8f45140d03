//! The connection to libvirt: opened, watched, lost, opened again.
//!
//! Owns the only threads that call libvirt. Promises that a caller on the actor's own thread never
//! waits inside libvirt, and that a call on a connection that broke is told apart from a call that
//! libvirt refused. Never gives up: a libvirtd that comes back is found within [`RETRY_MAX`].

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, broadcast, watch};
use updraft_runtime::Env;
use virt::connect::Connect;

use crate::{
    events::{HAPPENINGS_MAX, Happening},
    failure::Fault,
    sys::{self, Sink, Subscription},
    turns::Turn,
};

/// Calls inside libvirt at once; libvirtd itself works on 20 at a time for all its clients.
const CALLS_MAX: usize = 16;

/// A libvirtd that says nothing for `KEEPALIVE_SECS * KEEPALIVE_MISSED` seconds is given up; that
/// is also what ends a call that hangs.
const KEEPALIVE_SECS: i32 = 5;
const KEEPALIVE_MISSED: u32 = 3;

/// Between attempts to connect, growing from the one to the other.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// After this long an attempt is said to hang; it goes on, since it cannot be taken back.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// How often a connection is asked whether it lives, should its end not be told.
const ALIVE_CHECK: Duration = Duration::from_secs(5);

/// A connection with its events.
pub(crate) struct Connection {
    /// Grows with every connection, so that a lost one in between is noticed.
    pub(crate) number: u64,
    connect: Connect,
    subscription: Subscription,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.subscription.cancel(&self.connect);
    }
}

/// Whether libvirt can be called.
#[derive(Clone)]
pub(crate) enum Status {
    /// It can.
    Up(Arc<Connection>),
    /// It cannot, for this reason.
    Down(String),
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// It was not made: there is no connection.
    #[error("{0}")]
    Down(String),
    /// The connection broke while it was made; it may have had its effect.
    #[error("the connection to libvirtd broke during the call: {0}")]
    Broken(String),
    /// libvirt, or the work around it, said no.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The way to libvirt for everybody.
pub(crate) struct Link {
    env: Env,
    uri: String,
    status: watch::Sender<Status>,
    calls: Arc<Semaphore>,
    happenings: broadcast::Sender<Happening>,
}

impl Link {
    /// A link that is down until [`Link::tend`] runs.
    pub(crate) fn new(env: Env, uri: String) -> Self {
        let (status, _) = watch::channel(Status::Down("libvirt is not connected yet".into()));
        let (happenings, _) = broadcast::channel(HAPPENINGS_MAX);
        Self { env, uri, status, calls: Arc::new(Semaphore::new(CALLS_MAX)), happenings }
    }

    /// What happens to guests from now on.
    pub(crate) fn happenings(&self) -> broadcast::Receiver<Happening> {
        self.happenings.subscribe()
    }

    /// Whether libvirt can be called, and its changes.
    pub(crate) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Does some work inside libvirt, on a thread of its own, which keeps the guest's turn until the
    /// work returns even if nobody waits for it any more.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        turn: Option<Turn>,
        work: impl FnOnce(&Connect) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, CallError> {
        let slot = self.calls.clone().acquire_owned().await;
        let connection = match &*self.status.borrow() {
            Status::Up(connection) => connection.clone(),
            Status::Down(reason) => return Err(CallError::Down(reason.clone())),
        };
        let done = self.env.blocking(move || {
            let result = on_connection(&connection, work);
            drop((turn, slot));
            result
        });
        done.await.unwrap_or_else(|gone| Err(CallError::Broken(gone.to_string())))
    }

    /// Keeps the connection, for as long as the program runs.
    pub(crate) async fn tend(&self) {
        let mut retry = RETRY_MIN;
        let mut number = 0;
        loop {
            number += 1;
            match self.open(number).await {
                Ok((connection, mut closed)) => {
                    retry = RETRY_MIN;
                    tracing::info!(uri = self.uri, number, "connected to libvirt");
                    self.status.send_replace(Status::Up(Arc::new(connection)));
                    let reason = self.until_closed(&mut closed).await;
                    tracing::warn!(reason, "the connection to libvirt is lost");
                    self.put_down(reason).await;
                }
                Err(reason) => {
                    tracing::warn!(reason, uri = self.uri, "libvirt cannot be reached");
                    self.put_down(reason).await;
                    self.env.sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// The old connection is let go on a thread that may wait: libvirt takes leave of its peer.
    async fn put_down(&self, reason: String) {
        let old = self.status.send_replace(Status::Down(reason));
        self.env.blocking(move || drop(old)).await.ok();
    }

    async fn open(
        &self,
        number: u64,
    ) -> Result<(Connection, watch::Receiver<Option<&'static str>>), String> {
        let (closed, heard) = watch::channel(None);
        let sink = Sink { happenings: self.happenings.clone(), closed };
        let uri = self.uri.clone();
        let mut opening = Box::pin(self.env.blocking(move || connect(&uri, number, &sink)));
        let opened = match self.env.timeout(OPEN_PATIENCE, &mut opening).await {
            Some(opened) => opened,
            None => {
                self.put_down("libvirtd takes connections and does not answer".into()).await;
                opening.await
            }
        };
        let connection = opened
            .map_err(|gone| gone.to_string())?
            .map_err(|error| error.message().trim().to_owned())?;
        Ok((connection, heard))
    }

    async fn until_closed(&self, closed: &mut watch::Receiver<Option<&'static str>>) -> String {
        loop {
            let told = closed.wait_for(Option::is_some);
            match self.env.timeout(ALIVE_CHECK, told).await {
                Some(Ok(reason)) => return (*reason).unwrap_or_default().to_owned(),
                Some(Err(_)) => return "the connection's events ended".to_owned(),
                None if self.is_alive() => {}
                None => return "the connection died without a word".to_owned(),
            }
        }
    }

    /// Asks the connection itself, which does not ask libvirtd.
    fn is_alive(&self) -> bool {
        match &*self.status.borrow() {
            Status::Up(connection) => connection.connect.is_alive().unwrap_or(false),
            Status::Down(_) => false,
        }
    }
}

fn connect(uri: &str, number: u64, sink: &Sink) -> Result<Connection, virt::error::Error> {
    let connect = Connect::open(Some(uri))?;
    connect.set_keep_alive(KEEPALIVE_SECS, KEEPALIVE_MISSED)?;
    let subscription = sys::subscribe(&connect, sink)?;
    Ok(Connection { number, connect, subscription })
}

fn on_connection<T>(
    connection: &Connection,
    work: impl FnOnce(&Connect) -> Result<T, Fault>,
) -> Result<T, CallError> {
    if !connection.connect.is_alive().unwrap_or(false) {
        return Err(CallError::Down("the connection to libvirtd is lost".into()));
    }
    work(&connection.connect).map_err(|fault| {
        if fault.is_broken_connection() {
            CallError::Broken(fault.to_string())
        } else {
            CallError::Fault(fault)
        }
    })
}

/// Runs libvirt's own event loop, which callbacks and keepalives need; returns when it fails.
pub(crate) fn run_event_loop() {
    loop {
        if let Err(error) = virt::event::event_run_default_impl() {
            tracing::error!(error = error.message(), "libvirt's event loop failed");
            return;
        }
    }
}
