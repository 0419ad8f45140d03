//! Three data centres on two continents, a storm of servers, and the loss of one of them.
//!
//! London, Amsterdam and Tunis each have a control node and a third of the hosts, in racks. Users ask for many servers
//! at once, by all control nodes. Meanwhile a data centre is lost: its power fails, or its lines are cut and it has the database no
//! more. It comes back, and everything settles. The database is taken for one that is replicated and outlives the data
//! centre; control nodes elsewhere always have it, unless a fault says otherwise.

use std::{collections::BTreeMap, fmt, time::Duration};

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use updraft_harness::{
    campaign::{Options, Run, Scenario, shrink::shorter},
    fault::{
        DatabaseTrouble, Far, Fault, FaultKind, FaultPlan, LinkTrouble, NodeTrouble, Place, Target,
        Targets, Topology, reductions,
    },
};

use crate::{
    census::Audit,
    cloud::{Client, Menu, SimCloud, Size},
    fleet::{self, Crowd},
    flow, life,
    workload::{SETTLES, complain},
};

/// The data centres, each with the control node of the same number.
const DATA_CENTRES: [&str; 3] = ["london", "amsterdam", "tunis"];

/// Hosts of a rack.
const RACK: usize = 20;

/// Great circles in kilometres: 358, 1,826 and 1,780.
const DISTANCES_KM: [(&str, &str, u64); 3] =
    [("london", "amsterdam", 358), ("london", "tunis", 1_826), ("amsterdam", "tunis", 1_780)];

/// How far a message gets in a millisecond, one way. Pings between cities come to 39 km (Milan and Zurich), 59 (Paris and
/// Milan) and 150 (New York and Paris); light in glass would make 200. ("Miles per Millisecond", P. Reinheimer,
/// WonderProxy 2011: <https://wonderproxy.com/blog/miles-per-milisecond>.)
const KM_PER_MS: u64 = 100;

/// The jitter of a way, as a share of its latency.
const JITTER: f64 = 0.1;

/// How often the cloud is looked at.
const LOOKS: Duration = Duration::from_millis(100);

/// For how long something may go wrong.
const FAULTS_MAX: Duration = Duration::from_secs(60);

/// How many hosts the cloud of the seeds has.
const HOSTS: usize = 250;

/// What servers are asked for, over how many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// When it begins.
    pub at_ms: u64,
    /// So many.
    pub servers: u16,
    /// Within so long.
    pub within_ms: u64,
}

/// A case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Everything that is drawn follows from it.
    pub seed: u64,
    /// Compute hosts.
    pub hosts: usize,
    /// The storm.
    pub bursts: Vec<Burst>,
    /// What goes wrong, by times since the storm begins; the loss of a data centre is a part of it.
    pub faults: FaultPlan,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} hosts", self.seed, self.hosts)?;
        for Burst { at_ms, servers, within_ms } in &self.bursts {
            writeln!(f, "at {at_ms} ms, {servers} servers are asked for within {within_ms} ms")?;
        }
        write!(f, "{}", self.faults)
    }
}

/// The scenario.
pub struct Continents;

impl Scenario for Continents {
    type Case = Case;

    fn name(&self) -> &'static str {
        "continents"
    }

    fn about(&self) -> &'static str {
        "250 hosts in London, Amsterdam and Tunis, a storm of servers, and a data centre is lost"
    }

    fn faults(&self) -> Vec<&'static str> {
        super::kinds()
    }

    fn marks(&self) -> &'static [&'static str] {
        &["a data centre without power", "a data centre cut off", "servers in all data centres"]
    }

    fn draw(&self, seed: u64, options: &Options) -> Case {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x636f_6e74);
        let bursts = (0..rng.random_range(1..=3)).map(|_| burst(&mut rng)).collect();
        let mut faults = super::faults(seed, options, targets(HOSTS));
        for step in loss(&mut rng) {
            faults = faults.with(step.0, step.1, step.2);
        }
        Case { seed, hosts: HOSTS, bursts, faults }
    }

    fn run(&self, case: &Case, run: &Run) {
        play(case, run);
    }

    fn smaller(&self, case: &Case) -> Vec<Case> {
        let faults = shorter(&case.faults.steps).into_iter().map(|steps| {
            let faults = FaultPlan { steps, ..case.faults.clone() };
            Case { faults, ..case.clone() }
        });
        let bursts =
            shorter(&case.bursts).into_iter().map(|bursts| Case { bursts, ..case.clone() });
        let hosts = [3, case.hosts / 2].into_iter().filter(|hosts| (3..case.hosts).contains(hosts));
        let hosts = hosts.map(|hosts| Case { hosts, ..case.clone() });
        let less = reductions(&case.faults, &targets(case.hosts));
        let less = less.into_iter().map(|faults| Case { faults, ..case.clone() });
        hosts.chain(faults).chain(bursts).chain(less).collect()
    }
}

