//! Consoles of servers: who may open one, and the way to it.
//!
//! Owns the tokens by which consoles are opened, and what is open. A token is a secret of 256 bits of which the store
//! has a digest only; it opens one kind of console of one server on the host that had it when it was given, for a
//! while, and as often as that. Promises that nothing is opened without one, and that what is open ends when the
//! server is to stop, to move or to go, whatever its old host does: a host that is cut off is not asked. Never keeps a
//! byte of what is said, and says no by the same words whatever is wrong with a token.

use std::{path::PathBuf, time::Duration};

use updraft_edge::context::Context;
use updraft_protocol::{
    compute::{Goal, Node, OpenConsole, Power, Screenshot},
    hypervisor::{ConsoleKind, PICTURE_MAX_BYTES},
};
use updraft_runtime::{
    Env,
    bulk::{FetchError, MemorySink},
    rpc::{Cx, Rpc, TraceContext},
    shares::Shares,
    store::{Record, Store, StoreError, Txn},
    transport::NodeId,
    tunnel::{OpenError, Tunnel},
};
use uuid::Uuid;

use crate::{
    error::Outcome,
    rows::{ConsoleRow, ConsoleToken, ServerRow},
    servers::API,
};

mod pages;
mod session;
mod token;
mod web;

use token::Secret;

/// How long a token opens consoles, unless a setting says otherwise; nova's default.
pub const TOKEN_TTL: Duration = Duration::from_secs(600);

/// Where Debian's package `novnc` has the pages that show a screen in a browser.
pub const NOVNC_DIR: &str = "/usr/share/novnc";

/// Tokens that a server has at once; a further one takes the place of the oldest.
pub const TOKENS_MAX: usize = 16;

/// Consoles that are open at once by one control node.
pub const SESSIONS_MAX: usize = 64;

/// Those of them that are of one server.
pub const SESSIONS_PER_SERVER_MAX: usize = 4;

/// How often it is looked whether what is open may stay so, though nothing was heard.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long a picture may take; a person waits.
const PICTURE: Duration = Duration::from_secs(10);

/// What may differ between clouds.
#[derive(Clone, Debug)]
pub struct ConsoleConfig {
    /// How long a token opens consoles.
    pub token_ttl: Duration,
    /// The folder with the pages that show a screen in a browser.
    pub novnc_dir: PathBuf,
    /// Where clients reach this cloud; `None` is where they reached it when they asked.
    pub url: Option<String>,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self { token_ttl: TOKEN_TTL, novnc_dir: NOVNC_DIR.into(), url: None }
    }
}

/// Consoles on a control node; cheap to clone.
#[derive(Clone)]
pub struct Consoles {
    env: Env,
    rpc: Rpc,
    store: Store,
    config: ConsoleConfig,
    sessions: Shares<Uuid>,
}

/// Why there is no picture of a screen.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The server is not to run.
    #[error("the server does not run")]
    NotRunning,
    /// Its host did not give one.
    #[error(transparent)]
    Host(#[from] FetchError),
    /// The store did not say.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
}

/// What a token has opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The server.
    pub server: Uuid,
    /// Which of its consoles.
    pub kind: ConsoleKind,
    /// Who asked for the token.
    pub user_id: String,
    host: String,
    since: u64,
}

/// Why nothing is opened.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Whatever is wrong with the token.
    #[error("this console's address is no longer good, or never was: ask for another one")]
    Token,
    /// The store did not say.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
}

impl Consoles {
    /// Consoles of the servers in this store.
    #[must_use]
    pub fn new(context: &Context, config: ConsoleConfig) -> Self {
        Self {
            env: context.env.clone(),
            rpc: context.rpc.clone(),
            store: context.store.clone(),
            config,
            sessions: Shares::new(SESSIONS_MAX, SESSIONS_PER_SERVER_MAX),
        }
    }

    /// A token for a console of the server that the caller may have one of; `None` if it does not run.
    pub(crate) async fn issue(
        &self,
        kind: ConsoleKind,
        user_id: &str,
        server: impl Fn(&Txn) -> Outcome<ServerRow>,
    ) -> Outcome<Option<String>> {
        let secret = Secret::draw(&self.env);
        let now = self.env.wall();
        let token = ConsoleToken {
            sha256: secret.digest(),
            kind,
            user_id: user_id.to_owned(),
            expires: now.plus(self.config.token_ttl),
        };
        let store = |txn: &mut Txn| {
            let row = server(txn)?;
            let Some(host) = runs_on(&row) else { return Ok(None) };
            let mut console =
                txn.get::<ConsoleRow>(&row.id.to_string())?.unwrap_or_else(|| ConsoleRow {
                    server: row.id,
                    host: host.to_owned(),
                    since: row.generation,
                    tokens: Vec::new(),
                });
            console.tokens.retain(|token| token.expires > now);
            let over = (console.tokens.len() + 1).saturating_sub(TOKENS_MAX);
            console.tokens.drain(..over);
            console.tokens.push(token.clone());
            txn.put(&console)?;
            Ok(Some(secret.token(row.id)))
        };
        self.store.transact(store).await
    }

