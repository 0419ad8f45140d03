//! What now? The pure heart of the network service.
//!
//! Four kinds of rows converge by talking to hosts: a port (its L2 agent plugs it, the compute service is
//! told), a network on a host (its DHCP agent serves leases), a security group on a host (its L2 agent lets
//! pass what the group lets pass) and a network's tunnel on a host (its L2 agent reaches the other hosts). A
//! want is written down, with a generation of its own, before an agent hears of it; what an agent says counts
//! only for the generation that it names. A port is wanted on a second host only when the first has confirmed that nothing of it
//! is left there.

pub mod dhcp;
pub mod filter;
pub mod overlay;
pub mod port;
pub mod told;
