//! Why the database did not do what was asked, in words, and how long to wait before asking again.

use std::{error::Error, fmt, time::Duration};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio_postgres::error::SqlState;

use crate::{
    Env,
    store::{
        StoreError,
        limits::{RECONNECT_PAUSE, RECONNECT_PAUSE_MAX},
    },
};

/// Something went wrong; what it means for a commit depends on when it did.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    why: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The server cannot be talked to, or not yet.
    Away,
    NoSpace,
    /// It was understood, and refused.
    Refused,
}

impl Trouble {
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self { why: why.into(), kind: Kind::Refused }
    }

    pub(super) fn slow(what: &str, limit: Duration) -> Self {
        let why = format!("{what} took longer than {} s", limit.as_secs());
        Self { why, kind: Kind::Away }
    }

    /// Whether waiting alone may help.
    pub(super) fn may_pass(&self) -> bool {
        self.kind == Kind::Away
    }

    /// What is said to whoever wanted something of which certainly nothing was written.
    pub(super) fn refusal(&self) -> StoreError {
        let why = format!("the database: {self}");
        match self.kind {
            Kind::NoSpace => StoreError::NoSpace(why),
            Kind::Away | Kind::Refused => StoreError::Unavailable(why),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        let kind = match error.code() {
            None if error.is_closed() || has_io_cause(&error) => Kind::Away,
            None => Kind::Refused,
            Some(&SqlState::DISK_FULL) => Kind::NoSpace,
            Some(code) if is_passing(code) => Kind::Away,
            Some(_) => Kind::Refused,
        };
        // The details of a database error may quote what was to be written.
        let why = match error.as_db_error() {
            Some(answer) => answer.message().to_owned(),
            None => with_causes(&error),
        };
        Self { why, kind }
    }
}

/// Starting, stopping, or with too many connections for the moment.
fn is_passing(code: &SqlState) -> bool {
    code.code().starts_with("57P") || *code == SqlState::TOO_MANY_CONNECTIONS
}

fn causes(error: &tokio_postgres::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// Whether the network is to blame. Broken TLS comes as bad data, and stays broken.
fn has_io_cause(error: &tokio_postgres::Error) -> bool {
    let io = causes(error).find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() != std::io::ErrorKind::InvalidData)
}

fn with_causes(error: &tokio_postgres::Error) -> String {
    causes(error).fold(error.to_string(), |told, cause| {
        let cause = cause.to_string();
        if told.ends_with(&cause) { told } else { format!("{told}: {cause}") }
    })
}

/// Growing pauses between attempts to connect, each with a random part so that processes do not come at once.
pub(super) struct Pauses {
    env: Env,
    rng: ChaCha8Rng,
    next: Duration,
}

impl Pauses {
    pub(super) fn new(env: &Env) -> Self {
        Self { env: env.clone(), rng: env.rng("store-reconnect"), next: RECONNECT_PAUSE }
    }

    pub(super) async fn wait(&mut self) {
        let pause = self.next.mul_f64(self.rng.random_range(0.5..=1.0));
        self.next = (self.next * 2).min(RECONNECT_PAUSE_MAX);
        self.env.sleep(pause).await;
    }

    /// The next pause is a short one again.
    pub(super) fn reset(&mut self) {
        self.next = RECONNECT_PAUSE;
    }
}
