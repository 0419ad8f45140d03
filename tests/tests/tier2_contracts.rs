//! What `call`, `cast` and `fanout` promise, over real QUIC, when the network and the nodes misbehave.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use updraft_harness::world::{Boot, NodeContext, Tier, World};
use updraft_runtime::{
    message,
    node::{Parts, Prepared},
    protocol,
    rpc::{Address, CallError, Cx, Refusal, Rpc, Service, TraceContext},
};
use updraft_transport::{NodeId, PeerIdentity};

/// What is asked of all nodes but the caller.
pub struct Probe;
protocol!(Probe = "probe");

/// Reads, or is fenced: may be sent again to anybody.
#[derive(Serialize, Deserialize)]
pub struct Fenced(u64, u64);
message!(call Fenced = Probe / "fenced", Fenced, from ["control"], to ["compute"], reply String);

/// Sent again to the same server, which remembers.
#[derive(Serialize, Deserialize)]
pub struct Remembered(u64, u64);
message!(call Remembered = Probe / "remembered", Deduplicated,
    from ["control"], to ["compute"], reply String);

/// Sent once.
#[derive(Serialize, Deserialize)]
pub struct Once(u64, u64);
message!(call Once = Probe / "once", Never, from ["control"], to ["compute"], reply String);

/// Wants no reply.
#[derive(Serialize, Deserialize)]
pub struct Note(u64);
message!(cast Note = Probe / "note", from ["control"], to ["compute"]);

/// Is handled until its caller no longer waits.
#[derive(Serialize, Deserialize)]
pub struct Endless(u64);
message!(call Endless = Probe / "endless", Fenced, from ["control"], to ["compute"], reply String);

/// What no node of these worlds serves.
pub struct Absent;
protocol!(Absent = "nobody");

/// A call that no node of these worlds serves.
#[derive(Serialize, Deserialize)]
pub struct Nobody;
message!(call Nobody = Absent / "is-there", Fenced, from ["control"], to ["control"], reply ());

/// How often each number was handled on a node, over all its lives.
#[derive(Clone, Default)]
struct Handled(Arc<Mutex<BTreeMap<u64, usize>>>);

impl Handled {
    fn add(&self, number: u64) {
        *self.0.lock().entry(number).or_default() += 1;
    }
}

fn probe(context: &NodeContext) -> Service {
    let handled: Handled = context.disk.keep(Handled::default);
    let (name, env) = (context.node().to_string(), context.env.clone());
    let work = move |number: u64, millis: u64| {
        handled.add(number);
        let (env, name) = (env.clone(), name.clone());
        async move {
            env.sleep(Duration::from_millis(millis)).await;
            Ok(name)
        }
    };
    let (fenced, remembered, once) = (work.clone(), work.clone(), work.clone());
    let endless = work.clone();
    Service::of::<Probe>()
        .call(move |ctx, Endless(number)| {
            let work = endless.clone();
            async move {
                ctx.cancelled().await;
                work(number, 0).await
            }
        })
        .call(move |_, Fenced(number, millis)| fenced(number, millis))
        .call(move |_, Remembered(number, millis)| remembered(number, millis))
        .call(move |_, Once(number, millis)| once(number, millis))
        .cast(move |_, Note(number)| {
            let work = work(number, 0);
            async move { work.await.map(|_: String| ()) }
        })
        .into()
}

