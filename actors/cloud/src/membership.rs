//! Who belongs to the cloud: tokens that let a host join once, and the certificates that they give.
//!
//! Owns the rows below `membership/` and, on the control node that has it, the CA. Promises that a token
//! admits one machine, once and before its end, also over a restart or two applicants at the same moment;
//! that no name belongs to two keys at once; that a key that was revoked is neither admitted nor renewed again, and is
//! told to every node; and that what is stored of a token lets nobody join. It never sees a node's private key. Which
//! cloud a store holds, and which control nodes serve it, is kept here too.

mod api;
mod cloud;
mod registrar;
mod removal;
mod rows;

use updraft_runtime::store::Shape;

pub(crate) use api::routes;
pub use api::{Invitation, Issued, Listed};
pub use cloud::{Claim, CloudRow, ControlRow, ImagesAt, Roster, Seat, SeatError, authority_text};
pub use registrar::{NODE_LASTS, Refusal, Registrar, Wish};
pub(crate) use removal::routes as removal_routes;
pub use rows::{NodeRow, Removal, TokenRow, key_of, key_text};

/// Every kind of row that membership stores.
#[must_use]
pub fn stored() -> [Shape; 4] {
    [
        Shape::of::<TokenRow>(),
        Shape::of::<NodeRow>(),
        Shape::of::<CloudRow>(),
        Shape::of::<ControlRow>(),
    ]
}
