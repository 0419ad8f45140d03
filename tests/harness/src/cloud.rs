//! A whole cloud of so many hosts: how fast its time passes, what a host takes, how long servers take to be placed.

use std::time::Duration;

use clap::Args;
use updraft_harness::{
    record::{Detail, Recorder},
    world::Tier,
};
use updraft_tests::{
    census::Audit,
    cloud::{Client, Menu, SimCloud, Size},
    fleet::{self, Crowd},
    same,
    scenario::topology,
};

use crate::{
    child::{self, Failure, Marks, say},
    table::Row,
};

const SEED: u64 = 1;

/// How long it is watched at rest, in host-seconds, and within which bounds.
const REST_HOST_SECONDS: f64 = 30_000.0;
const REST_MIN: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_secs(60);

/// How long servers may take to be placed.
const PLACED_WITHIN: Duration = Duration::from_secs(600);

/// How often it is looked whether they are.
const LOOKS: Duration = Duration::from_millis(250);

/// Servers that a host of the simulated cloud takes, with some room: 16 processors, each promised four times.
const SERVERS_PER_HOST: usize = 60;

/// What is measured.
#[derive(Args)]
pub(crate) struct Cloud {
    /// The tier: 1 or 2
    #[arg(long)]
    tier: u8,
    /// Compute hosts, in three data centres
    #[arg(long)]
    hosts: usize,
    /// Servers to be placed, without ports: a port of a security group is told to every host of that group
    #[arg(long)]
    servers: usize,
}

impl Cloud {
    /// Measures, and says where it is.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        same::apart(SEED, || {
            // As in a campaign.
            Recorder::new(Detail::Nothing).install();
            self.measure()
        })?
    }

    fn measure(&self) -> Result<(), Failure> {
        let tier = if self.tier == 2 { Tier::Quic } else { Tier::Memory };
        let size = Size { hosts: self.hosts, ..Size::default() };
        say("begin", Duration::ZERO, 0)?;
        let topology = topology(self.hosts);
        let mut cloud = SimCloud::start_at(SEED, tier, size, &Menu::default(), topology);
        say("started", cloud.world.now(), 0)?;
        cloud.world.run_for(self.rest());
        say("rested", cloud.world.now(), 0)?;
        if self.servers > 0 {
            self.place(&mut cloud)?;
        }
        Ok(())
    }

    #[allow(clippy::cast_precision_loss, reason = "a number of hosts")]
    fn rest(&self) -> Duration {
        let rest = REST_HOST_SECONDS / self.hosts.max(1) as f64;
        Duration::from_secs_f64(rest).clamp(REST_MIN, REST_MAX)
    }

    fn place(&self, cloud: &mut SimCloud) -> Result<(), Failure> {
        let client = Client::log_in(cloud);
        let have = fleet::prepare(cloud, &client);
        let mut crowd = Crowd::new(client, have);
        say("prepared", cloud.world.now(), 0)?;
        for number in 0..self.servers {
            crowd.ask(cloud, u8::try_from(number % 3)?, false);
            cloud.world.step();
            crowd.look(cloud);
        }
        let mut audit = Audit::begin(cloud);
        let placed = fleet::until(cloud, &mut audit, (LOOKS, PLACED_WITHIN), |cloud, census| {
            crowd.look(cloud);
            !crowd.is_waiting() && fleet::settled(census)
        });
        let active = u64::try_from(fleet::active(audit.look(cloud)))?;
        if !placed || active != u64::try_from(self.servers)? {
            return Err(format!("{active} servers are active; answers: {:?}", crowd.answers).into());
        }
        say("placed", cloud.world.now(), active)
    }
}

/// Measures a cloud.
pub(crate) fn row(tier: u8, hosts: usize, servers: usize) -> Row {
    let what = format!("a cloud of {hosts} hosts on tier {tier}");
    let servers = servers.min(hosts * SERVERS_PER_HOST);
    let (tier, number, servers) = (tier.to_string(), hosts.to_string(), servers.to_string());
    let arguments = ["cloud", "--tier", &tier, "--hosts", &number, "--servers", &servers];
    let seen = child::measure(&arguments).and_then(|marks| figures(&marks, hosts));
    Row::of(&what, seen)
}

#[allow(clippy::cast_precision_loss, reason = "bytes and hosts are far below what a float holds")]
fn figures(marks: &Marks, hosts: usize) -> Result<Vec<(&'static str, f64)>, Failure> {
    let (start, rest) = (marks.between("begin", "started")?, marks.between("started", "rested")?);
    let before = marks.at("begin")?.bytes;
    let bytes = marks.at("rested")?.bytes.saturating_sub(before) as f64 / hosts.max(1) as f64;
    let mut figures = vec![
        ("hosts", hosts as f64),
        ("simulated s per s", rest.simulated_s / rest.real_s),
        ("start, s", start.real_s),
        ("KiB per host", bytes / 1_024.0),
    ];
    if let Ok(place) = marks.between("prepared", "placed") {
        figures.push(("servers", place.count));
        figures.push(("placing, simulated s", place.simulated_s));
        figures.push(("placing, s", place.real_s));
    }
    Ok(figures)
}