fn boot(serves: bool) -> Boot {
    Arc::new(move |context: NodeContext| {
        Box::pin(async move {
            let caller = id("caller");
            let service = serves.then(|| probe(&context));
            let (address, handles) = (context.address_of(&context.node()), context.handles());
            let seeds = vec![(caller.clone(), context.address_of(&caller))];
            let prepared = Prepared::new(Parts {
                env: context.env,
                address,
                transport: context.transport,
                events: context.events,
                incarnation: context.incarnation,
                cell: "cell-1".to_owned(),
                seeds,
            });
            let service = service.unwrap_or_else(|| prepared.directory().service());
            let node = Arc::new(prepared.start(vec![service]).await.unwrap());
            handles.keep(|| node.rpc().clone());
            handles.keep(|| node);
        })
    })
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

const LIMIT: Duration = Duration::from_secs(30);

/// A caller, and `one` and `two` that serve; each knows the others.
struct Probes {
    world: World,
}

impl Probes {
    fn start(seed: u64) -> Self {
        let mut world = World::on_tier(seed, Tier::Quic);
        world.add(PeerIdentity::new(id("caller"), &["control"]), boot(false));
        for name in ["one", "two"] {
            world.add(PeerIdentity::new(id(name), &["compute"]), boot(true));
        }
        let mut probes = Self { world };
        probes.knows(2);
        probes
    }

    /// Waits until the caller knows so many servers.
    fn knows(&mut self, servers: usize) {
        let end = self.world.now() + LIMIT;
        loop {
            // A directory reads its clock, so it is asked on its own node.
            let members = self.on_caller(|rpc, _| rpc.directory().servers_of::<Fenced>());
            if members.as_ref().is_some_and(|members| members.len() == servers) {
                break;
            }
            assert!(self.world.now() < end, "{members:?} instead of {servers} servers");
        }
        // Connections are up by then.
        self.world.run_for(Duration::from_millis(100));
    }

    /// Does something on the caller; `None` if it does not run yet.
    fn on_caller<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Rpc, &Cx) -> T + Send + 'static,
    ) -> Option<T> {
        let Some(rpc) = self.world.handle::<Rpc>(&id("caller")) else {
            self.world.step();
            return None;
        };
        let work = async move { work(&rpc, &cx(&rpc)) };
        self.world.on(&id("caller"), LIMIT, work)
    }

    fn cast(&mut self, number: u64) -> Result<(), CallError> {
        self.on_caller(move |rpc, cx| rpc.client::<Probe>().at(to_one()).cast(&Note(number), cx))
            .unwrap()
    }

    fn fanout(&mut self, number: u64) -> usize {
        self.on_caller(move |rpc, cx| rpc.client::<Probe>().fanout(&Note(number), cx))
            .unwrap()
            .unwrap()
    }

    /// Starts a call; its outcome arrives while the world runs.
    fn calls<M: updraft_runtime::rpc::Call<Reply = String>>(
        &mut self,
        to: Address,
        message: M,
    ) -> Outcome {
        let rpc: Rpc = self.world.handle(&id("caller")).unwrap();
        let call =
            async move { rpc.client::<M::Protocol>().at(to).call(&message, &cx(&rpc)).await };
        self.world.begin(&id("caller"), call).unwrap()
    }

    fn outcome(&mut self, mut call: Outcome) -> Result<String, CallError> {
        let mut outcome = None;
        self.world.run_until(LIMIT, |_| {
            outcome = call.try_recv().ok();
            outcome.is_some()
        });
        outcome.unwrap()
    }

    fn run_ms(&mut self, millis: u64) {
        self.world.run_for(Duration::from_millis(millis));
    }

    /// How often `number` was handled on a node.
    fn handled(&self, node: &str, number: u64) -> usize {
        let handled: Handled = self.world.disk(&id(node)).unwrap().get().unwrap();
        handled.0.lock().get(&number).copied().unwrap_or_default()
    }

    fn handled_anywhere(&self, number: u64) -> usize {
        self.handled("one", number) + self.handled("two", number)
    }
}

type Outcome = tokio::sync::oneshot::Receiver<Result<String, CallError>>;

fn cx(rpc: &Rpc) -> Cx {
    Cx::new("test", TraceContext::fresh(rpc.env()))
}

fn to_one() -> Address {
    Address::server(&id("one"))
}

fn is_unknown(outcome: &Result<String, CallError>) -> bool {
    matches!(outcome, Err(CallError::Unknown { .. }))
}

const MANY: u64 = 40;

/// Calls of every kind while the network is bad; each must be answered.
fn all_are_answered(probes: &mut Probes) {
    for number in 0..MANY {
        let once = probes.calls(to_one(), Once(number, 0));
        let remembered = probes.calls(to_one(), Remembered(MANY + number, 0));
        let fenced = probes.calls(Address::any(), Fenced(2 * MANY + number, 0));
        for call in [once, remembered, fenced] {
            let outcome = probes.outcome(call);
            assert!(outcome.is_ok(), "{number}: {outcome:?}");
        }
    }
    for number in 0..2 * MANY {
        assert_eq!(probes.handled_anywhere(number), 1, "number {number}");
    }
    for number in 2 * MANY..3 * MANY {
        assert!(probes.handled_anywhere(number) >= 1, "number {number}");
    }
}

#[test]
fn under_loss_every_call_is_answered_and_handled_once_unless_it_is_fenced() {
    let mut probes = Probes::start(1);
    probes.world.set_loss(0.05);
    all_are_answered(&mut probes);
}

