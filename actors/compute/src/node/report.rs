//! Tells a conductor how the host is, and hears in short what is wanted of it.
//!
//! The answer is the anti-entropy of compute: whatever message was lost, within one report the node
//! asks for what it does not have.

use std::time::Duration;

use updraft_protocol::{
    compute::{Conductor, FORCED_DOWN, ReportHost, Unusable},
    hypervisor::{Answer, HostReport, Op},
};
use updraft_runtime::{
    rpc::{Cx, TraceContext},
    store::StoreError,
};
use uuid::Uuid;

use super::{actor::ComputeNode, guest::GuestRow};

/// How long the hypervisor may take to say what it is; a cold libvirtd probes for eight seconds.
const PROBE: Duration = Duration::from_secs(20);

/// The pause until the next report when one was not taken, and the first when the hypervisor cannot be used.
const RETRY: Duration = Duration::from_millis(250);

/// The longest pause while the hypervisor starts: a host is of use within a second of its hypervisor.
const STARTING_RETRY: Duration = Duration::from_millis(500);

/// How long after its node a hypervisor may still be on its way up: libvirt's first start takes eight seconds, and
/// finding out whether the processor runs guests another ten.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// How many rows are read at once.
const PAGE: usize = 256;

pub(super) async fn forever(node: ComputeNode) {
    let mut was_usable = false;
    let mut patience = Patience::new(node.config.report_every);
    loop {
        let hypervisor = probe(&node).await.map_err(|reason| Unusable {
            reason,
            starting: !was_usable && node.env.now() < STARTS_WITHIN,
        });
        node.look_at_all().await;
        was_usable |= hypervisor.is_ok();
        let pause = patience.after(hypervisor.as_ref().err());
        let taken = tell(&node, hypervisor).await;
        node.env.sleep(if taken { pause } else { RETRY }).await;
    }
}

/// How long a host waits until it reports again: longer and longer while it is of no use, since each report that says
/// so costs the store of compute a write and nobody waits for it.
struct Patience {
    report_every: Duration,
    unusable: Duration,
}

impl Patience {
    fn new(report_every: Duration) -> Self {
        Self { report_every, unusable: RETRY }
    }

    /// The pause after a report that said this of the hypervisor.
    fn after(&mut self, why: Option<&Unusable>) -> Duration {
        let Some(why) = why else {
            self.unusable = RETRY;
            return self.report_every;
        };
        let longest = if why.starting { STARTING_RETRY } else { self.report_every };
        let pause = self.unusable.min(longest);
        self.unusable = (pause * 2).min(self.report_every);
        pause
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
    match node.rpc.client::<Conductor>().call(&message, &cx).await {
        Ok(slice) => {
            let mut noted = true;
            for (server, generation) in slice.servers {
                if !guests.contains(&(server, generation)) {
                    // A row that cannot be written is asked for again with the next report.
                    let heard = node.heard(server, generation, TraceContext::default()).await;
                    noted &= heard.is_ok();
                }
            }
            // Not before: what is another's by now must be known as such before anything is made to run.
            if noted {
                node.has_heard();
            }
            true
        }
        Err(error) => {
            tracing::debug!(%error, "the host's report was not taken");
            // Only an operator can change that.
            error.fault().is_some_and(|fault| fault.code == FORCED_DOWN)
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

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT_EVERY: Duration = Duration::from_secs(5);

    fn unusable(starting: bool) -> Unusable {
        Unusable { reason: "no libvirt".to_owned(), starting }
    }

    fn pauses(patience: &mut Patience, starting: bool, count: usize) -> Vec<u128> {
        let why = unusable(starting);
        (0..count).map(|_| patience.after(Some(&why)).as_millis()).collect()
    }

    #[test]
    fn a_host_of_no_use_reports_less_and_less() {
        let mut patience = Patience::new(REPORT_EVERY);
        let pauses = pauses(&mut patience, false, 7);
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    }

    #[test]
    fn a_host_that_starts_is_soon_of_use() {
        let mut patience = Patience::new(REPORT_EVERY);
        assert_eq!(pauses(&mut patience, true, 5), [250, 500, 500, 500, 500]);
        assert_eq!(pauses(&mut patience, false, 2), [1_000, 2_000], "it did not start in time");
    }

    #[test]
    fn a_host_of_use_reports_as_set_and_is_patient_anew_when_it_fails() {
        let mut patience = Patience::new(REPORT_EVERY);
        pauses(&mut patience, false, 5);
        assert_eq!(patience.after(None), REPORT_EVERY);
        assert_eq!(pauses(&mut patience, false, 1), [250]);
    }

    #[test]
    fn no_pause_is_longer_than_is_set() {
        let mut patience = Patience::new(Duration::from_millis(100));
        assert_eq!(pauses(&mut patience, false, 2), [100, 100]);
    }
}
