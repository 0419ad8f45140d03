//! Why a connection ended or was refused, in words for people.

use quinn::{ConnectError, ConnectionError, VarInt};

use crate::counts::Refused;

/// How much of a peer's own words is believed and logged, in characters.
const PEER_WORDS_MAX: usize = 256;
/// QUIC error codes from here carry a TLS alert in their lowest byte (RFC 9001, 4.8).
const TLS_ALERT_FROM: u64 = 0x100;
/// The last of them.
const TLS_ALERT_TO: u64 = 0x1ff;
/// The code of a side that does not even look at a handshake (RFC 9000, 20.1): it closes, or has enough to do.
const CONNECTION_REFUSED: u64 = 2;
/// TLS alerts about a certificate, from the first of the block to the last (RFC 8446, 6.2).
const BAD_CERTIFICATE: u64 = 42;
const ACCESS_DENIED: u64 = 49;
/// Among them, that of a certificate that is no longer believed.
const CERTIFICATE_REVOKED: u64 = 44;
/// The alert of a side that wants a certificate and was shown none.
const CERTIFICATE_REQUIRED: u64 = 116;
/// The alert of a side that does not speak what the other wants to speak.
const NO_APPLICATION_PROTOCOL: u64 = 120;

/// The other side does not do what it is dialled for, such as giving certificates.
pub(super) const OTHER_PROTOCOL: &str = "it does not offer what it is dialled for";

/// What both sides hear of a certificate that is no longer believed.
pub(super) const REVOKED: &str = "its certificate was revoked";

/// What stands in front of the words of the other side.
const SAYS: &str = "it says: ";

/// Whether the reason of an [`Event::Down`](crate::link::Event::Down) is that the peer says that the certificate of
/// this node was revoked. Who can write datagrams can say so too, before anybody has proven who it is: it is a
/// reason to tell people, and none to stop asking.
#[must_use]
pub fn is_disowned(reason: &str) -> bool {
    reason.strip_suffix(REVOKED).is_some_and(|before| before.ends_with(SAYS))
}

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
        ConnectionError::TransportError(error) => match alert(error.code.into()) {
            Some(Alert::Revoked) => REVOKED.to_owned(),
            Some(Alert::Certificate) => format!("its certificate is refused: {}", error.reason),
            Some(Alert::Protocol) => OTHER_PROTOCOL.to_owned(),
            Some(Alert::Other) | None => error.to_string(),
        },
        ConnectionError::ConnectionClosed(close)
            if u64::from(close.error_code) == CONNECTION_REFUSED =>
        {
            "it takes no connections now".to_owned()
        }
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code.into()) {
            Some(Alert::Revoked) => format!("{SAYS}{REVOKED}"),
            Some(Alert::Certificate) => {
                format!("it refuses this node's certificate: {}", said(&close.reason))
            }
            Some(Alert::Protocol) => OTHER_PROTOCOL.to_owned(),
            Some(Alert::Other) | None => format!("it broke off: {}", said(&close.reason)),
        },
        ConnectionError::ApplicationClosed(close) if close.reason.is_empty() => HUNG_UP.to_owned(),
        ConnectionError::ApplicationClosed(close) => format!("{SAYS}{}", said(&close.reason)),
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

/// What a failed handshake failed over.
enum Alert {
    Revoked,
    Certificate,
    Protocol,
    Other,
}

fn alert(code: u64) -> Option<Alert> {
    if !(TLS_ALERT_FROM..=TLS_ALERT_TO).contains(&code) {
        return None;
    }
    Some(match code - TLS_ALERT_FROM {
        CERTIFICATE_REVOKED => Alert::Revoked,
        BAD_CERTIFICATE..=ACCESS_DENIED | CERTIFICATE_REQUIRED => Alert::Certificate,
        NO_APPLICATION_PROTOCOL => Alert::Protocol,
        _ => Alert::Other,
    })
}

/// What this side refuses in a handshake beside certificates, which are counted where they are verified.
pub(super) fn refused_in_handshake(error: &ConnectionError) -> Option<Refused> {
    let ConnectionError::TransportError(error) = error else { return None };
    match u64::from(error.code).checked_sub(TLS_ALERT_FROM)? {
        CERTIFICATE_REQUIRED => Some(Refused::BadCertificate),
        NO_APPLICATION_PROTOCOL => Some(Refused::OtherProtocol),
        _ => None,
    }
}

fn said(reason: &[u8]) -> String {
    let text = String::from_utf8_lossy(reason);
    text.chars().filter(|c| !c.is_control()).take(PEER_WORDS_MAX).collect()
}
