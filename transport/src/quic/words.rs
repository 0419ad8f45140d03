//! Why a connection ended or was refused, in words for people.

use quinn::{ConnectError, ConnectionError, VarInt};

/// How much of a peer's own words is believed and logged, in characters.
const PEER_WORDS_MAX: usize = 256;
/// QUIC error codes from here carry a TLS alert in their lowest byte (RFC 9001, 4.8).
const TLS_ALERT_FROM: u64 = 0x100;
/// The last of them.
const TLS_ALERT_TO: u64 = 0x1ff;

/// What a close says to the machine; the words that go with it are for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// The node is shutting down, and everything was sent.
    GoingAway,
    /// The peer is not accepted.
    Refused,
    /// The other connection between the two nodes is kept.
    Superseded,
    /// The peer sent what is no frame.
    Broken,
}

impl Close {
    pub(super) fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::GoingAway => 1,
            Self::Refused => 2,
            Self::Superseded => 3,
            Self::Broken => 4,
        })
    }
}

/// The peer ended a connection that had not yet begun to carry frames: nearly always because both had
/// dialled and it keeps the other one.
pub(super) const HUNG_UP: &str = "it hung up";

/// Why a connection ended.
pub(super) fn of(error: &ConnectionError) -> String {
    match error {
        ConnectionError::TransportError(error) if is_tls(error.code.into()) => {
            format!("its certificate is refused: {}", error.reason)
        }
        ConnectionError::ConnectionClosed(close) if is_tls(close.error_code.into()) => {
            format!("it refuses this node's certificate: {}", said(&close.reason))
        }
        ConnectionError::ApplicationClosed(close) if close.reason.is_empty() => HUNG_UP.to_owned(),
        ConnectionError::ApplicationClosed(close) => format!("it says: {}", said(&close.reason)),
        ConnectionError::Reset => "it has restarted".to_owned(),
        ConnectionError::TimedOut => "it does not answer".to_owned(),
        ConnectionError::LocallyClosed => "this node closed the connection".to_owned(),
        other => other.to_string(),
    }
}

/// Why a dial did not even begin.
pub(super) fn of_dial(error: &ConnectError) -> String {
    format!("it cannot be dialled: {error}")
}

fn is_tls(code: u64) -> bool {
    (TLS_ALERT_FROM..=TLS_ALERT_TO).contains(&code)
}

fn said(reason: &[u8]) -> String {
    let text = String::from_utf8_lossy(reason);
    text.chars().filter(|c| !c.is_control()).take(PEER_WORDS_MAX).collect()
}
