//! Names that many users give to the same few things at once, by whichever control node: every answer must be one that
//! could have come had they asked one after the other.

use std::{fmt, task::Poll, time::Duration};

use proptest::{collection, prelude::*};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use updraft_harness::{
    campaign::{Options, Run, Scenario},
    fault::Targets,
    history::{Called, History, Spec},
};

use super::Case;
use crate::cloud::{Answer, Client, Menu, Pending, SimCloud, Size};

/// Most requests of a case.
const ASKS_MAX: usize = 60;

/// For how long things go wrong.
const FAULTS_MAX: Duration = Duration::from_secs(20);

/// The nodes that faults may meet.
const NODES: [&str; 4] = ["control-1", "control-2", "control-3", "compute-1"];

/// What everything is called in the beginning.
const FIRST: &str = "first";

/// The scenario.
pub struct Names;

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// How long after the one before it, in milliseconds.
    pub after_ms: u16,
    /// By which control node, or by the next that runs.
    pub control: u8,
    /// Of which thing.
    pub thing: u8,
    /// What of it.
    pub what: What,
}

/// What is asked of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// To be called otherwise.
    Rename,
    /// How it is called.
    Read,
    /// To be gone; those whose end takes a while are read instead.
    Delete,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after_ms, control, thing, what } = self;
        write!(f, "after {after_ms} ms, control-{}: {what:?} {thing}", control + 1)
    }
}

impl Scenario for Names {
    type Case = Case<Ask>;

    fn name(&self) -> &'static str {
        "names"
    }

    fn about(&self) -> &'static str {
        "users rename, read and delete the same few things at once, and no answer contradicts another"
    }

    fn faults(&self) -> Vec<&'static str> {
        super::kinds()
    }

    fn marks(&self) -> &'static [&'static str] {
        &["read, renamed meanwhile", "renamed, with an unknown end", "read once it was deleted"]
    }

    fn draw(&self, seed: u64, options: &Options) -> Case<Ask> {
        Case::draw(seed, options, &collection::vec(ask(), 10..=ASKS_MAX), targets())
    }

    fn run(&self, case: &Case<Ask>, run: &Run) {
        let mut users = Users::begin(case.seed, run);
        let faults = case.faults.clone().later(users.cloud.world.now());
        let over = faults.ends();
        users.cloud.world.follow(faults);
        for (number, ask) in case.steps.iter().enumerate() {
            users.run_for(Duration::from_millis(ask.after_ms.into()));
            users.cloud.world.tell_step(ask);
            users.ask(number, *ask);
        }
        users.run_for(over.saturating_sub(users.cloud.world.now()));
        users.hear_all();
        // What everything is called once nothing goes wrong any more.
        for thing in 0..users.things.len() {
            let thing = u8::try_from(thing).unwrap_or_default();
            users.ask(case.steps.len(), Ask { after_ms: 0, control: 0, thing, what: What::Read });
        }
        users.hear_all();
        users.end();
    }

    fn smaller(&self, case: &Case<Ask>) -> Vec<Case<Ask>> {
        case.smaller(&targets())
    }
}

fn targets() -> Targets {
    Targets::new(&NODES, FAULTS_MAX)
}

fn ask() -> impl Strategy<Value = Ask> {
    let what = prop_oneof![5 => Just(What::Rename), 6 => Just(What::Read), 1 => Just(What::Delete)];
    // Most come while the one before is under way.
    let after_ms = prop_oneof![4 => 0..30_u16, 1 => 0..2_000_u16];
    (after_ms, 0..3_u8, 0..KINDS.len(), what).prop_map(|(after_ms, control, thing, what)| Ask {
        after_ms,
        control,
        thing: u8::try_from(thing).unwrap_or_default(),
        what,
    })
}

/// A kind of things that have names.
struct Kind {
    path: &'static str,
    /// What the API calls one.
    noun: &'static str,
    /// Whether its name stands in a document of its noun, as it does but for images.
    wrapped: bool,
    /// How it is changed.
    method: &'static str,
    /// Whether it is gone once its end is promised.
    goes_at_once: bool,
}

const KINDS: [Kind; 5] = [
    Kind {
        path: "/networking/v2.0/networks",
        noun: "network",
        wrapped: true,
        method: "PUT",
        goes_at_once: true,
    },
    Kind {
        path: "/networking/v2.0/security-groups",
        noun: "security_group",
        wrapped: true,
        method: "PUT",
        goes_at_once: true,
    },
    Kind {
        path: "/volume/v3/volumes",
        noun: "volume",
        wrapped: true,
        method: "PUT",
        goes_at_once: false,
    },
    Kind {
        path: "/image/v2/images",
        noun: "image",
        wrapped: false,
        method: "PATCH",
        goes_at_once: false,
    },
    Kind {
        path: "/identity/v3/projects",
        noun: "project",
        wrapped: true,
        method: "PATCH",
        goes_at_once: true,
    },
];

impl Kind {
    /// The document that makes one.
    fn make(&self) -> Value {
        match self.noun {
            "volume" => json!({"volume": {"name": FIRST, "size": 1}}),
            "image" => json!({"name": FIRST, "disk_format": "raw", "container_format": "bare"}),
            noun => json!({noun: {"name": FIRST}}),
        }
    }

    /// The document that renames one.
    fn rename(&self, name: &str) -> (&'static str, Value) {
        if self.wrapped {
            return ("application/json", json!({self.noun: {"name": name}}));
        }
        let patch = json!([{"op": "replace", "path": "/name", "value": name}]);
        ("application/openstack-images-v2.1-json-patch", patch)
    }

