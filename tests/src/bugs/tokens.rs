//! Tokens: users log in, change their scope, revoke and use tokens at any control node, while keys rotate and
//! messages are slow.

use std::{collections::BTreeMap, task::Poll, time::Duration};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use updraft_cloud::Control;
use updraft_harness::{
    fault::{DatabaseTrouble, Fault, FaultPlan, Target},
    world::{Links, Tier},
};

use crate::cloud::{Client, Menu, SimCloud, Size, TOKENS};

use super::Steps;

/// Most steps of a case.
const STEPS_MAX: usize = 40;

/// How long a token lives.
const LIFETIME: Duration = Duration::from_secs(60);

/// Within this time every control node knows what was revoked, however slow messages are here.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// How exact a token's end is: its time is in whole seconds.
const EXACT: Duration = Duration::from_secs(2);

/// How many tokens are revoked while a node's database is away, one after the other with this pause, and how long messages
/// take meanwhile: so long that one of them is under way when the node sees by itself what came after it.
const BEHIND_REVOKES: u8 = 16;
const BEHIND_BETWEEN: Duration = Duration::from_millis(100);
const BEHIND_SLOWNESS_MS: u16 = 400;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Somebody logs in.
    LogIn,
    /// Somebody gets another token by one of those there are.
    Rescope(u8),
    /// A token is revoked by itself.
    Revoke(u8),
    /// So many are made, and revoked one after the other at all control nodes, with so many milliseconds between, while
    /// messages take up to so many.
    Revokes(u8, u16, u16),
    /// As [`Step::Revokes`], while the database is away for this control node for so many milliseconds: what it knows
    /// comes from the others alone, until it is back.
    Behind(u8, u16),
    /// A token is used at this control node.
    Use(u8, u8),
    /// The keys are rotated.
    Rotate,
    /// Messages take up to so many milliseconds.
    Slowness(u16),
    /// Nothing, for so many milliseconds.
    Wait(u16),
}

/// A case.
pub type Case = Steps<Step>;

/// The case of a seed.
#[must_use]
pub fn draw(seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let steps = (0..rng.random_range(5..=STEPS_MAX)).map(|_| step(&mut rng)).collect();
    Case { seed, steps }
}

fn step(rng: &mut ChaCha8Rng) -> Step {
    match rng.random_range(0..20) {
        0..2 => Step::LogIn,
        2..4 => Step::Rescope(rng.random_range(0..8)),
        4 => Step::Revoke(rng.random_range(0..8)),
        5 => {
            let (count, between) = (rng.random_range(4..16), rng.random_range(20..200));
            Step::Revokes(count, between, rng.random_range(5..400))
        }
        6..13 => Step::Use(rng.random_range(0..8), rng.random_range(0..3)),
        13..15 => Step::Rotate,
        15..17 => Step::Slowness(rng.random_range(5..400)),
        17 => Step::Behind(rng.random_range(0..3), rng.random_range(100..3_000)),
        _ => Step::Wait(rng.random_range(0..15_000)),
    }
}

/// A token, and what is known of it.
struct Token {
    client: Client,
    issued: Duration,
    expires: Duration,
    revoked: Option<Duration>,
    refused_at: [bool; 3],
}

struct Course {
    cloud: SimCloud,
    tokens: Vec<Token>,
}

/// Runs a case.
///
/// # Panics
/// If a token passes that must not, or does not that must.
pub fn run(case: &Case) {
    let size = Size { token_lifetime: LIFETIME, ..Size::default() };
    let mut cloud = SimCloud::start(case.seed, Tier::Memory, size, &Menu::default());
    never_goes_back(&mut cloud);
    let first = Client::log_in(&mut cloud);
    let mut course = Course { cloud, tokens: Vec::new() };
    course.has(first, LIFETIME);
    for step in &case.steps {
        course.take(*step);
    }
    course.cloud.world.network().set_links(Links::default());
    course.wait(KNOWN_WITHIN);
    course.use_all();
    course.wait(LIFETIME + EXACT);
    course.use_all();
}

/// Looks at every moment at what each control node knows of users, keys and revocations.
fn never_goes_back(cloud: &mut SimCloud) {
    let controls = cloud.controls().to_vec();
    let mut known = BTreeMap::new();
    cloud.world.watch(move |world| {
        for node in &controls {
            let Some(control) = world.handle::<Control>(node) else { continue };
            let version = control.context().verifier.snapshot().version;
            let before = known.insert(node.clone(), version).unwrap_or_default();
            assert!(
                before <= version,
                "what is known of users never goes back: {node} went from {before} to {version}"
            );
        }
    });
}

impl Course {
    fn now(&self) -> Duration {
        self.cloud.world.now()
    }

    fn has(&mut self, client: Client, lasts: Duration) {
        let (issued, revoked) = (self.now(), None);
        let expires = issued + lasts;
        self.tokens.push(Token { client, issued, expires, revoked, refused_at: [false; 3] });
    }

