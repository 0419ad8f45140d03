//! The compute node: makes on its host what is wanted of each server.
//!
//! Owns the guests of one host and what it was told of them. Asks a conductor for everything else: it never
//! touches the compute store. Promises that a guest exists only for a generation that a conductor has
//! confirmed, and that it says *gone* only when nothing is left. Never starts a guest again that stopped by
//! itself.

mod actor;
mod console;
mod guest;
mod keep;
mod perform;
mod plan;
mod report;
mod turns;

pub use actor::{ComputeNode, NodeConfig};
pub use guest::{BootFiles, Defined, GuestRow, Parked, serial};
pub use perform::{
    Guests, guest, interface, is_removed, may_clear, refused, saw, spec_of, volume_disk,
};
pub use plan::{Effect, Learned, learn, plan};
