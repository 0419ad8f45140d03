//! What a node asks of the control nodes about its own place in the cloud.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol};

/// Calls to this topic reach any control node that has the cloud's CA.
pub const TOPIC: &str = "membership";
/// What they understand.
pub struct Membership;
protocol!(Membership = TOPIC);

/// "My certificate nears its end: give me the next." Who asks, and for which key, is what the present
/// certificate and the cloud's own record say; the message says nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewCertificate;
message!(call RenewCertificate = Membership / "renew_certificate", Fenced,
    from ["compute"], to ["control"], reply IssuedCertificate);

/// A certificate, and whom a node is to believe. All in DER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// The node's certificate.
    pub certificate: Bytes,
    /// The certificates of the CAs.
    pub authorities: Vec<Bytes>,
}