fn burst(rng: &mut ChaCha8Rng) -> Burst {
    Burst {
        at_ms: rng.random_range(0..30_000),
        servers: rng.random_range(20..=120),
        within_ms: rng.random_range(100..5_000),
    }
}

/// The loss of a data centre, and its return.
fn loss(rng: &mut ChaCha8Rng) -> Vec<(Duration, Duration, Fault)> {
    let from = Duration::from_millis(rng.random_range(500..20_000));
    let until = from + Duration::from_millis(rng.random_range(5_000..40_000));
    let Some(lost) = DATA_CENTRES.choose(rng) else { return Vec::new() };
    let here = Target::DataCentre((*lost).to_owned());
    if rng.random() {
        let power = Fault::Node { nodes: here, trouble: NodeTrouble::Crash };
        return vec![(from, until, power)];
    }
    let others = DATA_CENTRES.iter().filter(|name| *name != lost);
    let cut = others.map(|other| Fault::Link {
        from: here.clone(),
        to: Target::DataCentre((*other).to_owned()),
        both_ways: true,
        trouble: LinkTrouble::Cut,
    });
    let trouble = DatabaseTrouble::Away;
    let database = Fault::Database { nodes: here.clone(), percent: 100, trouble };
    cut.chain([database]).map(|fault| (from, until, fault)).collect()
}

/// What may go wrong.
fn targets(hosts: usize) -> Targets {
    let mut data_centres = BTreeMap::<String, Vec<String>>::new();
    for (name, place) in places(hosts) {
        data_centres.entry(place.data_centre).or_default().push(name);
    }
    let names: Vec<String> = data_centres.values().flatten().cloned().collect();
    let operations = ["hypervisor/", "disks/", "network/", "bytes/", ""];
    Targets {
        nodes: names,
        data_centres,
        operations: operations.map(str::to_owned).to_vec(),
        forgetful: vec!["network/".to_owned()],
        duration: FAULTS_MAX,
        kinds: FaultKind::ALL.to_vec(),
    }
}

/// Where each node stands.
fn places(hosts: usize) -> impl Iterator<Item = (String, Place)> {
    let controls = DATA_CENTRES.iter().enumerate();
    let controls = controls
        .map(|(number, name)| (format!("control-{}", number + 1), Place::new(name, "control")));
    let hosts = (0..hosts).map(|number| {
        let rack = format!("rack-{}", number / DATA_CENTRES.len() / RACK + 1);
        let data_centre = DATA_CENTRES[number % DATA_CENTRES.len()];
        (format!("compute-{}", number + 1), Place::new(data_centre, &rack))
    });
    controls.chain(hosts)
}

/// Where the nodes of a cloud with so many hosts stand, and how far apart.
#[must_use]
pub fn topology(hosts: usize) -> Topology {
    let stand = |topology: Topology, (name, place): (String, Place)| topology.with(&name, place);
    let topology = places(hosts).fold(Topology::new(), stand);
    DISTANCES_KM.iter().fold(topology, |topology, (one, other, km)| {
        let least = Duration::from_micros(km * 1_000 / KM_PER_MS);
        let latency = least..=least.mul_f64(1.0 + JITTER);
        topology.apart(one, other, Far { latency, bytes_per_second: None })
    })
}

