//! Whatever the network does and whoever crashes: one connection at a time, and within it nothing is
//! lost, doubled or out of order.

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// While faults happen.
const TROUBLE: Duration = Duration::from_secs(25);
/// Long enough for every timeout and the longest pause between dials.
const RECOVERY: Duration = Duration::from_secs(15);

/// What all nodes write, for the test to check at the end. Outlives crashes.
#[derive(Default)]
struct Book {
    /// How often each node has started.
    starts: BTreeMap<String, u64>,
    /// The last frame each life of a node sent to each peer in each class.
    sent: BTreeMap<(String, u64, String, Class), u64>,
    /// The last frame that arrived.
    arrived: BTreeMap<(String, u64, String, Class), u64>,
    ups: usize,
    downs: usize,
    wrong: Vec<String>,
}

type Shared = Rc<RefCell<Book>>;

/// One node's view of one peer.
#[derive(Default)]
struct View {
    /// The peer's incarnation while it is up.
    up: Option<u64>,
    /// The last frame of this connection in each class.
    last: BTreeMap<Class, u64>,
}

struct Listener {
    name: String,
    views: BTreeMap<String, View>,
    book: Shared,
}

impl Listener {
    fn hear(&mut self, event: Event) {
        match event {
            Event::Up { peer, incarnation } => {
                let peer = peer.node.to_string();
                self.book.borrow_mut().ups += 1;
                let former = self.views.entry(peer.clone()).or_default().up;
                if former.is_some() {
                    self.complain(&format!("{peer} is up twice"));
                }
                let view = View { up: Some(incarnation.0), last: BTreeMap::new() };
                self.views.insert(peer, view);
            }
            Event::Down { peer, .. } => {
                self.book.borrow_mut().downs += 1;
                self.views.insert(peer.to_string(), View::default());
            }
            Event::Frame { peer, frame } => self.frame(&peer.node, &frame),
            Event::Body { .. } => self.complain("a body that nobody asked for"),
        }
    }

    fn frame(&mut self, peer: &NodeId, frame: &Frame) {
        let class = Class::ALL[frame.body.len() % 3];
        let (number, life) = (frame.header.id, frame.header.incarnation.0);
        let view = self.views.entry(peer.to_string()).or_default();
        if view.up != Some(life) {
            let up = view.up;
            self.complain(&format!("{number} of {peer} {life} came while {up:?} was up"));
            return;
        }
        let last = view.last.insert(class, number);
        if last.is_some_and(|last| number != last + 1) {
            self.complain(&format!("{class:?} {number} of {peer} came after {last:?}"));
        }
        let key = (peer.to_string(), life, self.name.clone(), class);
        let before = self.book.borrow_mut().arrived.insert(key, number);
        if before.is_some_and(|before| number <= before) {
            self.complain(&format!("{class:?} {number} of {peer} came again"));
        }
    }

    fn complain(&self, what: &str) {
        let at = turmoil::sim_elapsed().unwrap_or_default().as_millis();
        self.book.borrow_mut().wrong.push(format!("{at} {}: {what}", self.name));
    }
}

/// A node that sends numbered frames to all others until shortly before the end.
async fn chatter(name: String, seed: u64, air: Air, book: Shared) -> turmoil::Result {
    let life = {
        let mut book = book.borrow_mut();
        let starts = book.starts.entry(name.clone()).or_default();
        *starts += 1;
        *starts
    };
    let (link, mut events) = start(&name, seed, life, air).await;
    let others: Vec<_> = NAMES.into_iter().filter(|other| *other != name).collect();
    for other in &others {
        link.learn(&id(other), SocketAddr::new(turmoil::lookup(*other), PORT));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ life << 16);
    let mut listener = Listener { name: name.clone(), views: BTreeMap::new(), book: book.clone() };
    loop {
        let pause = Duration::from_millis(rng.random_range(1..60));
        tokio::select! {
            biased;
            event = events.recv() => listener.hear(event.expect("the link goes on")),
            () = tokio::time::sleep(pause) => {
                let other = others[rng.random_range(0..others.len())];
                let class = Class::ALL[rng.random_range(0..3)];
                say(&link, &name, life, other, class, &book);
            }
        }
    }
}

/// Sends the next number, unless the time of sending is over.
fn say(link: &Quic, name: &str, life: u64, other: &str, class: Class, book: &Shared) {
    if turmoil::sim_elapsed().unwrap_or_default() > TROUBLE + RECOVERY {
        return;
    }
    let key = (name.to_owned(), life, other.to_owned(), class);
    let number = book.borrow().sent.get(&key).copied().unwrap_or_default() + 1;
    // The length of the body tells the class, which a frame does not.
    let body_bytes = 300 * (1 + number as usize % 7) + usize::from(class.tag());
    let mut frame = frame(Kind::Reply, number, body_bytes);
    frame.header.incarnation = Incarnation(life);
    if link.send(&id(other), class, frame).is_ok() {
        book.borrow_mut().sent.insert(key, number);
    }
}