    /// The part of an answer that is about one.
    fn of<'a>(&self, body: &'a Value) -> &'a Value {
        if self.wrapped { &body[self.noun] } else { body }
    }
}

/// What is done to a thing.
#[derive(Clone, Debug)]
struct Act {
    thing: u8,
    does: Does,
}

#[derive(Clone, Debug)]
enum Does {
    Rename(String),
    Read,
    Delete,
}

/// What somebody is told.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Name(String),
    Gone,
    Deleted,
}

/// A thing that has a name until it is deleted.
struct Named;

impl Spec for Named {
    type State = Option<String>;
    type Op = Act;
    type Return = Told;

    fn apply(state: &mut Option<String>, op: &Act) -> Told {
        let Some(name) = state else { return Told::Gone };
        match &op.does {
            Does::Rename(new) => {
                name.clone_from(new);
                Told::Name(name.clone())
            }
            Does::Read => Told::Name(name.clone()),
            Does::Delete => {
                *state = None;
                Told::Deleted
            }
        }
    }
}

struct Waiting {
    act: Act,
    called: Called,
    request: Pending,
}

struct Users<'a> {
    run: &'a Run,
    cloud: SimCloud,
    client: Client,
    /// The id of one of each of [`KINDS`].
    things: Vec<String>,
    history: History<Named>,
    waiting: Vec<Waiting>,
}

impl<'a> Users<'a> {
    fn begin(seed: u64, run: &'a Run) -> Self {
        let size = Size { hosts: 1, ..Size::default() };
        let mut cloud = SimCloud::start(seed, run.tier(), size, &Menu::default());
        let client = Client::log_in(&mut cloud);
        let things = KINDS.iter().map(|kind| {
            let made = client.must(&mut cloud, "POST", kind.path, kind.make());
            kind.of(&made)["id"].as_str().unwrap_or_default().to_owned()
        });
        let things = things.collect();
        Self { run, cloud, client, things, history: History::default(), waiting: Vec::new() }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.cloud.world.now() + duration;
        while self.cloud.world.now() < end {
            self.cloud.world.step();
            self.look();
        }
        self.cloud.restart_failed();
    }

    /// Goes on until everybody has an answer, or has given up.
    fn hear_all(&mut self) {
        while !self.waiting.is_empty() {
            self.run_for(Duration::from_millis(10));
        }
    }

    fn ask(&mut self, number: usize, ask: Ask) {
        let (kind, id) = (&KINDS[usize::from(ask.thing)], &self.things[usize::from(ask.thing)]);
        let path = format!("{}/{id}", kind.path);
        let does = match ask.what {
            What::Rename => Does::Rename(format!("name-{number}")),
            What::Delete if kind.goes_at_once => Does::Delete,
            What::Delete | What::Read => Does::Read,
        };
        let (method, (content_type, body)) = match &does {
            Does::Rename(name) => (kind.method, kind.rename(name)),
            Does::Read => ("GET", ("application/json", Value::Null)),
            Does::Delete => ("DELETE", ("application/json", Value::Null)),
        };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let begun =
            self.client.begin(&mut self.cloud, ask.control, (method, &path), content_type, body);
        let Some(request) = begun else { return };
        let act = Act { thing: ask.thing, does };
        let called = self.history.call(&format!("{number} by {}", request.node()), act.clone());
        self.waiting.push(Waiting { act, called, request });
    }

    /// Takes the answers that have come.
    fn look(&mut self) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.request.look(&self.cloud) {
                Poll::Pending => self.waiting.push(waiting),
                Poll::Ready(Some(answer)) => self.hear(&waiting, &answer),
                Poll::Ready(None) => self.miss(&waiting),
            }
        }
    }

    fn miss(&self, Waiting { act, called, .. }: &Waiting) {
        self.run.count(&format!("{} never", word(act)));
        if matches!(act.does, Does::Rename(_)) {
            self.run.reached("renamed, with an unknown end");
        }
        self.history.unknown(*called);
    }

    fn hear(&self, waiting: &Waiting, answer: &Answer) {
        let Waiting { act, called, .. } = waiting;
        self.run.count(&format!("{} {}", word(act), answer.status));
        let kind = &KINDS[usize::from(act.thing)];
        let told = match answer.status {
            204 => Told::Deleted,
            404 => Told::Gone,
            200..300 => {
                let name = kind.of(&answer.body)["name"].as_str();
                Told::Name(name.unwrap_or_default().to_owned())
            }
            // Who was told no, was told so before anything was done.
            400..500 => return self.history.refused(*called),
            _ => return self.history.unknown(*called),
        };
        self.mark(waiting, &told);
        self.history.returns(*called, told);
    }

    fn mark(&self, waiting: &Waiting, told: &Told) {
        let renames = |other: &Waiting| {
            other.act.thing == waiting.act.thing && matches!(other.act.does, Does::Rename(_))
        };
        match (&waiting.act.does, told) {
            (Does::Read, Told::Gone) => self.run.reached("read once it was deleted"),
            (Does::Read, _) if self.waiting.iter().any(renames) => {
                self.run.reached("read, renamed meanwhile");
            }
            _ => {}
        }
    }

    fn end(self) {
        let Self { run, cloud, history, .. } = self;
        if let Err(wrong) = history.check_each(|act| act.thing, &Some(FIRST.to_owned())) {
            run.violated("what users are told has an order", &wrong.to_string());
        }
        for (kind, times) in cloud.world.struck() {
            run.struck(&kind.to_string(), times);
        }
    }
}

fn word(act: &Act) -> &'static str {
    match act.does {
        Does::Rename(_) => "Rename",
        Does::Read => "Read",
        Does::Delete => "Delete",
    }
}