/// Runs a case.
fn play(case: &Case, run: &Run) {
    let size = Size { hosts: case.hosts, ..Size::default() };
    let topology = topology(case.hosts);
    let mut cloud = SimCloud::start_at(case.seed, run.tier(), size, &Menu::default(), topology);
    let client = Client::log_in(&mut cloud);
    let have = fleet::prepare(&mut cloud, &client);
    let before = flow::inventory(&cloud);
    let mut audit = Audit::begin(&cloud);
    let mut crowd = Crowd::new(client, have);
    let began = cloud.world.now();
    let faults = case.faults.clone().later(began);
    let over = faults.ends();
    note_losses(case, run);
    cloud.world.follow(faults);
    let mut asked = asks(case, began).into_iter().enumerate().peekable();
    while asked.peek().is_some() || crowd.is_waiting() || cloud.world.now() < over {
        while let Some((number, _)) = asked.next_if(|(_, at)| *at <= cloud.world.now()) {
            let control = u8::try_from(number % DATA_CENTRES.len()).unwrap_or_default();
            crowd.ask(&mut cloud, control, true);
        }
        turn(&mut cloud, &mut audit, &mut crowd, run);
    }
    rest(&mut cloud, &mut audit, run);
    check(&mut audit, &cloud, &crowd, run);
    delete_all(&mut cloud, &mut audit, &mut crowd, run);
    rest(&mut cloud, &mut audit, run);
    life::leaves_nothing(&mut cloud, &before);
    for (kind, times) in cloud.world.struck() {
        run.struck(&kind.to_string(), times);
    }
}

/// When each server is asked for.
fn asks(case: &Case, began: Duration) -> Vec<Duration> {
    let mut times = Vec::new();
    for Burst { at_ms, servers, within_ms } in &case.bursts {
        let servers = u64::from(*servers);
        let at = |number: u64| at_ms + within_ms * number / servers.max(1);
        times.extend((0..servers).map(|number| began + Duration::from_millis(at(number))));
    }
    times.sort_unstable();
    times
}

fn note_losses(case: &Case, run: &Run) {
    for step in &case.faults.steps {
        let [Target::DataCentre(_), ..] = step.fault.targets()[..] else { continue };
        match step.fault.kind() {
            FaultKind::Crash => run.reached("a data centre without power"),
            FaultKind::Cut => run.reached("a data centre cut off"),
            _ => {}
        }
    }
}

/// Runs until the next look, and looks.
fn turn(cloud: &mut SimCloud, audit: &mut Audit, crowd: &mut Crowd, run: &Run) {
    let end = cloud.world.now() + LOOKS;
    while cloud.world.now() < end {
        cloud.world.step();
        complain(run, &audit.after_step(cloud));
    }
    crowd.look(cloud);
    cloud.restart_failed();
    complain(run, &audit.broken(cloud, false));
}

/// Waits until everything is as it is when nothing is going on.
fn rest(cloud: &mut SimCloud, audit: &mut Audit, run: &Run) {
    let until = cloud.world.now() + SETTLES;
    loop {
        let broken = audit.broken(cloud, true);
        if broken.is_empty() {
            return;
        }
        if cloud.world.now() >= until {
            complain(run, &broken);
        }
        cloud.world.run_for(LOOKS);
        cloud.restart_failed();
    }
}

/// What was acknowledged is there, and what was built is where there are hosts.
fn check(audit: &mut Audit, cloud: &SimCloud, crowd: &Crowd, run: &Run) {
    let census = audit.look(cloud);
    let lost = crowd.acknowledged.iter().find(|id| !census.servers.contains_key(id));
    if let Some(id) = lost {
        run.violated("what was acknowledged is there", &format!("server {id} is lost"));
    }
    let places: BTreeMap<String, Place> = places(cloud.hosts().len()).collect();
    let hosts = census.servers.values().filter_map(|server| server.host());
    let used: std::collections::BTreeSet<_> =
        hosts.filter_map(|host| Some(&places.get(host)?.data_centre)).collect();
    if used.len() == DATA_CENTRES.len() {
        run.reached("servers in all data centres");
    }
    for (status, times) in &crowd.answers {
        (0..*times).for_each(|_| run.count(&format!("server asked for: {status}")));
    }
    for server in census.servers.values() {
        run.count(&format!("server {}", server.state));
    }
}

fn delete_all(cloud: &mut SimCloud, audit: &mut Audit, crowd: &mut Crowd, run: &Run) {
    let until = cloud.world.now() + SETTLES;
    loop {
        let servers: Vec<_> = audit.look(cloud).servers.keys().copied().collect();
        if servers.is_empty() {
            return;
        }
        let words = || format!("{} servers are still there", servers.len());
        if cloud.world.now() >= until {
            run.violated("what is deleted goes", &words());
        }
        for (number, server) in servers.iter().enumerate() {
            crowd.delete(cloud, u8::try_from(number % 3).unwrap_or_default(), *server);
        }
        while crowd.is_waiting() {
            turn(cloud, audit, crowd, run);
        }
        cloud.world.run_for(Duration::from_secs(5));
    }
}
