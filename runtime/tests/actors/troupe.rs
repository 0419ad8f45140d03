//! Actors that write down when they start and stop, and die when they are told to.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use updraft_runtime::{Env, supervise::Child};

/// What an actor is told.
pub(crate) enum Told {
    Fail,
    Panic,
    End,
}

/// An actor and its name.
type Named = (String, ActorRef<Told>);

/// What happened, in order, and where the actors of each name are now.
#[derive(Clone, Default)]
pub(crate) struct Stage {
    lines: Arc<Mutex<Vec<String>>>,
    actors: Arc<Mutex<Vec<Named>>>,
}

struct Player {
    name: String,
    stage: Stage,
    /// How long it takes to stop.
    lingers: Duration,
}

impl Actor for Player {
    type Msg = Told;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Told>, (): ()) -> Result<(), ActorProcessingErr> {
        self.stage.note("start", &self.name);
        self.stage.actors.lock().push((self.name.clone(), myself));
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Told>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        Env::real().sleep(self.lingers).await;
        self.stage.note("stop", &self.name);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Told>,
        told: Told,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match told {
            Told::Fail => Err("it was told to".into()),
            Told::Panic => panic!("it was told to"),
            Told::End => {
                myself.stop(None);
                Ok(())
            }
        }
    }
}

impl Stage {
    fn note(&self, what: &str, who: &str) {
        self.lines.lock().push(format!("{what} {who}"));
    }

    /// An actor that stops at once.
    pub(crate) fn player(&self, name: &str) -> Child {
        self.slow_player(name, Duration::ZERO)
    }

    /// An actor that takes its time to stop.
    pub(crate) fn slow_player(&self, name: &str, lingers: Duration) -> Child {
        let (stage, owned) = (self.clone(), name.to_owned());
        Child::new(name, move |supervisor| {
            let player = Player { name: owned.clone(), stage: stage.clone(), lingers };
            Box::pin(async move {
                let (actor, _) = Actor::spawn_linked(None, player, (), supervisor).await?;
                Ok(actor.get_cell())
            })
        })
    }

    /// Tells the latest actor of this name something, and waits until everybody has reacted.
    pub(crate) async fn tell(&self, name: &str, told: Told) {
        let actors = self.actors.lock().clone();
        let latest = actors.iter().rev().find(|(other, _)| other == name);
        latest.unwrap().1.cast(told).unwrap();
        Env::real().sleep(Duration::from_secs(2)).await;
    }

    /// What happened since this was last asked.
    pub(crate) fn since(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock())
    }
}
