//! Tells a conductor how the host is, and hears in short what is wanted of it.
//!
//! The answer is the anti-entropy of compute: whatever message was lost, within one report the node
//! asks for what it does not have.

use std::time::Duration;

use updraft_protocol::{
    compute::{ReportHost, Unusable},
    hypervisor::{Answer, HostReport, Op},
};
use updraft_runtime::{
    rpc::{Address, Cx, TraceContext},
    store::StoreError,
};
use uuid::Uuid;

use super::{actor::ComputeNode, guest::GuestRow};

/// How long the hypervisor may take to say what it is; a cold libvirtd probes for eight seconds.
const PROBE: Duration = Duration::from_secs(20);

/// The pause until the next report when one was not taken.
const RETRY: Duration = Duration::from_millis(250);

/// How long after its node a hypervisor may still be on its way up: libvirt's first start takes eight seconds, and
/// finding out whether the processor runs guests another ten.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// How many rows are read at once.
const PAGE: usize = 256;

pub(super) async fn forever(node: ComputeNode) {
    let mut was_usable = false;
    loop {
        let hypervisor = probe(&node).await.map_err(|reason| Unusable {
            reason,
            starting: !was_usable && node.env.now() < STARTS_WITHIN,
        });
        node.look_at_all().await;
        let usable = hypervisor.is_ok();
        was_usable |= usable;
        let pause = match tell(&node, hypervisor).await {
            true if usable => node.config.report_every,
            _ => RETRY,
        };
        node.env.sleep(pause).await;
    }
}

async fn probe(node: &ComputeNode) -> Result<HostReport, String> {
    match node.hypervisor.perform(Op::Probe, PROBE).await {
        Ok(Answer::Host(report)) => Ok(report),
        Ok(other) => Err(format!("the hypervisor answered {other:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether the report was taken.
async fn tell(node: &ComputeNode, hypervisor: Result<HostReport, Unusable>) -> bool {
    let guests = match guests(node).await {
        Ok(guests) => guests,
        Err(error) => {
            tracing::warn!(%error, "the host is not reported");
            return false;
        }
    };
    let message = ReportHost { hypervisor, guests: guests.clone() };
    let cx = Cx::new(updraft_protocol::compute::NODE, TraceContext::default());
    match node.rpc.call(&Address::any(), &message, &cx).await {
        Ok(slice) => {
            for (server, generation) in slice.servers {
                if !guests.contains(&(server, generation)) {
                    // A row that cannot be written is asked for again with the next report.
                    let _ = node.heard(server, generation, TraceContext::default()).await;
                }
            }
            true
        }
        Err(error) => {
            tracing::debug!(%error, "the host's report was not taken");
            false
        }
    }
}

async fn guests(node: &ComputeNode) -> Result<Vec<(Uuid, u64)>, StoreError> {
    Ok(rows(node).await?.iter().map(|row| (row.server, row.wanted)).collect())
}

/// Every guest that the node knows of.
pub(super) async fn rows(node: &ComputeNode) -> Result<Vec<GuestRow>, StoreError> {
    let mut rows = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = node.store.read(|txn| txn.scan::<GuestRow>(after.as_deref(), PAGE)).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|last| last.server.to_string());
        rows.extend(page);
        if !full {
            return Ok(rows);
        }
    }
}
