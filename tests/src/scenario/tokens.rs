//! Tokens: a user logs in, changes scope and password, revokes and uses tokens at any control node, all at once, while
//! keys rotate, clocks differ, and the network and the nodes fail. What must pass does, and what must not does not.

use std::{fmt, task::Poll, time::Duration};

use proptest::{collection, prelude::*};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use updraft_harness::{
    campaign::{Options, Run, Scenario},
    fault::{ClockTrouble, Fault, FaultKind, FaultStep, Target, Targets},
};

use super::{Case, drawn};
use crate::{
    cloud::{self, Answer, Client, Menu, PASSWORD, Pending, SimCloud, Size, TOKENS},
    flow,
};

/// Most steps of a case.
const STEPS_MAX: usize = 60;

/// For how long things go wrong.
const FAULTS_MAX: Duration = Duration::from_secs(40);

/// How long a token lives.
const LIFETIME: Duration = Duration::from_secs(60);

/// How far a control node's clock is wrong at most, either way.
const SKEW_MAX_MS: i64 = 10_000;

/// Between two clocks twice that, and a token's times are in whole seconds.
const EXACT: Duration = Duration::from_secs(22);

/// Within this time every control node that can reach the database knows what was revoked: it asks each second, and some of
/// its questions are lost.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);

/// How long a rotation may take.
const ROTATES: Duration = Duration::from_secs(30);

const NODES: [&str; 4] = ["control-1", "control-2", "control-3", "compute-1"];

/// Who logs in.
const USER: &str = "kim";

/// What the user asks for with a token.
const SERVERS: &str = "/compute/v2.1/servers";

/// What a token's own cloud may do wrong here. Whoever sleeps through a revocation, or cannot ask the database, cannot know
/// of it; clocks are wrong all the time, each by its own.
const NOT_HERE: [FaultKind; 10] = [
    FaultKind::Pause,
    FaultKind::Skew,
    FaultKind::Drift,
    FaultKind::Jump,
    FaultKind::DatabaseAway,
    FaultKind::LostBeforeCommit,
    FaultKind::UnknownNotApplied,
    FaultKind::UnknownApplied,
    FaultKind::Conflict,
    FaultKind::SlowCommit,
];

/// The scenario.
pub struct Tokens;

/// Something that happens at a control node, or at the next that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// How long after the one before it, in milliseconds.
    pub after_ms: u16,
    /// Where.
    pub control: u8,
    /// What.
    pub act: Act,
}

/// What happens. A small number picks one of the tokens, by counting around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// The user logs in.
    LogIn,
    /// The user gets another token by one.
    Rescope(u8),
    /// A token is used.
    Use(u8),
    /// A token is revoked by itself.
    Revoke(u8),
    /// The user gets another password, which ends all tokens.
    ChangePassword,
    /// The keys are rotated.
    Rotate,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after_ms, control, act } = self;
        write!(f, "after {after_ms} ms, control-{}: {act:?}", control + 1)
    }
}

impl Scenario for Tokens {
    type Case = Case<Step>;

