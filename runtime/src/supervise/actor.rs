//! The actor that starts, watches and stops children.

use std::{collections::VecDeque, ops::Range, time::Duration};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use rand::Rng;
use tokio::sync::{oneshot, watch};

use super::{Child, Restart, Settings, Started, Strategy};
use crate::Env;

pub(super) enum Mail {
    /// Starts the children from this one on that do not run and are to.
    Restart {
        first: String,
    },
    Add(Box<Child>, oneshot::Sender<Result<(), SpawnErr>>),
    Remove(String, oneshot::Sender<()>),
}

pub(super) struct Arguments {
    pub(super) env: Env,
    pub(super) settings: Settings,
    pub(super) children: Vec<Child>,
    pub(super) failed: watch::Sender<Option<String>>,
}

/// A child and what has become of it.
struct Place {
    child: Child,
    running: Option<Started>,
    /// It ended, and is not to run again.
    done: bool,
}

pub(super) struct State {
    env: Env,
    settings: Settings,
    failed: watch::Sender<Option<String>>,
    places: Vec<Place>,
    /// When children were restarted, within the window.
    restarts: VecDeque<Duration>,
}

/// A child that died.
struct Death {
    index: usize,
    failed: bool,
    reason: String,
}

pub(super) struct SupervisorActor;

impl Actor for SupervisorActor {
    type Msg = Mail;
    type State = State;
    type Arguments = Arguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Mail>,
        arguments: Arguments,
    ) -> Result<State, ActorProcessingErr> {
        let Arguments { env, settings, children, failed } = arguments;
        let place = |child| Place { child, running: None, done: false };
        let places = children.into_iter().map(place).collect();
        let mut state = State { env, settings, failed, places, restarts: VecDeque::new() };
        for index in 0..state.places.len() {
            if let Err(error) = state.start(index, &myself).await {
                state.stop(0..index, "a sibling did not start").await;
                return Err(error.into());
            }
        }
        Ok(state)
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Mail>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.stop(0..state.places.len(), "shutdown").await;
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Mail>,
        mail: Mail,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match mail {
            Mail::Restart { first } => {
                // Places move up when a child before them is removed; if it is this one, all are looked at.
                let first = state.places.iter().position(|place| place.child.name == first);
                state.restart(first.unwrap_or_default(), &myself).await?;
            }
            Mail::Add(child, told) => {
                state.places.push(Place { child: *child, running: None, done: false });
                let started = state.start(state.places.len() - 1, &myself).await;
                if started.is_err() {
                    state.places.pop();
                }
                // Whoever asked may be gone; the child is there all the same.
                let _ = told.send(started);
            }
            Mail::Remove(name, told) => {
                state.remove(&name).await;
                // As above.
                let _ = told.send(());
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
        let (who, failed, reason) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell.get_id(), true, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell.get_id(), false, reason.unwrap_or_else(|| "ended".to_owned()))
            }
            _ => return Ok(()),
        };
        match state.position(who) {
            Some(index) => state.died(Death { index, failed, reason }, &myself).await,
            None => Ok(()),
        }
    }
}

impl State {
    fn position(&self, who: ActorId) -> Option<usize> {
        let is_it = |place: &Place| place.running.as_ref().is_some_and(|cell| cell.get_id() == who);
        self.places.iter().position(is_it)
    }

    async fn start(&mut self, index: usize, myself: &ActorRef<Mail>) -> Result<(), SpawnErr> {
        let start = self.places[index].child.start.clone();
        self.places[index].running = Some(start(myself.get_cell()).await?);
        Ok(())
    }

    /// Stops those of these children that run, last first; who takes too long is killed.
    async fn stop(&mut self, which: Range<usize>, why: &str) {
        for index in which.rev() {
            let place = &mut self.places[index];
            let Some(cell) = place.running.take() else { continue };
            let limit = place.child.stops_within;
            let stopped = cell.stop_and_wait(Some(why.to_owned()), None);
            if self.env.timeout(limit, stopped).await.is_none() {
                let name = &self.places[index].child.name;
                tracing::warn!(actor = name, ?limit, "an actor does not stop and is killed");
                // One that has ended by itself meanwhile is as dead as can be.
                let _ = cell.kill_and_wait(None).await;
            }
        }
    }

    async fn remove(&mut self, name: &str) {
        let Some(index) = self.places.iter().position(|place| place.child.name == name) else {
            return;
        };
        self.stop(index..index + 1, "it is not wanted any more").await;
        self.places.remove(index);
    }

    async fn died(
        &mut self,
        death: Death,
        myself: &ActorRef<Mail>,
    ) -> Result<(), ActorProcessingErr> {
        let Death { index, failed, reason } = death;
        let place = &mut self.places[index];
        place.running = None;
        let again = match place.child.restart {
            Restart::Always => true,
            Restart::OnFailure => failed,
            Restart::Never => false,
        };
        if !again {
            tracing::info!(actor = place.child.name, reason, "an actor has ended for good");
            place.done = true;
            return Ok(());
        }
        tracing::warn!(actor = place.child.name, reason, "an actor died");
        let affected = match self.settings.strategy {
            Strategy::OneForOne => index..index,
            Strategy::OneForAll => 0..self.places.len(),
            Strategy::RestForOne => index + 1..self.places.len(),
        };
        let first = affected.start.min(index);
        self.stop(affected, "restarted with a sibling").await;
        self.restart_later(first, index, &reason, myself).await
    }

    /// Starts those from `first` on after a pause, for a child that died for this reason; an error escalates.
    async fn restart_later(
        &mut self,
        first: usize,
        died: usize,
        reason: &str,
        myself: &ActorRef<Mail>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(pause) = self.backoff() else { return self.escalate(died, reason).await };
        let (env, myself) = (self.env.clone(), myself.clone());
        let first = self.places[first].child.name.clone();
        self.env.spawn("restart", async move {
            env.sleep(pause).await;
            // If the supervisor has ended meanwhile, there is nobody to restart for.
            let _ = myself.cast(Mail::Restart { first });
        });
        Ok(())
    }

    async fn restart(
        &mut self,
        first: usize,
        myself: &ActorRef<Mail>,
    ) -> Result<(), ActorProcessingErr> {
        for index in first..self.places.len() {
            let place = &self.places[index];
            if place.running.is_some() || place.done {
                continue;
            }
            if let Err(error) = self.start(index, myself).await {
                let reason = format!("it did not start: {error}");
                return self.restart_later(index, index, &reason, myself).await;
            }
        }
        Ok(())
    }

    /// How long to wait before the next restart; `None` if there were too many.
    fn backoff(&mut self) -> Option<Duration> {
        let (settings, now) = (self.settings, self.env.now());
        self.restarts.retain(|at| now.saturating_sub(*at) < settings.window);
        if self.restarts.len() >= settings.restarts_max {
            return None;
        }
        let doublings = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX).min(16);
        self.restarts.push_back(now);
        let full = settings.backoff.saturating_mul(1 << doublings).min(settings.backoff_max);
        Some(full.mul_f64(self.env.rng("supervisor").random_range(0.5..=1.0)))
    }

    /// Gives up: stops what is left in order, and fails.
    async fn escalate(&mut self, died: usize, reason: &str) -> Result<(), ActorProcessingErr> {
        let message = format!(
            "{} died {} times within {:?}, last of: {reason}",
            self.places[died].child.name,
            self.restarts.len() + 1,
            self.settings.window
        );
        self.stop(0..self.places.len(), "its supervisor has given up").await;
        self.failed.send_replace(Some(message.clone()));
        Err(message.into())
    }
}
