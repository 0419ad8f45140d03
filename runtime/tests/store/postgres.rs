//! The store on PostgreSQL: several processes on one database, and a server that goes away.

mod cut;
mod everywhere;
mod opening;
mod outage;
mod plans;
mod proxy;
pub(crate) mod server;
mod sharing;
mod tls;