    fn name(&self) -> &'static str {
        "tokens"
    }

    fn about(&self) -> &'static str {
        "tokens are issued, used and revoked while keys rotate, clocks differ and anything fails"
    }

    fn faults(&self) -> Vec<&'static str> {
        let here = |kind: &&FaultKind| !NOT_HERE.contains(kind) || **kind == FaultKind::Skew;
        FaultKind::ALL.iter().filter(here).map(|kind| kind.name()).collect()
    }

    fn marks(&self) -> &'static [&'static str] {
        &[
            "passed",
            "passed after a rotation of the keys",
            "refused because it was revoked",
            "refused after another password",
            "refused because it is old",
        ]
    }

    fn covers(&self) -> &'static [&'static str] {
        &["updraft_identity"]
    }

    fn draw(&self, seed: u64, options: &Options) -> Case<Step> {
        let steps = collection::vec(step(), 10..=STEPS_MAX);
        let mut case = Case::draw(seed, options, &steps, targets());
        if options.faults.contains(FaultKind::Skew.name()) {
            case.faults.steps.extend(clocks(seed));
        }
        case
    }

    fn run(&self, case: &Case<Step>, run: &Run) {
        let mut course = Course::begin(case.seed, run);
        let faults = case.faults.clone().later(course.now());
        let over = faults.ends().min(course.now() + FAULTS_MAX);
        course.cloud.world.follow(faults);
        for step in &case.steps {
            course.run_for(Duration::from_millis(step.after_ms.into()));
            course.cloud.world.tell_step(step);
            course.take(*step);
        }
        course.run_for(over.saturating_sub(course.now()) + KNOWN_WITHIN);
        course.use_all();
        course.run_for(LIFETIME + EXACT);
        course.use_all();
        for (kind, times) in course.cloud.world.struck() {
            run.struck(&kind.to_string(), times);
        }
    }

    fn smaller(&self, case: &Case<Step>) -> Vec<Case<Step>> {
        case.smaller(&targets())
    }
}

fn targets() -> Targets {
    Targets::new(&NODES, FAULTS_MAX).without(&NOT_HERE)
}

/// Each control node's clock is wrong by as much all the time.
fn clocks(seed: u64) -> Vec<FaultStep> {
    let skews = collection::vec(-SKEW_MAX_MS..=SKEW_MAX_MS, 3);
    let clock = |(node, ms): (&str, i64)| FaultStep {
        from: Duration::ZERO,
        until: FOR_EVER,
        fault: Fault::Clock { nodes: Target::node(node), trouble: ClockTrouble::Skew { ms } },
    };
    NODES.into_iter().zip(drawn(&skews, seed)).map(clock).collect()
}

/// Longer than any case.
const FOR_EVER: Duration = Duration::from_secs(3_600);

fn step() -> impl Strategy<Value = Step> {
    let act = prop_oneof![
        3 => Just(Act::LogIn),
        2 => any::<u8>().prop_map(Act::Rescope),
        9 => any::<u8>().prop_map(Act::Use),
        2 => any::<u8>().prop_map(Act::Revoke),
        1 => Just(Act::ChangePassword),
        2 => Just(Act::Rotate),
    ];
    let after_ms = prop_oneof![3 => 0..50_u16, 2 => 0..6_000_u16];
    (after_ms, 0..3_u8, act).prop_map(|(after_ms, control, act)| Step { after_ms, control, act })
}

/// From when something was asked for until its answer came.
#[derive(Clone, Copy, Debug)]
struct Span {
    asked: Duration,
    /// Nothing as long as nobody knows whether it was done.
    done: Option<Duration>,
}

struct Token {
    client: Client,
    /// When it was asked for; the first of its chain, whose end it shares.
    first_asked: Duration,
    /// The same, and when it came.
    issued: (Duration, Duration),
    revoked: Option<Span>,
    rotations: usize,
}

struct Waiting {
    act: Act,
    /// The token that is used, or asked with.
    token: Option<usize>,
    request: Pending,
}

struct Course<'a> {
    run: &'a Run,
    cloud: SimCloud,
    user_path: String,
    passwords: usize,
    changes: Vec<Span>,
    rotations: usize,
    tokens: Vec<Token>,
    waiting: Vec<Waiting>,
}

impl<'a> Course<'a> {
    fn begin(seed: u64, run: &'a Run) -> Self {
        let size = Size { hosts: 1, token_lifetime: LIFETIME, ..Size::default() };
        let mut cloud = SimCloud::start(seed, run.tier(), size, &Menu::default());
        let admin = Client::log_in(&mut cloud);
        let first = flow::member(&mut cloud, &admin, USER);
        let found =
            admin.must(&mut cloud, "GET", &format!("/identity/v3/users?name={USER}"), Value::Null);
        let id = found["users"][0]["id"].as_str().unwrap_or_default();
        let user_path = format!("/identity/v3/users/{id}");
        let now = cloud.world.now();
        let (issued, first_asked) = ((now, now), now);
        let first = Token { client: first, first_asked, issued, revoked: None, rotations: 0 };
        Self {
            run,
            cloud,
            user_path,
            passwords: 0,
            changes: Vec::new(),
            rotations: 0,
            tokens: vec![first],
            waiting: Vec::new(),
        }
    }

