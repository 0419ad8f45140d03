//! A volume that is kept for a server which does not have it yet.

use serde::{Deserialize, Serialize};
use updraft_runtime::{env::UnixMicros, rpc::TraceContext, store::Record};
use uuid::Uuid;

/// A note that a volume may be reserved: written before it is asked for, and deleted in the transaction that
/// gives it to its server. So a volume is never left reserved for nobody, whoever crashes when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationRow {
    /// The attachment to be.
    pub attachment: Uuid,
    /// The volume.
    pub volume: Uuid,
    /// The server to be.
    pub server: Uuid,
    /// When nobody can be at work on it any more.
    pub expires: UnixMicros,
    /// It is being let go of: no server may have it any more.
    pub releasing: bool,
    /// The volume service has let go.
    pub released: bool,
    /// The request.
    pub trace: TraceContext,
}

impl Record for ReservationRow {
    const TABLE: &'static str = "compute/reservation";
    fn key(&self) -> String {
        self.attachment.to_string()
    }
}