    /// The address by which a token is used by whoever reached this cloud at `origin`.
    pub(crate) fn address(&self, origin: &str, kind: ConsoleKind, token: &str) -> String {
        let origin = self.config.url.as_deref().unwrap_or(origin);
        match kind {
            ConsoleKind::Screen => {
                let path = format!("console%2Fws%3Ftoken%3D{token}");
                format!("{origin}/console/novnc/vnc_lite.html?path={path}")
            }
            // `http` becomes `ws`, `https` becomes `wss`.
            ConsoleKind::Serial => {
                format!("{}/console/ws?token={token}", origin.replacen("http", "ws", 1))
            }
        }
    }

    /// What a token opens now.
    pub async fn admit(&self, token: &str) -> Result<Admitted, Denied> {
        let (server, secret) = token::parse(token).ok_or(Denied::Token)?;
        let now = self.env.wall();
        let look = |txn: &Txn| {
            let Some(console) = current(txn, server)? else { return Ok(None) };
            let fits = |known: &ConsoleToken| secret.fits(&known.sha256);
            // All are compared, each in constant time, so that how long it takes says nothing.
            let found = console.tokens.iter().fold(None, |found, known| {
                if fits(known) && known.expires > now { Some(known) } else { found }
            });
            Ok::<_, StoreError>(found.map(|found| Admitted {
                server,
                kind: found.kind,
                user_id: found.user_id.clone(),
                host: console.host.clone(),
                since: console.since,
            }))
        };
        self.store.read(look).await?.ok_or(Denied::Token)
    }

    /// A way to the console. It ends with the guest, and whoever has it is to end it when it is no longer
    /// [allowed](Self::ended).
    pub async fn open(&self, admitted: &Admitted) -> Result<Tunnel, OpenError> {
        let broken = |error: &dyn std::fmt::Display| OpenError::Broken(error.to_string());
        let host = NodeId::new(&admitted.host).map_err(|error| broken(&error))?;
        let message = OpenConsole { server: admitted.server, kind: admitted.kind };
        let cx = Cx::new(API, TraceContext::default());
        self.rpc.client::<Node>().on(&host).open(message, &cx).await
    }

    /// Whose server it is, if there is one.
    pub async fn project_of(&self, server: Uuid) -> Result<Option<String>, StoreError> {
        let row = self.store.read(|txn| txn.get::<ServerRow>(&server.to_string())).await?;
        Ok(row.map(|row| row.project_id))
    }

    /// A picture of the screen of a server, as PNG. Who may see it is for who asks to judge.
    pub async fn picture(&self, server: Uuid) -> Result<Vec<u8>, PictureError> {
        let row = self.store.read(|txn| txn.get::<ServerRow>(&server.to_string())).await?;
        let host = row.as_ref().and_then(runs_on).and_then(|host| NodeId::new(host).ok());
        let host = host.ok_or(PictureError::NotRunning)?;
        let cx = Cx::new(API, TraceContext::default());
        let fetch = self.rpc.client::<Node>().on(&host).fetch(Screenshot { server }, &cx);
        let fetch = fetch.at_most(PICTURE_MAX_BYTES as u64).patient_for(PICTURE);
        let mut picture = MemorySink::at_most(PICTURE_MAX_BYTES);
        fetch.into(&mut picture).await?;
        Ok(picture.into_bytes())
    }

    /// Waits until what was admitted is no longer: the server is to stop, to move or to go, or nobody knows.
    pub async fn ended(&self, admitted: &Admitted) {
        let key = admitted.server.to_string();
        let mut changes = self.store.watch(&format!("{}/{key}", ConsoleRow::TABLE));
        loop {
            let now = self.store.read(|txn| current(txn, admitted.server)).await;
            let stays = now.is_ok_and(|console| {
                console.is_some_and(|console| {
                    console.since == admitted.since && console.host == admitted.host
                })
            });
            if !stays {
                return;
            }
            self.env.timeout(LOOK_EVERY, changes.changed()).await;
        }
    }
}

/// The tokens of a server, if it is to run where it was when they were given.
fn current(txn: &Txn, server: Uuid) -> Result<Option<ConsoleRow>, StoreError> {
    let key = server.to_string();
    let Some(console) = txn.get::<ConsoleRow>(&key)? else { return Ok(None) };
    let row = txn.get::<ServerRow>(&key)?;
    let stays = row.is_some_and(|row| runs_on(&row) == Some(&console.host));
    Ok(stays.then_some(console))
}

/// The host that a server is to run on.
fn runs_on(row: &ServerRow) -> Option<&str> {
    let placed = row.placement.as_ref().filter(|placed| placed.goal == Goal::Present)?;
    let runs = row.goal == Goal::Present && row.power == Power::On;
    runs.then_some(&placed.host)
}

/// Takes the tokens of a server away that is no longer to run where it did; in every transaction that changes one.
pub(crate) fn follow(
    txn: &mut Txn,
    old: &ServerRow,
    new: Option<&ServerRow>,
) -> Result<(), StoreError> {
    let (before, after) = (runs_on(old), new.and_then(runs_on));
    if before.is_none() || before == after {
        return Ok(());
    }
    let key = old.id.to_string();
    if txn.get::<ConsoleRow>(&key)?.is_some() {
        txn.delete::<ConsoleRow>(&key)?;
    }
    Ok(())
}
