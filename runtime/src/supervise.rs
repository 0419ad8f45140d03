//! Supervision of local actors: who is started, in which order, and what happens when one dies.
//!
//! Owns the restart strategies that ractor leaves to its users. Promises that children start and stop
//! in the order they were given in, that restarts wait with exponential back-off and seeded jitter,
//! and that more than `restarts_max` within `window` escalates: the supervisor itself fails. Never
//! restarts a child that was told to stop.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use rand::Rng;
use tokio::sync::watch;

use crate::{Env, env::BoxFuture};

/// A started actor.
pub type Started = ActorCell;

type Start = Arc<dyn Fn(ActorCell) -> BoxFuture<'static, Result<Started, SpawnErr>> + Send + Sync>;

/// How to start one child.
#[derive(Clone)]
pub struct Child {
    name: String,
    start: Start,
}

impl Child {
    /// A child; `start` links the actor to the supervisor that it is given.
    pub fn new(
        name: &str,
        start: impl Fn(ActorCell) -> BoxFuture<'static, Result<Started, SpawnErr>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { name: name.to_owned(), start: Arc::new(start) }
    }
}

/// Who is restarted when one child dies (as in Erlang/OTP's supervisor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// That child.
    OneForOne,
    /// All.
    OneForAll,
    /// That child and those started after it.
    RestForOne,
}

/// How a supervisor behaves.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Who is restarted.
    pub strategy: Strategy,
    /// More restarts than this within `window` escalate.
    pub restarts_max: usize,
    /// See `restarts_max`.
    pub window: Duration,
    /// The wait before the first restart; doubles with each further one in the window.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strategy: Strategy::OneForOne,
            restarts_max: 10,
            window: Duration::from_secs(10),
            backoff: Duration::from_millis(10),
            backoff_max: Duration::from_secs(1),
        }
    }
}

/// A running supervisor.
pub struct Supervisor {
    actor: ActorRef<Mail>,
    failed: watch::Receiver<Option<String>>,
}

impl Supervisor {
    /// Starts the children in order.
    pub async fn start(
        env: Env,
        settings: Settings,
        children: Vec<Child>,
    ) -> Result<Self, SpawnErr> {
        let (failed_sender, failed) = watch::channel(None);
        let arguments = Arguments { env, settings, children, failed: failed_sender };
        let (actor, _) = Actor::spawn(None, SupervisorActor, arguments).await?;
        Ok(Self { actor, failed })
    }

    /// Waits until the supervisor has given up, and says why.
    pub async fn escalated(&self) -> String {
        let mut failed = self.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the supervisor ended".to_owned(),
        }
    }

    /// Stops the children, last started first.
    pub async fn stop(&self) {
        // It fails when the supervisor has ended already, which is what was wanted.
        let _ = self.actor.stop_and_wait(Some("shutdown".to_owned()), None).await;
    }
}

enum Mail {
    Restart { first: usize },
}

struct Arguments {
    env: Env,
    settings: Settings,
    children: Vec<Child>,
    failed: watch::Sender<Option<String>>,
}

struct State {
    arguments: Arguments,
    running: Vec<Option<Started>>,
    restarts: VecDeque<Duration>,
}

struct SupervisorActor;

impl Actor for SupervisorActor {
    type Msg = Mail;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let mut running = Vec::with_capacity(arguments.children.len());
        for child in &arguments.children {
            running.push(Some((child.start)(myself.get_cell()).await?));
        }
        Ok(State { arguments, running, restarts: VecDeque::new() })
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Mail>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        for child in state.running.drain(..).rev().flatten() {
            // A child that has ended by itself is as stopped as can be.
            let _ = child.stop_and_wait(Some("shutdown".to_owned()), None).await;
        }
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail>,
        Mail::Restart { first }: Mail,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        for index in first..state.running.len() {
            if state.running[index].is_none() {
                let start = state.arguments.children[index].start.clone();
                state.running[index] = Some(start(myself.get_cell()).await?);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Mail>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let (who, reason) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell.get_id(), error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell.get_id(), reason.unwrap_or_else(|| "ended".to_owned()))
            }
            _ => return Ok(()),
        };
        match state.position(who) {
            Some(index) => state.died(index, &reason, &myself).await,
            None => Ok(()),
        }
    }
}

impl State {
    fn position(&self, who: ActorId) -> Option<usize> {
        self.running.iter().position(|cell| cell.as_ref().is_some_and(|cell| cell.get_id() == who))
    }

    async fn died(
        &mut self,
        index: usize,
        reason: &str,
        myself: &ActorRef<Mail>,
    ) -> Result<(), ActorProcessingErr> {
        let name = self.arguments.children[index].name.clone();
        tracing::warn!(actor = name, reason, "an actor died");
        self.running[index] = None;
        let affected = match self.arguments.settings.strategy {
            Strategy::OneForOne => index..index,
            Strategy::OneForAll => 0..self.running.len(),
            Strategy::RestForOne => index + 1..self.running.len(),
        };
        for other in affected.clone().rev() {
            if let Some(cell) = self.running[other].take() {
                // A sibling that died at the same moment is what we want.
                let _ = cell.stop_and_wait(Some("restarted with a sibling".to_owned()), None).await;
            }
        }
        let wait = self.backoff(&name, reason)?;
        let (env, myself) = (self.arguments.env.clone(), myself.clone());
        let first = affected.start.min(index);
        self.arguments.env.spawn("restart", async move {
            env.sleep(wait).await;
            // If the supervisor has ended meanwhile, there is nobody to restart for.
            let _ = myself.cast(Mail::Restart { first });
        });
        Ok(())
    }

    /// How long to wait before the next restart; an error escalates.
    fn backoff(&mut self, name: &str, reason: &str) -> Result<Duration, ActorProcessingErr> {
        let settings = self.arguments.settings;
        let now = self.arguments.env.now();
        self.restarts.retain(|at| now.saturating_sub(*at) < settings.window);
        if self.restarts.len() >= settings.restarts_max {
            let message = format!(
                "{name} died {} times within {:?}, last of: {reason}",
                self.restarts.len() + 1,
                settings.window
            );
            self.arguments.failed.send_replace(Some(message.clone()));
            return Err(message.into());
        }
        let doublings = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX).min(16);
        self.restarts.push_back(now);
        let full = settings.backoff.saturating_mul(1 << doublings).min(settings.backoff_max);
        Ok(full.mul_f64(self.arguments.env.rng("supervisor").random_range(0.5..=1.0)))
    }
}