    fn now(&self) -> Duration {
        self.cloud.world.now()
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now() + duration;
        while self.now() < end {
            self.cloud.world.step();
            self.look();
        }
        self.cloud.restart_failed();
    }

    fn password(&self) -> String {
        if self.passwords == 0 { USER.to_owned() } else { format!("secret-{}", self.passwords) }
    }

    fn take(&mut self, Step { control, act, .. }: Step) {
        let pick = |which: u8| usize::from(which) % self.tokens.len();
        match act {
            Act::LogIn => {
                self.ask(act, control, &Client::nobody(), None, &log_in(USER, &self.password()));
            }
            Act::Rescope(which) => {
                let by = pick(which);
                let body = json!({"auth": {"identity": {"methods": ["token"],
                    "token": {"id": self.tokens[by].client.token()}}, "scope": scope(USER)}});
                self.ask(act, control, &Client::nobody(), Some(by), &("POST", TOKENS, body));
            }
            Act::Use(which) => self.use_at(pick(which), control),
            Act::Revoke(which) => {
                let which = pick(which);
                let client = self.tokens[which].client.clone();
                let asked = self.now();
                self.tokens[which].revoked.get_or_insert(Span { asked, done: None });
                self.ask(act, control, &client, Some(which), &("DELETE", TOKENS, Value::Null));
            }
            Act::ChangePassword => self.change_password(control),
            Act::Rotate => self.rotate(),
        }
    }

    fn use_at(&mut self, which: usize, control: u8) {
        let client = self.tokens[which].client.clone();
        let act = Act::Use(u8::try_from(which).unwrap_or_default());
        self.ask(act, control, &client, Some(which), &("GET", SERVERS, Value::Null));
    }

    fn change_password(&mut self, control: u8) {
        // One after the other, so that it is known which password is the last.
        if self.waiting.iter().any(|waiting| waiting.act == Act::ChangePassword) {
            return;
        }
        let Some(admin) = self.administrator() else { return };
        self.passwords += 1;
        self.changes.push(Span { asked: self.now(), done: None });
        let body = json!({"user": {"password": self.password()}});
        let path = self.user_path.clone();
        self.ask(Act::ChangePassword, control, &admin, None, &("PATCH", &path, body));
    }

    /// The administrator, if it is let in now.
    fn administrator(&mut self) -> Option<Client> {
        let (method, path, body) = log_in("admin", PASSWORD);
        let answer = Client::nobody().send(&mut self.cloud, method, path, body)?;
        Some(Client::with(answer.subject_token?))
    }

    fn rotate(&mut self) {
        let Some((node, rotated)) = self.cloud.rotation() else { return };
        if self.cloud.world.on(&node, ROTATES, rotated) == Some(true) {
            self.rotations += 1;
        }
    }

    fn use_all(&mut self) {
        for which in 0..self.tokens.len() {
            for control in 0..3 {
                self.use_at(which, control);
            }
        }
        while !self.waiting.is_empty() {
            self.run_for(Duration::from_millis(10));
        }
    }

    fn ask(
        &mut self,
        act: Act,
        control: u8,
        client: &Client,
        token: Option<usize>,
        (method, path, body): &(&str, &str, Value),
    ) {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let begun =
            client.begin(&mut self.cloud, control, (method, path), "application/json", body);
        self.waiting.extend(begun.map(|request| Waiting { act, token, request }));
    }

