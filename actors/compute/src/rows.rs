//! What compute stores: servers, what they are made from, hosts, and what a project uses.

mod console;
mod flavor;
mod host;
mod keypair;
mod left;
mod notices;
mod reservation;
mod server;
mod usage;

pub use console::{ConsoleRow, ConsoleToken};
pub use flavor::FlavorRow;
pub use host::{Claim, HostRow};
pub use keypair::KeyPairRow;
pub use left::LeftRow;
pub use reservation::ReservationRow;
pub use server::{
    Action, ActionKind, Details, Evacuation, FaultRow, KeyRow, Lock, Migration, MigrationPhase,
    Placement, Release, Resize, ResizePhase, ServerRow, VmState, VolumeRow,
};
pub use usage::{QuotaRow, UsageRow};
