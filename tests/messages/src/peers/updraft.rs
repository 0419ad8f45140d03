//! Our own: whole nodes, as in production. QUIC with mutual TLS, roles, duplicate suppression, deadlines, supervised
//! services, and a trace that every call belongs to.

mod actors;
mod bodies;
mod casts;
mod messages;
mod node;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use updraft_bench_load::{Caller, Drive, Failure, Job, announce, drive};
use updraft_runtime::{
    Env,
    node::Node,
    rpc::{self, Cx, Rpc, TraceContext},
    transport::{NodeId, tls::Credentials},
};

use self::messages::{Bench, Echo};

/// The topic that asks, for the trace.
const ASKER: &str = "asker";

/// A node that asks.
#[derive(Clone)]
struct Client {
    node: Arc<Asker>,
    server: rpc::Client<Bench>,
}

/// A node that stops with the last who uses it.
struct Asker {
    rpc: Rpc,
    node: Option<Node>,
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            self.rpc.env().spawn("stop", async move { node.stop().await });
        }
    }
}

impl Client {
    fn rpc(&self) -> &Rpc {
        &self.node.rpc
    }

    /// A request's context: every call of one belongs to its trace.
    fn cx(&self) -> Cx {
        Cx::new(ASKER, TraceContext { trace_id: [7; 16], ..TraceContext::default() })
    }
}

impl Caller for Client {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        Ok(self.server.call(&Echo(body), &self.cx()).await?)
    }
}

pub(super) async fn serve() -> Result<(), Failure> {
    node::log_as_in_production();
    let (node, address) = node::server(&Env::real()).await?;
    announce(&address.to_string())?;
    Err(node.failed().await.into())
}

/// A node has its certificate long before it connects: what is timed begins with credentials at hand.
fn ready(env: &Env, job: &Job) -> Result<Vec<Credentials>, Failure> {
    let Job::SetUp { times } = *job else { return Ok(Vec::new()) };
    (0..times).map(|number| node::client_credentials(env, number)).collect()
}

pub(super) async fn ask(order: &Drive) -> Result<String, Failure> {
    node::log_as_in_production();
    let env = Env::real();
    if let Job::Actors { count, services } = order.job {
        return actors::idle(&env, count, services).await;
    }
    let server: std::net::SocketAddr = order.address.parse()?;
    let to = NodeId::new(node::SERVER)?;
    let ready = Mutex::new(ready(&env, &order.job)?);
    let connect = async |number| {
        let made = ready.lock().pop();
        let credentials = made.map_or_else(|| node::client_credentials(&env, number), Ok)?;
        let node = node::client(&env, credentials, server).await?;
        let node = Arc::new(Asker { rpc: node.rpc().clone(), node: Some(node) });
        let server = node.rpc.client().on(&to);
        Ok(Client { node, server })
    };
    match order.job {
        Job::Casts(load) => casts::send(&connect(0).await?, &load, &order.processes).await,
        Job::Bulk { bytes } => {
            let client = connect(0).await?;
            bodies::fetch(&client.server, &client.cx(), bytes, &order.processes).await
        }
        Job::Load(_) => {
            // As services do: whoever serves the topic, found in the directory.
            let any = async |number| {
                let client = connect(number).await?;
                node::until_known::<Echo>(client.rpc()).await?;
                Ok(Client { server: client.rpc().client(), ..client })
            };
            drive(order, any).await
        }
        _ => drive(order, connect).await,
    }
}
