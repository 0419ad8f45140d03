//! A run as a page that opens by double click: who sent what to whom, what went wrong when, and which check failed.
//!
//! One file without anything from outside. Owns how a record is packed into it; what is drawn is in `timeline/`: the page,
//! its style, and a script in four parts. A frame is a row of numbers, so that a hundred thousand of them stay a page that
//! a browser opens.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::{Value, json};
use updraft_transport::NodeId;

use crate::record::{Asked, End, Fate, Heading, Record, Sent, Turn, What};

const PAGE: &str = include_str!("timeline/page.html");

/// What stands in the page for its style.
const STYLE: (&str, &str) = ("/*STYLE*/", include_str!("timeline/style.css"));

/// What stands in the page for its script.
const SCRIPT: &str = "/*SCRIPT*/";

/// Each part uses what those before it name.
const PARTS: [&str; 4] = [
    include_str!("timeline/run.js"),
    include_str!("timeline/scene.js"),
    include_str!("timeline/panel.js"),
    include_str!("timeline/hands.js"),
];

/// What stands in the script where the run's data go.
const DATA: &str = "/*DATA*/null";

/// What is said above the picture.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Told {
    /// The run's name.
    pub title: String,
    /// The check that failed.
    pub check: String,
    /// Why the run failed, in words.
    pub why: String,
    /// The plan, as it prints.
    pub plan: String,
    /// How to see it again.
    pub again: String,
}

/// The page of a run.
#[must_use]
pub fn page(told: &Told, records: &[Record]) -> String {
    let mut packed = Packed::default();
    records.iter().for_each(|record| packed.add(record));
    let json = json!({"told": told, "run": packed.finish()}).to_string();
    // Nothing that the data say may end the script that holds them.
    let script = PARTS.concat().replace(DATA, &json.replace("</", "<\\/"));
    PAGE.replace(STYLE.0, STYLE.1).replace(SCRIPT, &script)
}

/// Texts by number.
#[derive(Default)]
struct Texts {
    numbers: BTreeMap<String, usize>,
    texts: Vec<String>,
}

impl Texts {
    fn number(&mut self, text: &str) -> usize {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        self.numbers.insert(text.to_owned(), self.texts.len());
        self.texts.push(text.to_owned());
        self.texts.len() - 1
    }
}

/// What a frame is known by at both ends of its way: between whom, its heading, and a hash of its body.
fn key(sent: &Sent) -> String {
    format!("{sent} {:?}", sent.heading.as_ref().map(|heading| heading.incarnation))
}

/// A record as the page reads it; all times are microseconds.
#[derive(Default)]
struct Packed {
    hosts: Texts,
    words: Texts,
    last: u64,
    end: u64,
    /// Of each frame: time since the frame before, sender, receiver, class, kind, method, id, bytes, delays, trace.
    frames: Vec<Value>,
    /// Of those whose arrival is told by itself: which they are, and when they were sent.
    under_way: BTreeMap<String, VecDeque<(usize, u64)>>,
    /// Of each: time, host, whether it runs from then on.
    lives: Vec<(u64, usize, bool)>,
    /// Of each: time, whether it begins, words.
    faults: Vec<(u64, bool, String)>,
    /// Of each: time, kind and id, state.
    rows: Vec<(u64, usize, usize)>,
    steps: Vec<(u64, String)>,
    /// Of each: time, host, number, words.
    asked: Vec<(u64, usize, u64, String)>,
    /// The same, and whether it is a refusal.
    answered: Vec<(u64, usize, u64, String, bool)>,
    notes: Vec<(u64, String)>,
    violated: Vec<(u64, String, String)>,
}

impl Packed {
    fn add(&mut self, record: &Record) {
        let at = u64::try_from(record.at.as_micros()).unwrap_or(u64::MAX);
        self.end = self.end.max(at);
        match &record.what {
            What::Frame(sent) => self.frame(at, sent),
            What::Passed(sent, End::Sender) => {
                self.under_way.entry(key(sent)).or_default().push_back((self.frames.len(), at));
                self.frame(at, sent);
            }
            What::Passed(sent, End::Receiver) => self.arrived(at, sent),
            What::Node(node, turn) => {
                let host = self.host(node);
                self.lives.push((at, host, *turn != Turn::Crashed));
            }
            What::FaultBegins(words) => self.faults.push((at, true, words.clone())),
            What::FaultEnds(words) => self.faults.push((at, false, words.clone())),
            What::Row(row) => {
                let key = self.words.number(&format!("{} {}", row.kind, row.id));
                let state = self.words.number(&row.state);
                self.rows.push((at, key, state));
            }
            What::Violated { check, words } => {
                self.violated.push((at, check.clone(), words.clone()));
            }
            What::Step(words) => self.steps.push((at, words.clone())),
            What::Asked(asked) => {
                let host = self.host(&asked.node);
                self.asked.push((at, host, asked.number, asked.words.clone()));
            }
            What::Answered(answered, fate) => {
                let Asked { node, number, words } = answered;
                let refused = *fate == Fate::Refused;
                let host = self.host(node);
                self.answered.push((at, host, *number, words.clone(), refused));
            }
            What::Note(line) => self.notes.push((at, line.clone())),
            // Only for comparing runs.
            What::Datagram(_) | What::Drawn { .. } => {}
        }
    }