#[test]
fn under_duplication_and_reordering_every_call_is_answered_and_handled_once_unless_it_is_fenced() {
    let mut probes = Probes::start(2);
    probes.world.set_disorder(0.2, 0.3);
    all_are_answered(&mut probes);
}

#[test]
fn a_call_that_nobody_serves_is_refused() {
    let mut probes = Probes::start(3);
    let rpc: Rpc = probes.world.handle(&id("caller")).unwrap();
    let call = async move { rpc.client::<Absent>().call(&Nobody, &cx(&rpc)).await };
    let outcome = probes.world.on(&id("caller"), LIMIT, call).unwrap();
    let refused = matches!(outcome, Err(CallError::Refused { refusal: Refusal::NoRoute(_), .. }));
    assert!(refused, "{outcome:?}");
}

#[test]
fn a_call_sent_once_is_unknown_when_its_callee_crashes() {
    let mut probes = Probes::start(4);
    let call = probes.calls(to_one(), Once(1, 2_000));
    probes.run_ms(500);
    probes.world.crash(&id("one"));
    probes.run_ms(500);
    probes.world.start(&id("one"));
    let outcome = probes.outcome(call);
    assert!(is_unknown(&outcome), "{outcome:?}");
    assert_eq!(probes.handled_anywhere(1), 1);
}

#[test]
fn a_fenced_call_finds_another_server_when_its_callee_crashes() {
    let mut probes = Probes::start(5);
    let call = probes.calls(Address::any(), Fenced(1, 900));
    probes.run_ms(500);
    let first = if probes.handled("one", 1) == 1 { "one" } else { "two" };
    let other = if first == "one" { "two" } else { "one" };
    probes.world.crash(&id(first));
    assert_eq!(probes.outcome(call).unwrap(), other);
    assert_eq!((probes.handled(first, 1), probes.handled(other, 1)), (1, 1));
}

#[test]
fn a_remembered_call_goes_to_its_server_alone_and_again_after_a_restart() {
    let mut probes = Probes::start(6);
    let call = probes.calls(to_one(), Remembered(1, 900));
    probes.run_ms(500);
    probes.world.crash(&id("one"));
    probes.run_ms(500);
    probes.world.start(&id("one"));
    assert_eq!(probes.outcome(call).unwrap(), "one");
    // The memory is of one life: the handler may be begun once in each.
    assert_eq!((probes.handled("one", 1), probes.handled("two", 1)), (2, 0));
}

#[test]
fn a_remembered_call_that_takes_longer_than_an_attempt_is_handled_once() {
    let mut probes = Probes::start(7);
    let call = probes.calls(to_one(), Remembered(1, 3_500));
    assert_eq!(probes.outcome(call).unwrap(), "one");
    assert_eq!(probes.handled_anywhere(1), 1);
}

#[test]
fn a_call_sent_once_into_a_partition_is_unknown_and_handled_at_most_once() {
    let mut probes = Probes::start(8);
    probes.world.partition(&id("caller"), &id("one"));
    let call = probes.calls(to_one(), Once(1, 0));
    let outcome = probes.outcome(call);
    assert!(is_unknown(&outcome), "{outcome:?}");
    assert_eq!(probes.handled_anywhere(1), 0, "nothing crosses a partition");
    probes.world.heal();
    probes.run_ms(15_000);
    assert!(probes.handled_anywhere(1) <= 1);
}

#[test]
fn a_fenced_call_to_anybody_goes_around_a_partition() {
    let mut probes = Probes::start(9);
    probes.world.partition(&id("caller"), &id("one"));
    for number in 0..4 {
        let call = probes.calls(Address::any(), Fenced(number, 0));
        assert_eq!(probes.outcome(call).unwrap(), "two");
    }
}

#[test]
fn a_remembered_call_is_answered_after_a_short_partition() {
    let mut probes = Probes::start(10);
    probes.world.partition(&id("caller"), &id("one"));
    let call = probes.calls(to_one(), Remembered(1, 0));
    probes.run_ms(2_500);
    probes.world.heal();
    assert_eq!(probes.outcome(call).unwrap(), "one");
    assert_eq!(probes.handled_anywhere(1), 1);
}

#[test]
fn a_call_of_a_caller_that_crashes_is_handled_once_and_its_next_life_is_not_mistaken() {
    let mut probes = Probes::start(11);
    let lost = probes.calls(to_one(), Remembered(1, 1_000));
    probes.run_ms(200);
    probes.world.crash(&id("caller"));
    drop(lost);
    probes.run_ms(2_000);
    assert_eq!(probes.handled_anywhere(1), 1);
    probes.world.start(&id("caller"));
    probes.knows(2);
    let call = probes.calls(to_one(), Remembered(2, 0));
    assert_eq!(probes.outcome(call).unwrap(), "one");
    assert_eq!((probes.handled_anywhere(1), probes.handled_anywhere(2)), (1, 1));
}

