//! A cloud that is upgraded node by node, and back: nodes of two wire versions talk, and nothing is misread.

use updraft_transport::wire::WireVersion;

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const FORMER: WireVersions = WireVersions { min: WireVersion::ONE, max: WireVersion::ONE };
const LATER: WireVersions = WireVersions { min: WireVersion::ONE, max: WireVersion::TWO };
/// Between two restarts: long enough for everybody to notice one and to talk again.
const SETTLING: Duration = Duration::from_secs(8);

/// What outlives the nodes, and what they write down.
#[derive(Default)]
struct Book {
    /// What each life of each node speaks; the last is the next to start.
    lives: BTreeMap<String, Vec<WireVersions>>,
    /// Frames that arrived right, by what their sender and their receiver speak at most, and their kind.
    arrived: BTreeMap<(u16, u16, &'static str), usize>,
    /// Connections of each node that stand, by what they speak.
    speaking: BTreeMap<String, BTreeMap<WireVersion, u64>>,
    wrong: Vec<String>,
}

type Shared = Rc<RefCell<Book>>;

/// A frame whose every field follows from its number, so that a misread one shows.
fn telling(kind: Kind, number: u64, incarnation: Incarnation) -> Frame {
    let mut frame = frame(kind, number, (number * 37 % 3000) as usize);
    let header = &mut frame.header;
    header.incarnation = incarnation;
    header.trace_id = [number as u8 ^ 0x55; 16];
    header.span_id = [number as u8 ^ 0xaa; 8];
    header.trace_flags = (number % 2) as u8;
    header.context = vec![number as u8; (number % 50) as usize].into();
    frame
}

/// One life of one node.
struct Life {
    name: String,
    versions: WireVersions,
    incarnation: Incarnation,
    link: Arc<Quic>,
    book: Shared,
}

impl Life {
    fn call(&self, to: &str, number: u64) {
        let call = telling(Kind::Call, number, self.incarnation);
        // It fails while the peer is gone.
        let _ = self.link.send(&id(to), Class::Calls, call);
        self.book.borrow_mut().speaking.insert(self.name.clone(), self.link.counts().speaking);
    }