    fn host(&mut self, node: &NodeId) -> usize {
        self.hosts.number(node.as_str())
    }

    fn frame(&mut self, at: u64, sent: &Sent) {
        let (from, to) = (self.host(&sent.from), self.host(&sent.to));
        let class = self.words.number(&format!("{:?}", sent.class));
        let (kind, method, id, trace) = match &sent.heading {
            Some(Heading { kind, method, id, trace, .. }) => {
                (format!("{kind:?}"), method.as_str(), *id, trace.as_str())
            }
            None => ("Body".to_owned(), "", 0, ""),
        };
        let [kind, method, trace] = [&kind, method, trace].map(|text| self.words.number(text));
        let delays: Vec<_> = sent.delays.iter().map(std::time::Duration::as_micros).collect();
        // A frame may be told a little later than one of another node that was sent after it.
        let since = i128::from(at) - i128::from(self.last);
        self.last = at;
        let row = json!([since, from, to, class, kind, method, id, sent.bytes, delays, trace]);
        self.frames.push(row);
    }

    /// The first of its kind that has not arrived yet has now.
    fn arrived(&mut self, at: u64, sent: &Sent) {
        let first = self.under_way.get_mut(&key(sent)).and_then(VecDeque::pop_front);
        let Some((number, sent_at)) = first else { return };
        if let Some(Value::Array(delays)) =
            self.frames.get_mut(number).and_then(|row| row.get_mut(8))
        {
            delays.push(json!(at.saturating_sub(sent_at)));
        }
    }

    fn finish(self) -> Value {
        json!({
            "hosts": self.hosts.texts,
            "words": self.words.texts,
            "end": self.end,
            "frames": self.frames,
            "lives": self.lives,
            "faults": self.faults,
            "rows": self.rows,
            "steps": self.steps,
            "asked": self.asked,
            "answered": self.answered,
            "notes": self.notes,
            "violated": self.violated,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use updraft_transport::{Class, Kind};

    use super::*;
    use crate::world::Verdict;

    #[test]
    fn what_arrives_by_itself_is_put_to_what_was_sent() {
        let [a, b] = ["a", "b"].map(|name| NodeId::new(name).unwrap());
        let sent = |from: &NodeId, to: &NodeId, id| {
            Box::new(Sent {
                from: from.clone(),
                to: to.clone(),
                class: Class::Calls,
                bytes: 1,
                hash: 7,
                delays: Vec::new(),
                verdict: Verdict::Pass,
                heading: Some(Heading {
                    kind: Kind::Call,
                    method: "t/m".to_owned(),
                    id,
                    incarnation: 1,
                    trace: String::new(),
                }),
            })
        };
        let passed =
            |ms, sent, end| Record { at: Duration::from_millis(ms), what: What::Passed(sent, end) };
        let mut packed = Packed::default();
        for record in [
            passed(1, sent(&a, &b, 1), End::Sender),
            passed(2, sent(&a, &b, 1), End::Sender),
            passed(2, sent(&a, &b, 2), End::Sender),
            passed(5, sent(&a, &b, 1), End::Receiver),
            passed(9, sent(&a, &b, 1), End::Receiver),
            passed(9, sent(&b, &a, 2), End::Receiver),
        ] {
            packed.add(&record);
        }
        let delays: Vec<_> = packed.frames.iter().map(|frame| frame[8].clone()).collect();
        assert_eq!(delays, [json!([4_000]), json!([7_000]), json!([])]);
    }

    #[test]
    fn the_page_holds_the_run_and_nothing_in_it_ends_the_script() {
        let note = What::Note("</script><b>".to_owned());
        let records = [Record { at: Duration::from_millis(3), what: note }];
        let told = Told { check: "one at most".to_owned(), ..Told::default() };
        let page = page(&told, &records);
        assert!(page.contains("one at most") && page.contains("[3000,"), "the data are not in it");
        assert!(!page.contains("</script><b>"), "the data end the script");
        for place in [DATA, SCRIPT, STYLE.0] {
            assert!(!page.contains(place), "{place} still stands there");
        }
        let outside = ["http://", "https://", "src=", "@import"];
        assert!(!outside.iter().any(|word| page.contains(word)), "it needs something from outside");
    }
}
