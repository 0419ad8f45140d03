//! What compute stores: servers, hosts and what a project uses.

mod host;
mod server;
mod usage;

pub use host::{Claim, HostRow};
pub use server::{
    Action, ActionKind, FaultRow, KeyRow, Placement, Resize, ResizePhase, ServerRow, VmState,
    VolumeRow,
};
pub use usage::{QuotaRow, UsageRow};
