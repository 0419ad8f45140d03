//! Compute's REST API, asked as clients ask it.

mod cloud;
mod flavors;
mod identity;
mod keypairs;
mod peers;
mod servers;
