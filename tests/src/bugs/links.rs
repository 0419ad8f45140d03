//! Links over real QUIC: a node is met by two lives of one peer, and by one that is shut out.

mod node;

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use updraft_harness::{
    fault::LinkTrouble,
    quic::{Air, DatagramLog, ETHERNET_MTU_BYTES, Everywhere},
    world::EPOCH,
};
use updraft_transport::Incarnation;

use node::{Heard, Orders};

use super::Steps;

/// Most steps of a case.
const STEPS_MAX: usize = 30;

/// What no Ethernet carries vanishes.
const ETHERNET: LinkTrouble = LinkTrouble::MtuBlackHole { bytes: ETHERNET_MTU_BYTES };

/// What a link needs to notice that its peer is gone, and to meet it again.
const SETTLES: Duration = Duration::from_secs(12);

/// The lives of the peer: the present one, and one that should have ended.
const LIVES: [(&str, Incarnation); 2] = [("present", Incarnation(2)), ("former", Incarnation(1))];

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The present (0) or the former (1) life of the peer sends a frame.
    Send(u8),
    /// The node that is heard sends the peer a frame.
    Answer,
    /// Somebody that is shut out sooner or later sends a frame.
    SendOutcast,
    /// It is shut out.
    Revoke,
    /// The host of a life of the peer is cut off for so many milliseconds.
    Cut(u8, u16),
    /// Nothing, for so many milliseconds.
    Wait(u16),
}

/// A case.
pub type Case = Steps<Step>;

/// The case of a seed.
#[must_use]
pub fn draw(seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut step = || match rng.random_range(0..20) {
        0..6 => Step::Send(rng.random_range(0..2)),
        6..8 => Step::Answer,
        8..11 => Step::SendOutcast,
        11 => Step::Revoke,
        12..14 => Step::Cut(rng.random_range(0..2), rng.random_range(0..6_000)),
        _ => Step::Wait(rng.random_range(0..2_000)),
    };
    let steps = (0..STEPS_MAX).map(|_| step()).collect();
    Case { seed, steps }
}

/// Runs a case.
///
/// # Panics
/// If a former life was heard after a later one, or somebody that was shut out.
pub fn run(case: &Case) {
    let mut course = Course::start(case.seed);
    for step in &case.steps {
        course.take(*step);
        course.step_for(Duration::from_millis(20));
    }
    course.step_for(SETTLES);
}

struct Course {
    sim: turmoil::Sim<'static>,
    heard: Heard,
    hearer: Orders,
    lives: [Orders; 2],
    outcast: Orders,
    cut: Vec<(Duration, &'static str)>,
    /// When the outcast was shut out.
    revoked: Option<Duration>,
    seen: usize,
}

impl Course {
    fn start(seed: u64) -> Self {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(std::time::UNIX_EPOCH + Duration::from_micros(EPOCH.0))
            .tick_duration(Duration::from_millis(1))
            .simulation_duration(Duration::from_secs(3_600))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(5))
            .udp_capacity(1_024)
            .build();
        let weather = Everywhere::new(seed, &[ETHERNET]);
        let air = Air::new(weather, DatagramLog::default());
        let heard = Heard::default();
        let hearer = node::add(&mut sim, &air, ("hearer", "hearer", Incarnation(1)), &heard);
        let [present, former] = LIVES;
        let lives = [present, former].map(|(host, incarnation)| {
            node::add(&mut sim, &air, (host, "peer", incarnation), &heard)
        });
        let outcast = ("outcast", "outcast", Incarnation(1));
        let outcast = node::add(&mut sim, &air, outcast, &heard);
        Self { sim, heard, hearer, lives, outcast, cut: Vec::new(), revoked: None, seen: 0 }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Send(life) => self.lives[usize::from(life)].send("hearer"),
            Step::Answer => self.hearer.send("peer"),
            Step::SendOutcast => self.outcast.send("hearer"),
            Step::Revoke => {
                self.hearer.revoke("outcast");
                self.revoked.get_or_insert(self.sim.elapsed() + Duration::from_millis(10));
            }
            Step::Cut(life, millis) => {
                let host = LIVES[usize::from(life)].0;
                self.sim.partition("hearer", host);
                self.cut.push((self.sim.elapsed() + Duration::from_millis(millis.into()), host));
            }
            Step::Wait(millis) => self.step_for(Duration::from_millis(millis.into())),
        }
    }

    fn step_for(&mut self, duration: Duration) {
        let end = self.sim.elapsed() + duration;
        while self.sim.elapsed() < end {
            if let Err(error) = self.sim.step() {
                panic!("a simulated host ended: {error}");
            }
            let now = self.sim.elapsed();
            for (_, host) in self.cut.extract_if(.., |(until, _)| *until <= now) {
                self.sim.repair("hearer", host);
            }
            self.judge(now);
        }
    }

    /// Holds what has been heard since the last look against what may be heard.
    fn judge(&mut self, now: Duration) {
        let all = self.heard.by("hearer");
        for (at, said) in all.iter().enumerate().skip(self.seen) {
            let before = &all[..at];
            let later = before
                .iter()
                .find(|other| other.from == said.from && other.incarnation > said.incarnation);
            assert!(
                later.is_none(),
                "a former life is not heard after a later one: {said:?} after {later:?}"
            );
            let shut_out = said.from == "outcast" && self.revoked.is_some_and(|at| now > at);
            assert!(!shut_out, "who is shut out is not heard: {said:?} at {now:?}");
        }
        self.seen = all.len();
    }
}
