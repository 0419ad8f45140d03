//! Supervision of local actors: who is started, in which order, and what happens when one dies.
//!
//! Owns the restart strategies that ractor leaves to its users. Promises that children start in the order they
//! were given in and stop in the opposite one, each within its deadline or by force; that restarts wait with
//! exponential back-off and seeded jitter; and that more than `restarts_max` within `window` escalate: the
//! supervisor stops what is left, in order, and fails itself, so that its own supervisor decides. Never restarts a
//! child that was told to stop, and never in an order that depends on a hash.
//!
//! ```
//! use std::time::Duration;
//! use updraft_runtime::{Env, supervise::{Child, Restart, Settings, Strategy, Supervisor}};
//! # use ractor::{Actor, ActorProcessingErr, ActorRef};
//! # struct Idle;
//! # impl Actor for Idle {
//! #     type Msg = (); type State = (); type Arguments = ();
//! #     async fn pre_start(&self, _: ActorRef<()>, _: ()) -> Result<(), ActorProcessingErr> { Ok(()) }
//! # }
//! # fn idle(name: &str) -> Child {
//! #     Child::new(name, |supervisor| Box::pin(async move {
//! #         Ok(Actor::spawn_linked(None, Idle, (), supervisor).await?.0.get_cell())
//! #     }))
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let env = Env::real();
//! let settings = Settings { strategy: Strategy::RestForOne, ..Settings::default() };
//! let workers = Supervisor::child(&env, "workers", Settings::default(), vec![idle("a"), idle("b")]);
//! let log = idle("log").stops_within(Duration::from_secs(1)).restarts(Restart::OnFailure);
//! let tree = Supervisor::start(env, settings, vec![log, workers]).await?;
//! tree.stop().await;
//! # Ok::<(), ractor::SpawnErr>(())
//! # }).unwrap();
//! ```

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorCell, ActorRef, SpawnErr};
use tokio::sync::watch;

use crate::{Env, env::BoxFuture};

mod actor;

use actor::{Arguments, Mail, SupervisorActor};

/// A started actor.
pub type Started = ActorCell;

type Start = Arc<dyn Fn(ActorCell) -> BoxFuture<'static, Result<Started, SpawnErr>> + Send + Sync>;

/// How long a child may take to stop unless it says otherwise; then it is killed.
pub const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// When a child that ended is started again (as in Erlang/OTP: permanent, transient, temporary).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Whenever it ends.
    #[default]
    Always,
    /// When it failed; one that ends by itself has done its work.
    OnFailure,
    /// Not at all.
    Never,
}

/// How to start one child.
#[derive(Clone)]
pub struct Child {
    name: String,
    start: Start,
    restart: Restart,
    stops_within: Duration,
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
        Self {
            name: name.to_owned(),
            start: Arc::new(start),
            restart: Restart::default(),
            stops_within: STOPS_WITHIN,
        }
    }

    /// The same, started again in these cases.
    #[must_use]
    pub fn restarts(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// The same, killed if it takes longer than this to stop.
    #[must_use]
    pub fn stops_within(mut self, limit: Duration) -> Self {
        self.stops_within = limit;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
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

/// A running supervisor; clones are the same one.
#[derive(Clone)]
pub struct Supervisor {
    actor: ActorRef<Mail>,
    failed: watch::Receiver<Option<String>>,
}

impl Supervisor {
    /// Starts the children in order. An error says that one of them did not start; those before it have been
    /// stopped again.
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

    /// A supervisor that is itself a child: a tree. It escalates to the supervisor above it, which starts it anew
    /// with fresh children, as its own strategy says.
    #[must_use]
    pub fn child(env: &Env, name: &str, settings: Settings, children: Vec<Child>) -> Child {
        let env = env.clone();
        let all: Duration = children.iter().map(|child| child.stops_within).sum();
        let start = move |above: ActorCell| -> BoxFuture<'static, Result<Started, SpawnErr>> {
            let failed = watch::Sender::new(None);
            let (env, children) = (env.clone(), children.clone());
            let arguments = Arguments { env, settings, children, failed };
            Box::pin(async move {
                let (actor, _) =
                    Actor::spawn_linked(None, SupervisorActor, arguments, above).await?;
                Ok(actor.get_cell())
            })
        };
        // Its own children have their deadlines one after the other.
        Child::new(name, start).stops_within(all + STOPS_WITHIN)
    }

    /// Waits until the supervisor has given up, and says why.
    pub async fn escalated(&self) -> String {
        let mut failed = self.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the supervisor ended".to_owned(),
        }
    }

    /// Starts one more child, after those that run.
    pub async fn add(&self, child: Child) -> Result<(), SpawnErr> {
        let (told, outcome) = tokio::sync::oneshot::channel();
        let gone = |_| SpawnErr::StartupFailed("the supervisor has ended".into());
        self.actor
            .cast(Mail::Add(Box::new(child), told))
            .map_err(|error| gone(error.to_string()))?;
        outcome.await.unwrap_or_else(|error| Err(gone(error.to_string())))
    }

    /// Stops a child that was [added](Self::add) and forgets it; one that is not there is as good as stopped.
    pub async fn remove(&self, name: &str) {
        let (told, done) = tokio::sync::oneshot::channel();
        if self.actor.cast(Mail::Remove(name.to_owned(), told)).is_ok() {
            // If the supervisor ends meanwhile, so does the child.
            let _ = done.await;
        }
    }

    /// Stops the children, last started first.
    pub async fn stop(&self) {
        // It fails when the supervisor has ended already, which is what was wanted.
        let _ = self.actor.stop_and_wait(Some("shutdown".to_owned()), None).await;
    }
}
