//! Calls over RabbitMQ: a queue for the questions, direct reply-to for the answers; transient messages, no
//! acknowledgements, no TLS. It is how OpenStack's services call one another.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer,
    message::Delivery,
    options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use tokio::sync::oneshot;
use updraft_bench_load::{Caller, Drive, Failure, Serve, announce, drive};

use super::broker_of;
use crate::tasks::spawn;

/// Where questions wait.
const QUEUE: &str = "bench";

/// The queue that RabbitMQ keeps for the answers of a channel.
const REPLY_TO: &str = "amq.rabbitmq.reply-to";

type Waiting = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Bytes>>>>;

#[derive(Clone)]
struct Client {
    channel: Channel,
    /// Ends with the last caller.
    _connection: Arc<Connection>,
    waiting: Waiting,
    next: Arc<AtomicU64>,
}

impl Client {
    async fn open(broker: &str) -> Result<Self, Failure> {
        let connection = open(broker).await?;
        let channel = connection.create_channel().await?;
        let answers = consume(&channel, REPLY_TO).await?;
        let waiting = Waiting::default();
        spawn(hand_out(answers, waiting.clone()));
        Ok(Self { channel, _connection: Arc::new(connection), waiting, next: Arc::default() })
    }
}

impl Caller for Client {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().insert(id, answer);
        let properties = BasicProperties::default()
            .with_reply_to(REPLY_TO.into())
            .with_correlation_id(id.to_string().into());
        publish(&self.channel, QUEUE.into(), &body, properties).await?;
        Ok(answered.await?)
    }
}

async fn hand_out(mut answers: Consumer, waiting: Waiting) -> Result<(), Failure> {
    while let Some(answer) = answers.next().await {
        let answer = answer?;
        let id = answer.properties.correlation_id().as_ref();
        let id: u64 = id.ok_or("an answer without a number")?.as_str().parse()?;
        let asked = waiting.lock().remove(&id);
        if let Some(asked) = asked {
            // A caller that has given up needs no answer.
            let _ = asked.send(answer.data.into());
        }
    }
    Ok(())
}

async fn open(broker: &str) -> Result<Connection, Failure> {
    // The account that a new RabbitMQ makes, for the loopback interface alone.
    let address = format!("amqp://guest:guest@{broker}/%2f");
    Ok(Connection::connect(&address, ConnectionProperties::default()).await?)
}

async fn consume(channel: &Channel, queue: &str) -> Result<Consumer, Failure> {
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    Ok(channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?)
}

async fn publish(
    channel: &Channel,
    queue: ShortString,
    body: &[u8],
    properties: BasicProperties,
) -> Result<(), Failure> {
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), queue, options, body, properties).await?;
    Ok(())
}

pub(super) async fn serve(order: &Serve) -> Result<(), Failure> {
    let broker = broker_of(order)?;
    let connection = open(broker).await?;
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { auto_delete: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), options, FieldTable::default()).await?;
    let mut asked = consume(&channel, QUEUE).await?;
    announce(broker)?;
    while let Some(question) = asked.next().await {
        answer(&channel, question?).await?;
    }
    Ok(())
}

async fn answer(channel: &Channel, question: Delivery) -> Result<(), Failure> {
    let Some(reply_to) = question.properties.reply_to().clone() else { return Ok(()) };
    let id = question.properties.correlation_id().clone().unwrap_or_else(|| "".into());
    let properties = BasicProperties::default().with_correlation_id(id);
    publish(channel, reply_to, &question.data, properties).await
}

pub(super) async fn ask(order: &Drive) -> Result<String, Failure> {
    drive(order, async |_| Client::open(&order.address).await).await
}
