//! A real machine as a control node or a compute host: folders, keys, sockets and processes.

mod admin;
pub mod config;
mod contact;
mod control;
mod data_dir;
pub mod database;
mod drivers;
mod enrol;
mod keeper;
mod lacks;
mod libvirtd;
mod link;
mod node;
mod processes;
mod program;
mod purge;
mod renewal;
mod revoked;
mod signals;

pub use admin::{AdminClient, Answer, NoCloud};
pub use contact::{CONTACT_FILE, Contact, contact};
pub use control::{ADDRESS_FILE, CONTROL, run_control};
pub use data_dir::{DataDir, DataDirError, FORMAT};
pub use enrol::{EnrolError, Membership, membership};
pub use keeper::SETTINGS_FILE;
pub use lacks::lacks;
pub use link::AddressError;
pub use node::{COMPUTE, NODE_ADDRESS_FILE, NodeRequest, enrol_node, run_node};
pub use processes::{Held, Pid, Processes};
pub use program::this_program;
pub use purge::purge;
pub use signals::told_to_end;
