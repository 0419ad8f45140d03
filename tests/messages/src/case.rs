//! What is measured, over what.

use updraft_bench_load::{Job, Load};

use crate::Options;

/// The peer with which every figure is compared.
pub(crate) const FLOOR: &str = "tcp";

/// Our own.
pub(crate) const OURS: &str = "updraft";

/// Everything that carries messages, in the order of the table.
pub(crate) const PEERS: [&str; 7] =
    [OURS, FLOOR, "udp", "grpc", "nats", "rabbitmq", "ractor-cluster"];

/// Calls in flight.
const IN_FLIGHT: [u32; 3] = [1, 64, 1_024];

/// Sizes of bodies.
const BODIES_BYTES: [usize; 2] = [128, 16 * 1024];

/// The figure that the aims are about.
pub(crate) const USUAL: (u32, usize) = (64, 128);

/// Sizes of a run that is no more than a check.
const QUICK: Sizes =
    Sizes { seconds: 0.2, set_ups: 5, connections: 10, actors: 1_000, bulk_bytes: 64 << 20 };

/// How much of everything.
struct Sizes {
    seconds: f64,
    set_ups: u32,
    connections: u32,
    actors: u32,
    bulk_bytes: u64,
}

/// One thing to measure over several peers.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// What it is called in the table.
    pub(crate) name: String,
    /// What the measuring process is told.
    pub(crate) job: Job,
    /// Over what it can be measured.
    pub(crate) peers: Vec<&'static str>,
    /// Memory is measured once: a process that has had much keeps it.
    pub(crate) once: bool,
    /// It is measured with servers of its own: a node remembers for a while whom it has met.
    pub(crate) alone: bool,
}

/// Everything, what needs fresh processes first.
pub(crate) fn all(options: &Options) -> Vec<Case> {
    let sizes = if options.quick {
        QUICK
    } else {
        let seconds = options.seconds;
        Sizes { seconds, set_ups: 100, connections: 200, actors: 10_000, bulk_bytes: 1 << 30 }
    };
    let mut cases = memory(&sizes);
    cases.extend(calls(&sizes));
    cases.extend(rest(&sizes));
    for case in &mut cases {
        case.peers.retain(|peer| options.wants(peer));
    }
    cases.retain(|case| !case.peers.is_empty());
    cases
}

/// The name of a case of calls.
pub(crate) fn calls_name((in_flight, body_bytes): (u32, usize)) -> String {
    let size = if body_bytes < 1_024 {
        format!("{body_bytes} B")
    } else {
        format!("{} KiB", body_bytes / 1_024)
    };
    format!("calls, {in_flight} in flight, {size}")
}

/// The name of the case of idle actors.
pub(crate) const IDLE_ACTORS: &str = "memory of an idle actor";

fn calls(sizes: &Sizes) -> Vec<Case> {
    let mut cases = Vec::new();
    for body_bytes in BODIES_BYTES {
        for in_flight in IN_FLIGHT {
            let load = Load { in_flight, body_bytes, seconds: sizes.seconds };
            // A datagram has no number by which its answer finds it: one at a time.
            let fits = |peer: &&str| *peer != "udp" || in_flight == 1;
            cases.push(Case {
                name: calls_name((in_flight, body_bytes)),
                job: Job::Load(load),
                peers: PEERS.into_iter().filter(fits).collect(),
                once: false,
                alone: false,
            });
        }
    }
    cases
}

fn memory(sizes: &Sizes) -> Vec<Case> {
    let case = |name: &str, job, peers: &[&'static str]| Case {
        name: name.to_owned(),
        job,
        peers: peers.to_vec(),
        once: true,
        alone: true,
    };
    let actors = |services| Job::Actors { count: sizes.actors, services };
    vec![
        case(IDLE_ACTORS, actors(false), &[OURS]),
        case("memory of an idle service", actors(true), &[OURS]),
        case("memory of an idle connection", Job::Idle { count: sizes.connections }, &CONNECTED),
    ]
}

/// The peers that have connections.
const CONNECTED: [&str; 5] = [OURS, FLOOR, "grpc", "nats", "rabbitmq"];

fn rest(sizes: &Sizes) -> Vec<Case> {
    let case = |name: String, job, peers: &[&'static str]| Case {
        name,
        peers: peers.to_vec(),
        once: false,
        alone: matches!(job, Job::SetUp { .. }),
        job,
    };
    let load = Load { in_flight: 1, body_bytes: USUAL.1, seconds: sizes.seconds };
    let mebibytes = sizes.bulk_bytes >> 20;
    vec![
        case("casts, 128 B".to_owned(), Job::Casts(load), &[OURS]),
        case(
            format!("one body of {mebibytes} MiB, by the MiB"),
            Job::Bulk { bytes: sizes.bulk_bytes },
            &[OURS, FLOOR],
        ),
        case(
            "connection up to its first answer".to_owned(),
            Job::SetUp { times: sizes.set_ups },
            &CONNECTED,
        ),
    ]
}
