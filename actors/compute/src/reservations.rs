//! Volumes reserved for servers that do not have them yet.
//!
//! A note is written before the volume service is asked, and the transaction that gives the volume to its
//! server deletes it. Whatever ends between the two (a refusal, a crash, a lost answer), the note is still
//! there, and its plan lets go of the volume. Promises that a volume is given or let go of, never both: the
//! plan writes that it lets go before it does, and what is being let go of is not given.

use std::time::Duration;

use updraft_protocol::volume::{self, Release, Reserve, VolumeInfo};
use updraft_runtime::{
    env::{BoxFuture, UnixMicros},
    rows::{Kind, Plan},
    rpc::{CallError, Cx, FaultKind, Rpc},
    store::{Store, StoreError, Txn},
};
use uuid::Uuid;

use crate::{rows::ReservationRow, servers::API};

/// How long a request may take from its first note to its commit: several calls at their deadline of 10 s.
const HELD_MAX: Duration = Duration::from_secs(60);

/// How long letting go may take: the volume service is restarted within this time.
const LETS_GO_WITHIN: Duration = Duration::from_secs(300);

/// The one thing a plan asks for: call the volume service, the attachment is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetGo;

/// The one thing that is learnt: the volume service has let go.
#[derive(Clone, Debug)]
pub struct HasLetGo;

/// Reservations, as rows that converge to nothing.
#[derive(Clone)]
pub struct Reservations {
    /// For telling the volume service.
    pub rpc: Rpc,
}

impl Kind for Reservations {
    type Row = ReservationRow;
    type Facts = ();
    type Effect = LetGo;
    type Learned = HasLetGo;

    const SETTLES_WITHIN: Option<Duration> = Some(LETS_GO_WITHIN);

    fn facts(&self, _txn: &Txn, _row: &ReservationRow) -> Result<(), StoreError> {
        Ok(())
    }

    fn plan(row: &ReservationRow, (): &(), now: UnixMicros) -> Plan<Self> {
        if row.released {
            return Plan::delete();
        }
        if row.releasing {
            return Plan::act(vec![LetGo]);
        }
        if now < row.expires {
            return Plan::settled();
        }
        Plan::write(ReservationRow { releasing: true, ..row.clone() })
    }

    fn deadline(row: &ReservationRow) -> Option<UnixMicros> {
        (!row.releasing).then_some(row.expires)
    }

    fn learn(row: &mut ReservationRow, HasLetGo: HasLetGo, _now: UnixMicros) -> bool {
        !std::mem::replace(&mut row.released, true)
    }

    fn perform(&self, row: ReservationRow, LetGo: LetGo) -> BoxFuture<'static, Option<HasLetGo>> {
        let rpc = self.rpc.clone();
        Box::pin(async move {
            let message = Release { volume: row.volume, attachment: row.attachment };
            match rpc.client::<volume::Api>().call(&message, &Cx::new(API, row.trace)).await {
                Ok(()) => Some(HasLetGo),
                Err(error) if error.fault().is_some_and(|f| f.kind == FaultKind::NotFound) => {
                    Some(HasLetGo)
                }
                Err(error) => {
                    tracing::info!(volume = %row.volume, %error, "let go of later");
                    None
                }
            }
        })
    }
}

/// A volume that is reserved for a server to be.
#[derive(Clone, Debug)]
pub struct Held {
    /// The attachment to be.
    pub attachment: Uuid,
    /// What the volume is.
    pub volume: VolumeInfo,
}

/// Why volumes are not reserved.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The volume service refused, or did not answer.
    #[error("volume {volume}: {error}")]
    Volume {
        /// Which volume.
        volume: Uuid,
        /// What came back.
        error: CallError,
    },
    /// The note could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reserves these volumes, each under a note. When one is refused, what was reserved before is let go of.
pub async fn hold(
    (rpc, store): (&Rpc, &Store),
    cx: &Cx,
    server: Uuid,
    volumes: &[Uuid],
) -> Result<Vec<Held>, HoldError> {
    let env = rpc.env();
    let note = |volume: &Uuid| ReservationRow {
        attachment: env.uuid(),
        volume: *volume,
        server,
        expires: env.wall().plus(HELD_MAX),
        releasing: false,
        released: false,
        trace: cx.trace,
    };
    let notes: Vec<ReservationRow> = volumes.iter().map(note).collect();
    if notes.is_empty() {
        return Ok(Vec::new());
    }
    let attachments: Vec<Uuid> = notes.iter().map(|note| note.attachment).collect();
    store.transact(|txn| notes.iter().try_for_each(|note| txn.insert(note))).await?;
    let mut held = Vec::new();
    for ReservationRow { attachment, volume, .. } in &notes {
        let message = Reserve { volume: *volume, server, attachment: *attachment };
        match rpc.client::<volume::Api>().call(&message, cx).await {
            Ok(info) => held.push(Held { attachment: *attachment, volume: info }),
            Err(error) => {
                // What may yet be carried out is let go of when its note expires, and not before.
                if !matches!(error, CallError::Unknown { .. }) {
                    let_go(store, &attachments).await;
                }
                return Err(HoldError::Volume { volume: *volume, error });
            }
        }
    }
    Ok(held)
}

/// Lets go of these, as far as no server has them. A note that cannot be written now expires by itself.
pub async fn let_go(store: &Store, attachments: &[Uuid]) {
    if attachments.is_empty() {
        return;
    }
    let done = store
        .transact(|txn| {
            for attachment in attachments {
                if let Some(note) = txn.get::<ReservationRow>(&attachment.to_string())? {
                    txn.put(&ReservationRow { releasing: true, ..note })?;
                }
            }
            Ok::<_, StoreError>(())
        })
        .await;
    if let Err(error) = done {
        tracing::warn!(?attachments, %error, "reserved volumes are let go of later");
    }
}

/// Gives a held volume to its server, within the transaction that writes the server. `false` if it was let
/// go of meanwhile.
pub fn take(txn: &mut Txn, attachment: Uuid) -> Result<bool, StoreError> {
    let key = attachment.to_string();
    match txn.get::<ReservationRow>(&key)? {
        Some(note) if !note.releasing => txn.delete::<ReservationRow>(&key).map(|_| true),
        _ => Ok(false),
    }
}
