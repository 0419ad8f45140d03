//! Request and reply over a NATS server, without TLS.

use bytes::Bytes;
use futures_util::StreamExt;
use updraft_bench_load::{Caller, Drive, Failure, Serve, announce, drive};

use super::broker_of;

/// What is asked.
const SUBJECT: &str = "bench";

#[derive(Clone)]
struct Client(async_nats::Client);

impl Caller for Client {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        Ok(self.0.request(SUBJECT, body).await?.payload)
    }
}

pub(super) async fn serve(order: &Serve) -> Result<(), Failure> {
    let broker = broker_of(order)?;
    let client = async_nats::connect(broker).await?;
    let mut asked = client.subscribe(SUBJECT).await?;
    // The server knows of the subscription when this has come back.
    client.flush().await?;
    announce(broker)?;
    while let Some(message) = asked.next().await {
        if let Some(reply) = message.reply {
            client.publish(reply, message.payload).await?;
        }
    }
    Ok(())
}

pub(super) async fn ask(order: &Drive) -> Result<String, Failure> {
    let connect = async |_| Ok(Client(async_nats::connect(&order.address).await?));
    drive(order, connect).await
}