/// Does something bad, or mends something.
fn trouble(sim: &mut turmoil::Sim<'_>, rng: &mut ChaCha8Rng) {
    let (one, other) = (NAMES[rng.random_range(0..4)], NAMES[rng.random_range(0..4)]);
    match rng.random_range(0..8) {
        0 | 1 if one != other => sim.partition(one, other),
        2 if one != other => sim.partition_oneway(one, other),
        3..=5 if one != other => sim.repair(one, other),
        6 => sim.crash(one),
        _ => sim.bounce(one),
    }
}

fn run(seed: u64) -> Shared {
    let book = Shared::default();
    let air = Air::new(foul(seed, [3, 2, 1, 10]), DatagramLog::default());
    let mut sim = builder(seed).build();
    for (index, name) in NAMES.into_iter().enumerate() {
        let (air, book) = (air.clone(), book.clone());
        let seed = seed.wrapping_mul(1000) + index as u64;
        sim.host(name, move || chatter(name.to_owned(), seed, air.clone(), book.clone()));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    while sim.elapsed() < TROUBLE {
        run_for(&mut sim, Duration::from_millis(rng.random_range(50..1500)));
        trouble(&mut sim, &mut rng);
    }
    for one in NAMES {
        if !sim.is_host_running(one) || !book.borrow().starts.contains_key(one) {
            sim.bounce(one);
        }
        for other in NAMES.into_iter().filter(|other| *other != one) {
            sim.repair(one, other);
        }
    }
    run_for(&mut sim, RECOVERY + Duration::from_secs(3));
    book
}

#[test]
fn within_a_connection_nothing_is_lost_doubled_or_out_of_order() {
    let (mut ups, mut downs, mut frames) = (0, 0, 0);
    for seed in 0..12 {
        let book = run(seed);
        let book = book.borrow();
        assert_eq!(book.wrong, Vec::<String>::new(), "seed {seed}");
        for ((from, life, to, class), number) in &book.sent {
            frames += number;
            if *life < book.starts[from] {
                continue;
            }
            let arrived = book.arrived.get(&(from.clone(), *life, to.clone(), *class));
            assert_eq!(arrived, Some(number), "seed {seed}: {class:?} from {from} to {to}");
        }
        ups += book.ups;
        downs += book.downs;
    }
    assert!(ups > 300 && downs > 300 && frames > 20_000, "{ups} ups {downs} downs {frames} frames");
}

/// Both nodes dial within a round trip of one another; returns what each saw.
fn both_dial(seed: u64, loss_percent: u8) -> Notes {
    let notes = Notes::default();
    let air = Air::new(weather(seed, loss_percent), DatagramLog::default());
    let mut sim = builder(seed).build();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for (name, other) in [("a", "b"), ("b", "a")] {
        let (air, notes) = (air.clone(), notes.clone());
        let pause = Duration::from_millis(rng.random_range(0..60));
        sim.host(name, move || {
            let (air, notes) = (air.clone(), notes.clone());
            async move {
                let (link, mut events) = start(name, seed, 1, air).await;
                link.learn(&id(other), SocketAddr::new(turmoil::lookup(other), PORT));
                tokio::time::sleep(pause).await;
                for number in 0..3 {
                    link.send(&id(other), Class::Calls, frame(Kind::Cast, number, 10))?;
                }
                while let Some(event) = events.recv().await {
                    notes.add(
                        name,
                        match event {
                            Event::Frame { frame, .. } => format!("frame {}", frame.header.id),
                            Event::Body { .. } => "a body".to_owned(),
                            Event::Up { .. } => "up".to_owned(),
                            Event::Down { reason, .. } => reason,
                        },
                    );
                }
                Ok(())
            }
        });
    }
    run_for(&mut sim, Duration::from_secs(8));
    notes
}

#[test]
fn when_both_dial_one_connection_stays_and_carries_everything() {
    // Around seed 500 the hello of the connection that is given up comes after the other one stands.
    for (loss_percent, seeds) in [(2, 480..520), (15, 0..80)] {
        for seed in seeds {
            let notes = both_dial(seed, loss_percent);
            for node in ["a", "b"] {
                let expected = ["up", "frame 0", "frame 1", "frame 2"];
                assert_eq!(notes.of(node), expected, "{node}, seed {seed}, loss {loss_percent} %");
            }
        }
    }
}
