//! Streams of simulated TCP: what the faults of links and crashes of nodes do to them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use updraft_harness::{
    fault::{Fault, FaultPlan, LinkTrouble, NodeTrouble, Target},
    tcp::{GIVES_UP_AFTER, Tcp, TcpStream},
    world::{NodeContext, Tier, World},
};
use updraft_runtime::Env;
use updraft_transport::NodeId;

const PORT: u16 = 80;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// So many bytes a life of the server has heard.
#[derive(Clone, Default)]
struct Heard(Arc<AtomicUsize>);

/// Sends back whatever comes, on each stream.
async fn echo(context: NodeContext) {
    let listener = context.tcp().unwrap().listen(PORT).unwrap();
    let (env, heard) = (context.env.clone(), context.handles().keep(Heard::default));
    context.env.spawn("listen", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = heard.clone();
            env.spawn("echo", async move {
                let mut bytes = vec![0; 10_000];
                while let Ok(len @ 1..) = stream.read(&mut bytes).await {
                    heard.0.fetch_add(len, Ordering::Relaxed);
                    if stream.write_all(&bytes[..len]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
}

struct Two {
    world: World,
    user: NodeId,
    server: NodeId,
    tcp: Tcp,
}

impl Two {
    fn new(plan: FaultPlan) -> Self {
        let mut world = World::on_tier(plan.seed, Tier::Quic);
        let user = world.node("user", &["user"], |context| async move {
            context.handles().keep(|| context.tcp().unwrap());
            context.handles().keep(|| context.env.clone());
        });
        let server = world.node("server", &["server"], echo);
        world.follow(plan);
        world.run_for(ms(5));
        let tcp = world.handle(&user).unwrap();
        Self { world, user, server, tcp }
    }

    /// Has the user do this with a new stream to the server; what came of it, and what it took.
    fn exchange<T: Send + 'static, F: Future<Output = io::Result<T>> + Send>(
        &mut self,
        work: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> (io::Result<T>, Duration) {
        let (tcp, server, from) = (self.tcp.clone(), self.server.clone(), self.world.now());
        let done = self.world.on(&self.user, ms(100_000), async move {
            work(tcp.connect(&server, PORT).await?).await
        });
        (done.unwrap(), self.world.now() - from)
    }
}

/// Bytes that show where they are out of order.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

/// Sends a byte and has it back, and another one when the trouble has begun.
async fn twice(mut stream: TcpStream, env: Env) -> io::Result<u8> {
    stream.write_all(b"a").await?;
    assert_eq!(stream.read_u8().await?, b'a');
    env.sleep(ms(700)).await;
    stream.write_all(b"b").await?;
    stream.read_u8().await
}

/// Sends so much and has it back.
async fn there_and_back(stream: TcpStream, len: usize) -> io::Result<()> {
    let sent = bytes(len);
    let (mut reads, mut writes) = tokio::io::split(stream);
    let (mut back, from) = (vec![0; len], sent.clone());
    let (wrote, read) =
        tokio::join!(async { writes.write_all(&from).await }, reads.read_exact(&mut back));
    wrote.and(read.map(drop))?;
    assert!(back == sent, "they came back otherwise");
    writes.shutdown().await?;
    assert_eq!(reads.read(&mut [0]).await?, 0, "the end comes back too");
    Ok(())
}

fn between(trouble: LinkTrouble, both_ways: bool) -> Fault {
    Fault::Link { from: Target::node("server"), to: Target::node("user"), both_ways, trouble }
}

#[test]
fn bytes_arrive_whole_and_in_order_whatever_happens_to_segments() {
    let plan = FaultPlan::new(1);
    let (done, without) = Two::new(plan.clone()).exchange(|stream| there_and_back(stream, 900_000));
    done.unwrap();
    assert!(without < ms(300), "{without:?}");
    let troubles = [
        LinkTrouble::Loss { percent: 20 },
        LinkTrouble::Corruption { percent: 10 },
        LinkTrouble::Truncation { percent: 10 },
        LinkTrouble::Duplication { percent: 30 },
        LinkTrouble::Reordering { percent: 50, late_max: ms(50) },
    ];
    let plan = troubles
        .into_iter()
        .fold(plan, |plan, trouble| plan.with(ms(0), ms(90_000), between(trouble, true)));
    let (done, with) = Two::new(plan).exchange(|stream| there_and_back(stream, 900_000));
    done.unwrap();
    assert!(with > without + ms(200), "loss is delay, and it took {with:?}");
}

#[test]
fn the_same_seed_takes_the_same_time() {
    let plan = |seed| {
        let loss = between(LinkTrouble::Loss { percent: 30 }, true);
        FaultPlan::new(seed).with(ms(0), ms(90_000), loss)
    };
    let took = |seed| Two::new(plan(seed)).exchange(|stream| there_and_back(stream, 300_000)).1;
    assert_eq!(took(1), took(1));
    assert_ne!(took(1), took(2));
}

#[test]
fn a_cut_is_silence_for_as_long_as_it_lasts() {
    for both_ways in [true, false] {
        let plan = FaultPlan::new(1).with(ms(0), ms(5_000), between(LinkTrouble::Cut, both_ways));
        let (done, took) = Two::new(plan).exchange(|stream| there_and_back(stream, 10));
        done.unwrap();
        assert!((ms(4_900)..ms(8_000)).contains(&took), "both ways {both_ways}: {took:?}");
    }
}

#[test]
fn what_is_sent_arrives_though_nothing_is_heard_of_it() {
    let cut = between(LinkTrouble::Cut, false);
    let mut two = Two::new(FaultPlan::new(1).with(ms(500), ms(90_000), cut));
    let env: Env = two.world.handle(&two.user).unwrap();
    let (done, took) = two.exchange(move |stream| twice(stream, env));
    let heard: Heard = two.world.handle(&two.server).unwrap();
    assert_eq!(heard.0.load(Ordering::Relaxed), 2);
    assert_eq!(done.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(took > GIVES_UP_AFTER, "{took:?}");
}

#[test]
fn a_stream_that_nothing_is_heard_of_ends() {
    let plan = FaultPlan::new(1).with(ms(0), ms(90_000), between(LinkTrouble::Cut, true));
    let (done, took) = Two::new(plan).exchange(|stream| there_and_back(stream, 10));
    assert_eq!(done.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!((GIVES_UP_AFTER..GIVES_UP_AFTER + ms(4_000)).contains(&took), "{took:?}");
}

#[test]
fn a_node_that_has_crashed_knows_of_no_stream() {
    let crash = Fault::Node { nodes: Target::node("server"), trouble: NodeTrouble::Crash };
    let mut two = Two::new(FaultPlan::new(1).with(ms(500), ms(2_000), crash));
    let env: Env = two.world.handle(&two.user).unwrap();
    let (done, took) = two.exchange(move |stream| twice(stream, env));
    assert_eq!(done.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert!((ms(1_900)..ms(4_500)).contains(&took), "the node said nothing before: {took:?}");
    let (done, _) = two.exchange(|stream| there_and_back(stream, 10));
    done.expect("the next life answers");
}

#[test]
fn nobody_listens() {
    let mut two = Two::new(FaultPlan::new(1));
    let (tcp, server) = (two.tcp.clone(), two.server.clone());
    let dial = async move { tcp.connect(&server, PORT + 1).await.map(drop) };
    let refused = two.world.on(&two.user.clone(), ms(1_000), dial).unwrap().unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let again = two.tcp.listen(PORT + 2).unwrap();
    assert_eq!(two.tcp.listen(PORT + 2).err().unwrap().kind(), io::ErrorKind::AddrInUse);
    drop(again);
    two.tcp.listen(PORT + 2).unwrap();
}

#[test]
fn who_reads_nothing_is_sent_no_more_than_waits_for_it() {
    let mut two = Two::new(FaultPlan::new(1));
    two.world.node("deaf", &["deaf"], |context| async move {
        let listener = context.tcp().unwrap().listen(PORT).unwrap();
        let env = context.env.clone();
        context.env.spawn("deaf", async move {
            let stream = listener.accept().await;
            env.sleep(ms(50_000)).await;
            drop(stream);
        });
    });
    let (tcp, deaf) = (two.tcp.clone(), NodeId::new("deaf").unwrap());
    let (done, took) = (
        two.world.on(&two.user.clone(), ms(90_000), async move {
            let mut stream = tcp.connect(&deaf, PORT).await?;
            stream.write_all(&bytes(1_000_000)).await
        }),
        two.world.now(),
    );
    // Then what it has not read is thrown away, and who sent it is told.
    assert_eq!(done.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert!((ms(50_000)..ms(51_000)).contains(&took), "{took:?}");
}
