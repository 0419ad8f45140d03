//! How much better one host is than another.

use super::{GroupPolicy, HostState, Request};

/// Gives a host a figure; the larger the better. Figures of one weigher are scaled to 0..1 over the hosts.
pub trait Weigher: Send + Sync + 'static {
    /// How much it counts.
    fn multiplier(&self) -> f64 {
        1.0
    }

    /// The figure.
    fn weigh(&self, host: &HostState, request: &Request) -> f64;
}

/// The weighers used when nobody says otherwise.
#[must_use]
pub fn default_weighers() -> Vec<Box<dyn Weigher>> {
    vec![Box::new(RamWeigher), Box::new(VcpuWeigher), Box::new(SoftGroupWeigher)]
}

#[allow(clippy::cast_precision_loss, reason = "sizes of hosts are far below 2^52")]
fn figure(total: u64, used: u64) -> f64 {
    total as f64 - used as f64
}

/// Prefers the host with most memory free.
pub struct RamWeigher;

impl Weigher for RamWeigher {
    fn weigh(&self, host: &HostState, _request: &Request) -> f64 {
        figure(host.total.ram_mib, host.used.ram_mib)
    }
}

/// Prefers the host with most virtual processors free.
pub struct VcpuWeigher;

impl Weigher for VcpuWeigher {
    fn weigh(&self, host: &HostState, _request: &Request) -> f64 {
        figure(host.total.vcpus, host.used.vcpus)
    }
}

/// Follows a soft group policy.
struct SoftGroupWeigher;

impl Weigher for SoftGroupWeigher {
    fn multiplier(&self) -> f64 {
        10.0
    }
    fn weigh(&self, host: &HostState, request: &Request) -> f64 {
        let has_member = request.group_hosts.contains(&host.row.name);
        match request.policy {
            Some(GroupPolicy::SoftAffinity) => f64::from(u8::from(has_member)),
            Some(GroupPolicy::SoftAntiAffinity) => f64::from(u8::from(!has_member)),
            _ => 0.0,
        }
    }
}