/// Casts while the network is bad; each must be handled once.
fn all_casts_arrive_once(probes: &mut Probes) {
    for number in 0..MANY {
        probes.cast(number).unwrap();
        probes.run_ms(20);
    }
    probes.run_ms(5_000);
    for number in 0..MANY {
        assert_eq!(probes.handled("one", number), 1, "number {number}");
    }
}

#[test]
fn casts_arrive_once_each_under_loss() {
    let mut probes = Probes::start(12);
    probes.world.set_loss(0.05);
    all_casts_arrive_once(&mut probes);
}

#[test]
fn casts_arrive_once_each_under_duplication_and_reordering() {
    let mut probes = Probes::start(15);
    probes.world.set_disorder(0.2, 0.3);
    all_casts_arrive_once(&mut probes);
}

#[test]
fn a_cast_into_a_partition_is_lost_or_late_but_never_doubled_and_casts_pass_once_it_heals() {
    let mut probes = Probes::start(16);
    probes.world.partition(&id("caller"), &id("one"));
    for number in 0..MANY {
        // Refused is as good as lost.
        let _ = probes.cast(number);
        probes.run_ms(200);
    }
    let crossed = (0..MANY).filter(|number| probes.handled_anywhere(*number) > 0).count();
    assert_eq!(crossed, 0, "nothing crosses a partition");
    probes.world.heal();
    probes.run_ms(10_000);
    probes.cast(MANY).unwrap();
    probes.run_ms(500);
    for number in 0..MANY {
        assert!(probes.handled_anywhere(number) <= 1, "number {number}");
    }
    assert_eq!(probes.handled("one", MANY), 1, "the partition is over");
}

#[test]
fn a_cast_of_a_sender_that_crashes_is_handled_at_most_once_and_never_after_its_next_life_is_known()
{
    let mut probes = Probes::start(17);
    for number in 0..MANY {
        probes.cast(number).unwrap();
    }
    // On the way: links take 1 ms to 5 ms.
    probes.run_ms(1);
    probes.world.crash(&id("caller"));
    probes.run_ms(500);
    probes.world.start(&id("caller"));
    probes.knows(2);
    let counts: Vec<usize> = (0..MANY).map(|number| probes.handled("one", number)).collect();
    assert!(counts.iter().all(|count| *count <= 1), "{counts:?}");
    probes.run_ms(10_000);
    let later: Vec<usize> = (0..MANY).map(|number| probes.handled("one", number)).collect();
    assert_eq!(later, counts, "a cast of a former life arrived");
}

#[test]
fn a_cast_to_a_server_that_is_down_is_lost_or_late_but_never_doubled() {
    let mut probes = Probes::start(13);
    probes.world.crash(&id("one"));
    for number in 0..MANY {
        // Refused is as good as lost.
        let _ = probes.cast(number);
        probes.run_ms(50);
    }
    probes.world.start(&id("one"));
    probes.run_ms(10_000);
    for number in 0..MANY {
        assert!(probes.handled_anywhere(number) <= 1, "number {number}");
    }
}

#[test]
fn a_fanout_reaches_every_live_server_once() {
    let mut probes = Probes::start(14);
    assert_eq!(probes.fanout(1), 2);
    probes.run_ms(500);
    assert_eq!((probes.handled("one", 1), probes.handled("two", 1)), (1, 1));
    probes.world.crash(&id("two"));
    probes.knows(1);
    assert_eq!(probes.fanout(2), 1);
    probes.run_ms(500);
    assert_eq!((probes.handled("one", 2), probes.handled("two", 2)), (1, 0));
    probes.world.start(&id("two"));
    probes.knows(2);
    assert_eq!(probes.fanout(3), 2);
    probes.run_ms(500);
    assert_eq!((probes.handled("one", 3), probes.handled("two", 3)), (1, 1));
}

/// Fan-outs while the network is bad; each must be handled once on each server.
fn all_fanouts_arrive_once(probes: &mut Probes) {
    for number in 0..MANY {
        assert_eq!(probes.fanout(number), 2, "number {number}");
        probes.run_ms(20);
    }
    probes.run_ms(5_000);
    for number in 0..MANY {
        let handled = (probes.handled("one", number), probes.handled("two", number));
        assert_eq!(handled, (1, 1), "number {number}");
    }
}

