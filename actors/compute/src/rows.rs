//! What compute stores: servers, what they are made from, hosts, and what a project uses.

mod flavor;
mod host;
mod keypair;
mod notices;
mod reservation;
mod server;
mod usage;

pub use flavor::FlavorRow;
pub use host::{Claim, HostRow};
pub use keypair::KeyPairRow;
pub use reservation::ReservationRow;
pub use server::{
    Action, ActionKind, Details, FaultRow, KeyRow, Lock, Placement, Resize, ResizePhase, ServerRow,
    VmState, VolumeRow,
};
pub use usage::{QuotaRow, UsageRow};