    /// Takes the answers that have come.
    fn look(&mut self) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.request.look(&self.cloud) {
                Poll::Pending => self.waiting.push(waiting),
                Poll::Ready(Some(answer)) => self.hear(&waiting, &answer),
                Poll::Ready(None) => self.run.count(&format!("{} never", word(waiting.act))),
            }
        }
    }

    fn hear(&mut self, waiting: &Waiting, answer: &Answer) {
        let (status, now) = (answer.status, self.now());
        self.run.count(&format!("{} {status}", word(waiting.act)));
        match (waiting.act, waiting.token) {
            (Act::LogIn | Act::Rescope(_), by) => self.has(waiting, by, answer),
            (Act::Use(_), Some(which)) => self.judge(which, waiting, status),
            (Act::Revoke(_), Some(which)) if status == 204 => {
                let asked = waiting.request.asked();
                let revoked = self.tokens[which].revoked.get_or_insert(Span { asked, done: None });
                revoked.done.get_or_insert(now);
            }
            (Act::ChangePassword, _) if (200..300).contains(&status) => {
                if let Some(change) = self.changes.last_mut() {
                    change.done = Some(now);
                }
            }
            _ => {}
        }
    }

    fn has(&mut self, waiting: &Waiting, by: Option<usize>, answer: &Answer) {
        let Some(token) = answer.subject_token.clone().filter(|_| answer.status == 201) else {
            return;
        };
        let first_asked = by.map_or(waiting.request.asked(), |by| self.tokens[by].first_asked);
        self.tokens.push(Token {
            client: Client::with(token),
            first_asked,
            issued: (waiting.request.asked(), self.now()),
            revoked: None,
            rotations: self.rotations,
        });
    }

    fn judge(&self, which: usize, waiting: &Waiting, status: u16) {
        let (asked, now) = (waiting.request.asked(), self.now());
        let token = &self.tokens[which];
        let (begun, came) = token.issued;
        let told = format!(
            "token {which}, asked for at {begun:?}, come at {came:?}, revoked {:?}, passwords {:?}, is answered with \
             {status} by {} at {now:?}, asked at {asked:?}",
            token.revoked,
            self.changes,
            waiting.request.node()
        );
        let known = |span: &Span| span.done.is_some_and(|done| asked >= done + KNOWN_WITHIN);
        let ended = self.changes.iter().any(|change| came < change.asked && known(change));
        let may_have_ended = self
            .changes
            .iter()
            .any(|change| change.done.is_none_or(|done| done >= begun) && change.asked <= now);
        let ends = token.first_asked + LIFETIME;
        match status {
            200 => {
                let must_not = [
                    (token.revoked.as_ref().is_some_and(known), "a revoked token does not pass"),
                    (ended, "a token of a former password does not pass"),
                    (asked > ends + EXACT, "an expired token does not pass"),
                ];
                self.complain(&must_not, &told);
                self.run.reached("passed");
                if self.rotations > token.rotations {
                    self.run.reached("passed after a rotation of the keys");
                }
            }
            401 => {
                let old = now + EXACT >= ends;
                let good = token.revoked.is_none() && !may_have_ended && !old;
                self.complain(&[(good, "a token that is good passes")], &told);
                match (&token.revoked, may_have_ended, old) {
                    (Some(_), false, false) => self.run.reached("refused because it was revoked"),
                    (None, true, false) => self.run.reached("refused after another password"),
                    (None, false, true) => self.run.reached("refused because it is old"),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn complain(&self, broken: &[(bool, &str)], told: &str) {
        for (is_so, check) in broken {
            if *is_so {
                self.run.violated(check, told);
            }
        }
    }
}

/// The project has the name of its user.
fn scope(name: &str) -> Value {
    json!({"project": {"name": name, "domain": {"id": "default"}}})
}

fn log_in(name: &str, password: &str) -> (&'static str, &'static str, Value) {
    ("POST", TOKENS, cloud::log_in(name, name, password))
}

fn word(act: Act) -> &'static str {
    match act {
        Act::LogIn => "LogIn",
        Act::Rescope(_) => "Rescope",
        Act::Use(_) => "Use",
        Act::Revoke(_) => "Revoke",
        Act::ChangePassword => "ChangePassword",
        Act::Rotate => "Rotate",
    }
}
