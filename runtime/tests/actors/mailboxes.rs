//! What a mailbox does when it is full, and what is left of it when its worker fails.

use std::{error::Error, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use updraft_runtime::{
    Env,
    mailbox::{Full, Mailbox, WhenFull, Worker, worker},
    supervise::{Settings, Supervisor},
};

const CAPACITY: usize = 3;

/// Handles numbers as it is let; zero fails it.
#[derive(Clone)]
struct Counter {
    let_go: Arc<Semaphore>,
    handled: Arc<Mutex<Vec<u32>>>,
}

impl Worker for Counter {
    type Mail = u32;

    async fn handle(&mut self, number: u32) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.let_go.acquire().await?.forget();
        if number == 0 {
            return Err("a zero".into());
        }
        self.handled.lock().push(number);
        Ok(())
    }
}

struct Running {
    mailbox: Mailbox<u32>,
    counter: Counter,
    _supervisor: Supervisor,
}

impl Running {
    /// A worker that has its first number in its hands, and handles nothing before it is let.
    async fn start(when_full: WhenFull) -> Self {
        Self::of_capacity(CAPACITY, when_full).await
    }

    async fn of_capacity(capacity: usize, when_full: WhenFull) -> Self {
        let (let_go, handled) = (Arc::new(Semaphore::new(0)), Arc::default());
        let counter = Counter { let_go, handled };
        let make = counter.clone();
        let (mailbox, child) = worker("counter", capacity, when_full, move || make.clone());
        let supervisor =
            Supervisor::start(Env::real(), Settings::default(), vec![child]).await.unwrap();
        mailbox.send(1).await.unwrap();
        settle().await;
        assert_eq!(mailbox.len(), 0, "it is in the worker's hands");
        Self { mailbox, counter, _supervisor: supervisor }
    }

    async fn fill(&self) {
        for number in 2..2 + CAPACITY {
            self.mailbox.send(u32::try_from(number).unwrap()).await.unwrap();
        }
        assert_eq!(self.mailbox.len(), CAPACITY);
    }

    async fn handled_after(&self, more: usize) -> Vec<u32> {
        self.counter.let_go.add_permits(more);
        settle().await;
        self.counter.handled.lock().clone()
    }
}

async fn settle() {
    Env::real().sleep(Duration::from_secs(2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_that_refuses_gives_the_mail_back() {
    let running = Running::start(WhenFull::Refuse).await;
    running.fill().await;
    let back = running.mailbox.send(9).await.unwrap_err();
    assert_eq!(back, Full { worker: "counter".into(), capacity: CAPACITY, mail: 9 });
    assert_eq!(running.handled_after(10).await, [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_that_waits_takes_mail_in_the_order_of_asking() {
    let running = Running::start(WhenFull::Wait).await;
    running.fill().await;
    assert!(running.mailbox.try_send(9).is_err(), "who does not wait is refused");
    for number in [5, 6] {
        let mailbox = running.mailbox.clone();
        Env::real().spawn("sender", async move { mailbox.send(number).await.unwrap() });
    }
    settle().await;
    assert_eq!(running.mailbox.len(), CAPACITY);
    assert_eq!(running.handled_after(10).await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_that_drops_keeps_the_newest_and_counts() {
    let running = Running::start(WhenFull::DropOldest).await;
    running.fill().await;
    running.mailbox.send(8).await.unwrap();
    running.mailbox.send(9).await.unwrap();
    assert_eq!((running.mailbox.len(), running.mailbox.dropped()), (CAPACITY, 2));
    assert_eq!(running.handled_after(10).await, [1, 4, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_outlives_a_worker_that_fails_and_what_was_in_its_hands_does_not() {
    let running = Running::start(WhenFull::Refuse).await;
    for number in [0, 2, 3] {
        running.mailbox.send(number).await.unwrap();
    }
    assert_eq!(running.handled_after(10).await, [1, 2, 3]);
    running.mailbox.send(4).await.unwrap();
    assert_eq!(running.handled_after(1).await, [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_for_one_that_drops_keeps_the_last() {
    let running = Running::of_capacity(1, WhenFull::DropOldest).await;
    for number in 2..100 {
        running.mailbox.send(number).await.unwrap();
    }
    assert_eq!((running.mailbox.len(), running.mailbox.dropped()), (1, 97));
    assert_eq!(running.handled_after(10).await, [1, 99]);
}
