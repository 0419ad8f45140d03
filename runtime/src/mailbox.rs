//! Workers with bounded mailboxes.
//!
//! Owns what ractor's unbounded mailbox leaves open: how much may wait, and what happens when it is full. Promises
//! that mail is handled one at a time, in the order it came in; that no more than the capacity waits; and that what
//! waits outlives a worker that fails: only the mail in its hands is lost with it. Never hands mail out twice.
//!
//! A worker's handler is short, like every handler: while it waits, its mail does.

use std::{
    collections::VecDeque,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::Semaphore;

use crate::supervise::Child;

/// What handles mail, one at a time.
pub trait Worker: Send + 'static {
    /// What it is sent.
    type Mail: Send + 'static;

    /// Handles one. An error, like a panic, fails the worker: its supervisor decides what comes next.
    fn handle(
        &mut self,
        mail: Self::Mail,
    ) -> impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send;
}

/// What happens to mail for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Its sender waits until there is room, in the order of asking. A worker that has ended for good makes none.
    Wait,
    /// Its sender has it back at once.
    Refuse,
    /// The oldest that waits is dropped for it, and counted.
    DropOldest,
}

/// Mail that was not taken in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mailbox of {worker} is full with {capacity}")]
pub struct Full<M> {
    /// Whose mailbox.
    pub worker: Arc<str>,
    /// How much it holds.
    pub capacity: usize,
    /// The mail, for its sender to keep.
    pub mail: M,
}

struct Inner<M> {
    worker: Arc<str>,
    capacity: usize,
    when_full: WhenFull,
    waiting: Mutex<VecDeque<M>>,
    room: Semaphore,
    dropped: AtomicU64,
    /// The worker, while it runs.
    awake: Mutex<Option<ActorRef<Wake>>>,
}

/// Where a worker's mail is put; clones are the same mailbox.
pub struct Mailbox<M> {
    inner: Arc<Inner<M>>,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

/// Tells the worker's actor that mail waits; the mail itself stays in the mailbox.
struct Wake;

impl<M: Send + 'static> Mailbox<M> {
    /// Puts mail in, as the policy says. `Err` has it back: it is certainly not handled. `Ok` means taken in; the
    /// worker may still fail over it, or with [`WhenFull::DropOldest`] never see it.
    pub async fn send(&self, mail: M) -> Result<(), Full<M>> {
        let inner = &*self.inner;
        if inner.when_full == WhenFull::Wait {
            // It is never closed.
            if let Ok(permit) = inner.room.acquire().await {
                permit.forget();
            }
        }
        self.put(mail)
    }

    /// The same without ever waiting: with [`WhenFull::Wait`], too, a full mailbox refuses.
    pub fn try_send(&self, mail: M) -> Result<(), Full<M>> {
        let inner = &*self.inner;
        if inner.when_full == WhenFull::Wait {
            match inner.room.try_acquire() {
                Ok(permit) => permit.forget(),
                Err(_) => return Err(inner.full(mail)),
            }
        }
        self.put(mail)
    }

    fn put(&self, mail: M) -> Result<(), Full<M>> {
        let inner = &*self.inner;
        let mut waiting = inner.waiting.lock();
        let first = waiting.is_empty();
        if waiting.len() >= inner.capacity {
            match inner.when_full {
                WhenFull::DropOldest => {
                    waiting.pop_front();
                    inner.dropped.fetch_add(1, Ordering::Relaxed);
                }
                // With `Wait` there is room: a permit was taken for it.
                WhenFull::Refuse | WhenFull::Wait => return Err(inner.full(mail)),
            }
        }
        waiting.push_back(mail);
        drop(waiting);
        if first {
            inner.wake();
        }
        Ok(())
    }

    /// How much waits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.waiting.lock().len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much was dropped for want of room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }
}

impl<M> Inner<M> {
    fn full(&self, mail: M) -> Full<M> {
        Full { worker: self.worker.clone(), capacity: self.capacity, mail }
    }

    fn wake(&self) {
        if let Some(actor) = &*self.awake.lock() {
            // One that is ending finds the mail when it starts anew.
            let _ = actor.cast(Wake);
        }
    }

    fn take(&self) -> Option<M> {
        let mail = self.waiting.lock().pop_front()?;
        if self.when_full == WhenFull::Wait {
            self.room.add_permits(1);
        }
        Some(mail)
    }
}

/// A mailbox of this capacity, and its worker, to be started by a supervisor; `make` makes it anew at each start.
pub fn worker<W: Worker>(
    name: &str,
    capacity: usize,
    when_full: WhenFull,
    make: impl Fn() -> W + Send + Sync + 'static,
) -> (Mailbox<W::Mail>, Child) {
    let capacity = capacity.max(1);
    let inner = Arc::new(Inner {
        worker: name.into(),
        capacity,
        when_full,
        waiting: Mutex::default(),
        room: Semaphore::new(capacity),
        dropped: AtomicU64::new(0),
        awake: Mutex::new(None),
    });
    let (mailbox, make) = (Mailbox { inner: inner.clone() }, Arc::new(make));
    let child = Child::new(name, move |supervisor| {
        let (inner, worker) = (inner.clone(), make());
        Box::pin(async move {
            let (actor, _) =
                Actor::spawn_linked(None, WorkerActor(inner), worker, supervisor).await?;
            Ok(actor.get_cell())
        })
    });
    (mailbox, child)
}

struct WorkerActor<W: Worker>(Arc<Inner<W::Mail>>);

impl<W: Worker> Actor for WorkerActor<W> {
    type Msg = Wake;
    type State = W;
    type Arguments = W;

    async fn pre_start(&self, myself: ActorRef<Wake>, worker: W) -> Result<W, ActorProcessingErr> {
        *self.0.awake.lock() = Some(myself.clone());
        if !self.0.waiting.lock().is_empty() {
            myself.cast(Wake)?;
        }
        Ok(worker)
    }

    async fn handle(
        &self,
        myself: ActorRef<Wake>,
        Wake: Wake,
        worker: &mut W,
    ) -> Result<(), ActorProcessingErr> {
        let Some(mail) = self.0.take() else { return Ok(()) };
        let more = !self.0.waiting.lock().is_empty();
        worker.handle(mail).await?;
        // Mail that came meanwhile to an empty mailbox has sent its own wake-up.
        if more {
            myself.cast(Wake)?;
        }
        Ok(())
    }
}