    fn hear(&self, peer: &PeerIdentity, frame: &Frame) {
        let (kind, number) = (frame.header.kind, frame.header.id);
        let life = frame.header.incarnation;
        let theirs = self.book.borrow().lives[peer.node.as_str()][life.0 as usize - 1];
        let mut expected = telling(kind, number, life);
        let version = self.versions.agree(theirs).unwrap();
        if version == WireVersion::ONE {
            expected.header.trace_flags = 0;
        }
        expected.header.deadline_ms = frame.header.deadline_ms;
        let mut book = self.book.borrow_mut();
        if *frame != expected {
            book.wrong.push(format!("{} of {} to {}: {frame:?}", number, peer.node, self.name));
        }
        let what = if kind == Kind::Call { "call" } else { "reply" };
        *book.arrived.entry((theirs.max.0, self.versions.max.0, what)).or_default() += 1;
        if kind == Kind::Call {
            let reply = telling(Kind::Reply, number, self.incarnation);
            let _ = self.link.send(&peer.node, Class::Calls, reply);
        }
    }
}

async fn live(name: &'static str, air: Air, book: Shared) -> turmoil::Result {
    let lives = book.borrow().lives[name].clone();
    let (incarnation, versions) = (lives.len() as u64, lives[lives.len() - 1]);
    let seed = u64::from(name.as_bytes()[0]);
    let plan = Plan { versions, ..Plan::new(credentials(name, DAY), seed, incarnation, air) };
    let (link, mut events) = plan.start().await;
    let others = NAMES.into_iter().filter(|other| *other != name);
    for other in others.clone() {
        link.learn(&id(other), SocketAddr::new(turmoil::lookup(other), PORT));
    }
    let incarnation = Incarnation(incarnation);
    let life = Life { name: name.to_owned(), versions, incarnation, link, book };
    let mut number = 0;
    loop {
        tokio::select! {
            biased;
            event = events.recv() => if let Some(Event::Frame { peer, frame }) = event {
                life.hear(&peer, &frame);
            },
            () = tokio::time::sleep(Duration::from_millis(10)) => {
                number += 1;
                others.clone().for_each(|other| life.call(other, number));
            }
        }
    }
}

/// Restarts one node after the other with these versions, while all talk.
fn restart_all(sim: &mut turmoil::Sim<'_>, book: &Shared, versions: WireVersions) {
    for name in NAMES {
        sim.crash(name);
        book.borrow_mut().lives.get_mut(name).unwrap().push(versions);
        sim.bounce(name);
        run_for(sim, SETTLING);
    }
}

/// What every connection speaks now.
fn all_speak(book: &Shared) -> WireVersion {
    let book = book.borrow();
    let mut spoken = book.speaking.values().map(|speaking| {
        let [(version, 3)] = speaking.iter().map(|(v, n)| (*v, *n)).collect::<Vec<_>>()[..] else {
            panic!("{:?}", book.speaking);
        };
        version
    });
    let first = spoken.next().unwrap();
    assert!(spoken.all(|version| version == first), "{:?}", book.speaking);
    first
}

#[test]
fn a_cloud_is_upgraded_and_downgraded_node_by_node_while_it_works() {
    let book = Shared::default();
    book.borrow_mut().lives = NAMES.map(|name| (name.to_owned(), vec![FORMER])).into();
    let air = Air::new(weather(6, 1), DatagramLog::default());
    let mut sim = builder(6).build();
    for name in NAMES {
        let (air, book) = (air.clone(), Rc::clone(&book));
        sim.host(name, move || live(name, air.clone(), Rc::clone(&book)));
    }
    run_for(&mut sim, SETTLING);
    assert_eq!(all_speak(&book), WireVersion::ONE);

    restart_all(&mut sim, &book, LATER);
    assert_eq!(all_speak(&book), WireVersion::TWO);

    restart_all(&mut sim, &book, FORMER);
    assert_eq!(all_speak(&book), WireVersion::ONE);

    let book = book.borrow();
    assert!(book.wrong.is_empty(), "{:#?}", book.wrong);
    for (from, to) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        for what in ["call", "reply"] {
            let count = book.arrived.get(&(from, to, what)).copied().unwrap_or_default();
            assert!(
                count > 1000,
                "{count} frames, {what}, from {from} to {to}: {:?}",
                book.arrived
            );
        }
    }
}

#[test]
fn a_node_that_speaks_only_a_later_version_is_refused_in_words() {
    let (notes, air) = (Notes::default(), Air::new(weather(7, 0), DatagramLog::default()));
    let mut sim = builder(7).build();
    let only = |version| WireVersions { min: WireVersion(version), max: WireVersion(version) };
    for (name, versions, other) in [("a", only(3), "b"), ("b", LATER, "a")] {
        let (air, notes) = (air.clone(), notes.clone());
        sim.host(name, move || {
            let (air, notes) = (air.clone(), notes.clone());
            async move {
                let plan = Plan { versions, ..Plan::new(credentials(name, DAY), 7, 1, air) };
                let (link, mut events) = plan.start().await;
                link.learn(&id(other), SocketAddr::new(turmoil::lookup(other), PORT));
                link.send(&id(other), Class::Calls, frame(Kind::Cast, 1, 0))?;
                while let Some(event) = events.recv().await {
                    notes.add(name, format!("{event:?}"));
                }
                Ok(())
            }
        });
    }
    run_for(&mut sim, Duration::from_secs(10));
    let words = "no common wire version: this side speaks";
    for (name, ours, theirs) in [("a", "3 to 3", "1 to 2"), ("b", "1 to 2", "3 to 3")] {
        let heard = notes.of(name).join("\n");
        let here = format!("{words} {ours}, the peer {theirs}");
        let there = format!("it says: {words} {theirs}, the peer {ours}");
        assert!(heard.contains(&here) || heard.contains(&there), "{name}: {heard}");
        assert!(!heard.contains("Up {") && !heard.contains("Frame {"), "{name}: {heard}");
    }
}