#[test]
fn a_fanout_reaches_every_server_once_under_loss() {
    let mut probes = Probes::start(18);
    probes.world.set_loss(0.05);
    all_fanouts_arrive_once(&mut probes);
}

#[test]
fn a_fanout_reaches_every_server_once_under_duplication_and_reordering() {
    let mut probes = Probes::start(19);
    probes.world.set_disorder(0.2, 0.3);
    all_fanouts_arrive_once(&mut probes);
}

#[test]
fn a_fanout_reaches_who_is_on_this_side_of_a_partition_and_is_doubled_nowhere() {
    let mut probes = Probes::start(20);
    probes.world.partition(&id("caller"), &id("one"));
    for number in 0..MANY {
        probes.fanout(number);
        probes.run_ms(200);
    }
    probes.world.heal();
    probes.run_ms(10_000);
    for number in 0..MANY {
        assert_eq!(probes.handled("two", number), 1, "number {number}");
        assert!(probes.handled("one", number) <= 1, "number {number}");
    }
}

#[test]
fn a_fanout_of_a_sender_that_crashes_is_handled_at_most_once_by_each_server() {
    let mut probes = Probes::start(21);
    for number in 0..MANY {
        probes.fanout(number);
    }
    probes.run_ms(1);
    probes.world.crash(&id("caller"));
    probes.run_ms(500);
    probes.world.start(&id("caller"));
    probes.knows(2);
    probes.run_ms(10_000);
    for node in ["one", "two"] {
        for number in 0..MANY {
            assert!(probes.handled(node, number) <= 1, "number {number} on {node}");
        }
    }
}

#[test]
fn a_call_to_anybody_goes_to_who_has_less_to_do() {
    let mut probes = Probes::start(25);
    let _busy: Vec<_> = (0..MANY).map(|n| probes.calls(to_one(), Once(n, 8_000))).collect();
    // The other hears of it with the next beats.
    probes.run_ms(1_500);
    for number in MANY..2 * MANY {
        let call = probes.calls(Address::any(), Fenced(number, 0));
        assert_eq!(probes.outcome(call).unwrap(), "two", "number {number}");
    }
}

#[test]
fn calls_to_anybody_are_shared_between_equals() {
    let mut probes = Probes::start(26);
    for number in 0..MANY {
        let call = probes.calls(Address::any(), Fenced(number, 0));
        probes.outcome(call).unwrap();
    }
    let one = (0..MANY).filter(|number| probes.handled("one", *number) > 0).count();
    assert!((5..=35).contains(&one), "{one} of {MANY} went to one of two");
}

#[test]
fn a_handler_hears_over_the_network_that_its_caller_stopped_waiting() {
    for (seed, loss) in [(27, 0.0), (28, 0.2)] {
        let mut probes = Probes::start(seed);
        probes.world.set_loss(loss);
        let rpc: Rpc = probes.world.handle(&id("caller")).unwrap();
        let call = async move {
            let endless = rpc.client::<Probe>().at(to_one()).call(&Endless(1), &cx(&rpc)).await;
            drop(endless);
        };
        let patience = Duration::from_millis(500);
        let caller: Rpc = probes.world.handle(&id("caller")).unwrap();
        let given_up = async move { caller.env().timeout(patience, call).await.is_none() };
        assert_eq!(probes.world.on(&id("caller"), LIMIT, given_up), Some(true));
        probes.run_ms(3_000);
        assert_eq!(probes.handled_anywhere(1), 1, "loss {loss}");
    }
}

#[test]
fn the_book_names_every_test_of_a_contract_and_no_other() {
    let (book, source) =
        (include_str!("../../book/src/messages.md"), include_str!("tier2_contracts.rs"));
    let (_, table) = book.split_once("## What may happen").unwrap();
    let (table, _) = table.split_once("The window").unwrap();
    let last =
        |line: &str| line.trim_end_matches([' ', '|', '`']).rsplit('`').next().map(str::to_owned);
    let named: BTreeSet<String> =
        table.lines().filter(|line| line.ends_with("` |")).filter_map(last).collect();
    let tests = source.split("#[test]\nfn ").skip(1).filter_map(|text| text.split('(').next());
    let tests: BTreeSet<String> =
        tests.map(str::to_owned).filter(|name| !name.starts_with("the_book")).collect();
    assert_eq!(named, tests);
}
