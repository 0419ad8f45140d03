//! Calls to an actor of another process by ractor_cluster, over its TCP without encryption.
//!
//! A program of its own, which does as `bench-messages` does when it measures; its manifest says why.

use std::{net::Ipv4Addr, process::ExitCode, time::Duration};

use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, pg, rpc::CallResult};
use ractor_cluster::{NodeServer, NodeServerMessage, RactorClusterMessage, client_connect};
use updraft_bench_load::{Caller, Drive, Failure, Serve, announce, drive, run};

/// The group in which the answering actor is found.
const GROUP: &str = "bench";

/// What both nodes must know; they live on the loopback interface for some minutes.
const COOKIE: &str = "bench";

/// How long the other node's actor may take to be known.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(5);

#[derive(RactorClusterMessage)]
enum Ask {
    #[rpc]
    Echo(Vec<u8>, RpcReplyPort<Vec<u8>>),
}

/// Answers with what it was asked.
struct Same;

impl Actor for Same {
    type Msg = Ask;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<Ask>, (): ()) -> Result<(), ActorProcessingErr> {
        pg::join(GROUP.to_owned(), vec![myself.get_cell()]);
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Ask>,
        Ask::Echo(body, asker): Ask,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        // A caller that has given up needs no answer.
        let _ = asker.send(body);
        Ok(())
    }
}

#[derive(Clone)]
struct Remote(ActorRef<Ask>);

impl Caller for Remote {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        match self.0.call(|asker| Ask::Echo(body.into(), asker), None).await? {
            CallResult::Success(answer) => Ok(answer.into()),
            CallResult::Timeout | CallResult::SenderError => Err("a call was not answered".into()),
        }
    }
}

async fn node(name: &str, port: u16) -> Result<ActorRef<NodeServerMessage>, Failure> {
    let server = NodeServer::new(
        port,
        COOKIE.to_owned(),
        name.to_owned(),
        "localhost".to_owned(),
        None,
        None,
    )
    .with_listen_addr(Ipv4Addr::LOCALHOST.into());
    Ok(Actor::spawn(None, server, ()).await?.0)
}

async fn serve(_: Serve) -> Result<(), Failure> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    drop(listener);
    let _node = node("server", port).await?;
    let (_, ended) = Actor::spawn(None, Same, ()).await?;
    announce(&format!("{}:{port}", Ipv4Addr::LOCALHOST))?;
    ended.await?;
    Ok(())
}

async fn connect(address: &str) -> Result<Remote, Failure> {
    let node = node("client", 0).await?;
    client_connect(&node, address).await?;
    let known = async {
        loop {
            if let Some(actor) = pg::get_members(&GROUP.to_owned()).pop() {
                return Remote(actor.into());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    Ok(tokio::time::timeout(KNOWN_WITHIN, known).await.map_err(|_| "the actor was not heard of")?)
}

async fn ask(order: Drive) -> Result<String, Failure> {
    drive(&order, async |_| connect(&order.address).await).await
}

fn main() -> ExitCode {
    run(serve, ask)
}
