//! What any supervised, distributed service needs, and nothing about clouds.
//!
//! Owns the environment (the one door to time, entropy, tasks and blocking work), calls between
//! actors on many nodes, the store, converging rows, the directory of members and the trace.

pub mod bulk;
pub mod directory;
pub mod env;
pub mod folder;
pub mod incarnation;
pub mod mailbox;
pub mod names;
pub mod node;
pub mod notify;
pub mod policy;
pub mod revocations;
pub mod rows;
pub mod rpc;
pub mod shares;
pub mod shelf;
pub mod spawn;
pub mod store;
pub mod supervise;
pub mod trace;
pub mod tunnel;
pub mod turns;
pub mod vitals;

pub use updraft_transport as transport;
pub use updraft_transport::{always, marks, planted, sometimes};

pub use env::Env;