    fn pick(&self, which: u8) -> usize {
        usize::from(which) % self.tokens.len()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::LogIn => {
                let client = Client::log_in(&mut self.cloud);
                self.has(client, LIFETIME);
            }
            Step::Rescope(which) => self.rescope(self.pick(which)),
            Step::Revoke(which) => self.revoke(self.pick(which)),
            Step::Revokes(count, millis, slow_ms) => {
                let clients = self.log_in_some(count);
                self.end_all(clients, Duration::from_millis(millis.into()), slow_ms);
            }
            Step::Behind(node, millis) => {
                self.be_behind(node, Duration::from_millis(millis.into()));
            }
            Step::Use(which, node) => self.use_at(self.pick(which), node),
            Step::Rotate => self.rotate(),
            Step::Slowness(millis) => self.set_slowness(millis),
            Step::Wait(millis) => self.wait(Duration::from_millis(millis.into())),
        }
    }

    fn set_slowness(&self, millis: u16) {
        let latency_max = Duration::from_millis(millis.into());
        self.cloud.world.network().set_links(Links { latency_max, ..Links::default() });
    }

    fn wait(&mut self, duration: Duration) {
        self.cloud.world.run_for(duration);
    }

    /// A token got by a token lasts as long as that one.
    fn rescope(&mut self, which: usize) {
        let old = &self.tokens[which];
        let (client, lasts) = (old.client.clone(), old.expires.saturating_sub(self.now()));
        if old.revoked.is_some() || lasts < EXACT {
            return;
        }
        if let Some(new) = client.rescoped(&mut self.cloud) {
            self.has(new, lasts);
        }
    }

    fn revoke(&mut self, which: usize) {
        let client = self.tokens[which].client.clone();
        let answer = client.revoke_itself(&mut self.cloud);
        if answer == Some(204) {
            let now = self.now();
            self.tokens[which].revoked.get_or_insert(now);
        }
    }

    fn log_in_some(&mut self, count: u8) -> Vec<Client> {
        (0..count).map(|_| Client::log_in(&mut self.cloud)).collect()
    }

    /// Revokes one after the other. Nobody waits for the answers, so that changes follow one another while nodes still
    /// hear of the first.
    fn end_all(&mut self, clients: Vec<Client>, between: Duration, slow_ms: u16) {
        self.set_slowness(slow_ms);
        for (node, client) in (0..).zip(clients) {
            // What is answered does not matter here.
            let end = ("DELETE", TOKENS);
            let _ = client.begin(&mut self.cloud, node % 3, end, "application/json", Vec::new());
            self.wait(between);
        }
        self.wait(Duration::from_secs(2));
    }

    fn be_behind(&mut self, node: u8, lasts: Duration) {
        let clients = self.log_in_some(BEHIND_REVOKES);
        let controls = self.cloud.controls();
        let nodes = Target::node(controls[usize::from(node) % controls.len()].as_str());
        let away = Fault::Database { nodes, percent: 100, trouble: DatabaseTrouble::Away };
        let begin = self.now();
        self.cloud.world.follow(FaultPlan::new(0).with(begin, begin + lasts, away));
        self.end_all(clients, BEHIND_BETWEEN, BEHIND_SLOWNESS_MS);
        self.wait(lasts);
    }

    fn use_at(&mut self, which: usize, node: u8) {
        let client = self.tokens[which].client.clone();
        let path = "/identity/v3/projects";
        let sent = self.now();
        let begun =
            client.begin(&mut self.cloud, node, ("GET", path), "application/json", Vec::new());
        let Some(mut request) = begun else { return };
        let answer = loop {
            match request.look(&self.cloud) {
                Poll::Ready(answer) => break answer,
                Poll::Pending => self.cloud.world.step(),
            }
        };
        let status = answer.map(|answer| answer.status);
        self.judge(which, node, sent, status);
    }

    fn judge(&mut self, which: usize, node: u8, sent: Duration, status: Option<u16>) {
        let now = self.now();
        let token = &mut self.tokens[which];
        let refused = status == Some(401);
        let passed = status == Some(200);
        let told = format!("token {which} of {:?} at control {node}: {status:?}", token.issued);
        let known = token.revoked.is_some_and(|at| sent >= at + KNOWN_WITHIN);
        let expired = sent >= token.expires + EXACT;
        assert!(!(known && passed), "a revoked token does not pass: {told}");
        assert!(!(expired && passed), "an expired token does not pass: {told}");
        let good = token.revoked.is_none() && now + EXACT < token.expires;
        assert!(!(good && refused), "a token that is good passes: {told}");
        let back = passed && token.refused_at[usize::from(node)] && token.revoked.is_some();
        assert!(
            !back,
            "a control node that has refused a revoked token goes on refusing it: {told}"
        );
        token.refused_at[usize::from(node)] |= refused;
    }

    fn rotate(&mut self) {
        let Some((node, rotated)) = self.cloud.rotation() else { return };
        let _ = self.cloud.world.on(&node, Duration::from_secs(15), rotated);
    }

    fn use_all(&mut self) {
        for which in 0..self.tokens.len() {
            for node in 0..3 {
                self.use_at(which, node);
            }
        }
    }
}
