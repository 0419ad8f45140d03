//! What now? The pure heart of the network service.
//!
//! Five kinds of rows converge by talking to hosts: a port (its L2 agent plugs it, the compute service is
//! told), a network on a host (its DHCP agent serves leases), a security group on a host (its L2 agent lets
//! pass what the group lets pass), a network's tunnel on a host (its L2 agent reaches the other hosts) and a router (the
//! L2 agent of one host routes). A want is written down, with a generation of its own, before an agent hears of it; what an agent says counts
//! only for the generation that it names. A port or a router is told of to a second host only when the first has
//! confirmed that nothing of it is left there.

pub mod dhcp;
pub mod filter;
pub mod overlay;
pub mod port;
pub mod router;
pub mod told;
