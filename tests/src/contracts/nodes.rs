//! Who takes part: what servers do, and what is asked of them.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use updraft_harness::world::{Boot, Disk, NodeContext};
use updraft_runtime::{
    Env, message,
    node::Prepared,
    protocol,
    rpc::{Cx, Fault, Rpc, Service, TraceContext},
};
use updraft_transport::NodeId;

use super::Record;

/// What is asked of servers.
pub(crate) struct Probe;
protocol!(Probe = "bugs.probe");

/// A number, and milliseconds of work; answered with the number.
#[derive(Serialize, Deserialize)]
pub(crate) struct Fenced(pub(crate) u64, pub(crate) u64);
message!(call Fenced = Probe / "fenced", Fenced, from ["control"], to ["compute"], reply u64);

/// The same, repeated to one server that remembers.
#[derive(Serialize, Deserialize)]
pub(crate) struct Remembered(pub(crate) u64, pub(crate) u64);
message!(call Remembered = Probe / "remembered", Deduplicated,
    from ["control"], to ["compute"], reply u64);

/// The same, never repeated.
#[derive(Serialize, Deserialize)]
pub(crate) struct Once(pub(crate) u64, pub(crate) u64);
message!(call Once = Probe / "once", Never, from ["control"], to ["compute"], reply u64);

/// A number whose first handler panics, and the next answers with it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Shaky(pub(crate) u64);
message!(call Shaky = Probe / "shaky", Fenced, from ["control"], to ["compute"], reply u64);

/// A number alone.
#[derive(Serialize, Deserialize)]
pub(crate) struct Note(pub(crate) u64);
message!(cast Note = Probe / "note", from ["control"], to ["compute"]);

/// The longest that a relay is held on its way: its caller waits for all of it.
pub(crate) const RELAY_MAX_MS: u64 = 20;

/// Is passed on, after so many milliseconds, to the last of these servers, with the others.
#[derive(Serialize, Deserialize)]
pub(crate) struct Relay(pub(crate) u64, pub(crate) u64, pub(crate) Vec<String>);
message!(call Relay = Probe / "relay", Fenced, from ["control", "compute"], to ["compute"], reply u64);

/// One of many that go out at once, in a class with a short queue.
#[derive(Serialize, Deserialize)]
pub(crate) struct Bulky(pub(crate) u64);
message!(call Bulky = Probe / "bulky", Never, from ["control"], to ["compute"], reply u64, class Bulk);

/// The handler panics after so many milliseconds.
#[derive(Serialize, Deserialize)]
pub(crate) struct Fail(pub(crate) u64);
message!(call Fail = Probe / "fail", Never, from ["control"], to ["compute"], reply ());

/// One life of a server.
#[derive(Clone)]
struct Server {
    env: Env,
    name: String,
    life: u64,
    record: Record,
    rpc: Rpc,
}

impl Server {
    async fn work(self, number: u64, millis: u64) -> Result<u64, Fault> {
        let _at_work = self.record.begun(&self.name, self.life, number);
        self.env.sleep(Duration::from_millis(millis)).await;
        Ok(number)
    }

    async fn relay(
        self,
        trace: TraceContext,
        Relay(number, millis, mut on): Relay,
    ) -> Result<u64, Fault> {
        self.env.sleep(Duration::from_millis(millis)).await;
        let Some(next) = on.pop().and_then(|name| NodeId::new(&name).ok()) else {
            return Ok(number);
        };
        let cx = Cx::new("bugs.probe", trace);
        let asked =
            self.rpc.client::<Probe>().on(&next).call(&Relay(number, millis, on), &cx).await;
        asked.map_err(|error| Fault::internal(error.to_string()))
    }

    async fn shake(self, number: u64) -> Result<u64, Fault> {
        let is_first = self.record.times(number) == 0;
        let answer = self.work(number, 0).await;
        if is_first { panic_quietly() } else { answer }
    }

    async fn fail(self, millis: u64) -> Result<(), Fault> {
        self.env.sleep(Duration::from_millis(millis)).await;
        panic_quietly()
    }

    fn service(self) -> Service {
        let [fenced, remembered, once, shaky, note, relay, fail] =
            std::array::from_fn(|_| self.clone());
        Service::of::<Probe>()
            .call(move |_, Fenced(number, millis)| fenced.clone().work(number, millis))
            .call(move |_, Remembered(number, millis)| remembered.clone().work(number, millis))
            .call(move |_, Once(number, millis)| once.clone().work(number, millis))
            .call(move |_, Shaky(number)| shaky.clone().shake(number))
            .cast(move |_, Note(number)| {
                let work = note.clone().work(number, 0);
                async move { work.await.map(drop) }
            })
            .call(move |ctx, message: Relay| relay.clone().relay(ctx.trace, message))
            .call(|_, Bulky(number)| async move { Ok(number) })
            .call(move |_, Fail(millis)| fail.clone().fail(millis))
            .into()
    }
}

/// Without a word on standard error: it is what was asked for.
fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("as it was told"))
}

fn ids(names: &[&str]) -> Vec<NodeId> {
    names.iter().filter_map(|name| NodeId::new(name).ok()).collect()
}

/// A node that asks, and tells the others who lives.
pub(crate) fn caller(callers: &[&'static str]) -> Boot {
    let seeds = ids(callers);
    Arc::new(move |context: NodeContext| {
        let seeds = seeds.clone();
        Box::pin(async move {
            let handles = context.handles();
            let prepared = Prepared::new(context.parts(&seeds));
            let directory = prepared.directory().service();
            run(handles, prepared, vec![directory]).await;
        })
    })
}

/// A node that is asked.
pub(crate) fn server(record: &Record, callers: &[&'static str]) -> Boot {
    let (seeds, record) = (ids(callers), record.clone());
    Arc::new(move |context: NodeContext| {
        let (seeds, record) = (seeds.clone(), record.clone());
        Box::pin(async move {
            let handles = context.handles();
            let (env, name, life) =
                (context.env.clone(), context.node().to_string(), context.incarnation.0);
            let prepared = Prepared::new(context.parts(&seeds));
            let server = Server { env, name, life, record, rpc: prepared.rpc() };
            run(handles, prepared, vec![server.service()]).await;
        })
    })
}

/// A node that may send nothing to servers.
pub(crate) fn stranger(callers: &[&'static str]) -> Boot {
    let seeds = ids(callers);
    Arc::new(move |context: NodeContext| {
        let seeds = seeds.clone();
        Box::pin(async move {
            let handles = context.handles();
            run(handles, Prepared::new(context.parts(&seeds)), Vec::new()).await;
        })
    })
}

async fn run(handles: Disk, prepared: Prepared, services: Vec<Service>) {
    match prepared.start(services).await {
        Ok(node) => {
            handles.keep(|| node.rpc().clone());
            handles.keep(|| Arc::new(node));
        }
        Err(error) => tracing::error!(%error, "a node did not start"),
    }
}
