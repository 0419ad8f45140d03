//! A test as it was written for a failing plan.

use updraft_harness::fault::FaultPlan;

/// - 1 s to 2 s: from data centre london to c, 30 % is lost
/// - 2 s to 2 min: rack r1 of tunis: crash, and start again
/// - 0 s to 9 s: all nodes, hypervisor/Define, 5 %: it is done 1500 ms late
#[test]
fn storm_7() {
    let plan = r#"{"seed":7,"steps":[{"from_ms":1000,"until_ms":2000,"fault":{"link":{"from":{"data_centre":"london"},"to":{"nodes":["c"]},"both_ways":false,"trouble":{"loss":{"percent":30}}}}},{"from_ms":2000,"until_ms":120000,"fault":{"node":{"nodes":{"rack":{"data_centre":"tunis","rack":"r1"}},"trouble":"crash"}}},{"from_ms":0,"until_ms":9000,"fault":{"driver":{"nodes":"all","operation":"hypervisor/Define","percent":5,"trouble":{"late":{"by_ms":1500}}}}}]}"#;
    let plan: FaultPlan = serde_json::from_str(plan).expect("a plan");
    crate::plan::storm(7, &plan);
}
