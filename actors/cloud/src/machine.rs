//! A real machine as a control node or a compute host: folders, keys, sockets and processes.

mod admin;
mod compute;
pub mod config;
mod control;
mod data_dir;
mod lacks;
mod libvirtd;
mod link;
mod processes;
mod purge;

pub use admin::AdminClient;
pub use compute::run_compute;
pub use control::run_control;
pub use data_dir::{DataDir, DataDirError, FORMAT};
pub use lacks::lacks;
pub use processes::{Pid, Processes};
pub use purge::purge;
