//! Who may talk to a server's consoles.

use serde::{Deserialize, Serialize};
use updraft_protocol::hypervisor::ConsoleKind;
use updraft_runtime::{env::UnixMicros, store::Record};
use uuid::Uuid;

/// The tokens that a server's consoles are opened by. It goes in the transaction by which the server is to stop, to
/// move or to go: what was opened by one of its tokens ends then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleRow {
    /// The server.
    pub server: Uuid,
    /// The host that has it.
    pub host: String,
    /// The server's generation when the first token was given: another row of the same server has another one.
    pub since: u64,
    /// The tokens, oldest first.
    pub tokens: Vec<ConsoleToken>,
}

/// A token; itself it is nowhere but in the hands of whom it was given to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleToken {
    /// SHA-256 of its secret, in hexadecimal digits.
    pub sha256: String,
    /// Which console it opens.
    pub kind: ConsoleKind,
    /// Who asked for it.
    pub user_id: String,
    /// When it opens nothing any more.
    pub expires: UnixMicros,
}

impl Record for ConsoleRow {
    const TABLE: &'static str = "compute/console";
    fn key(&self) -> String {
        self.server.to_string()
    }
}
