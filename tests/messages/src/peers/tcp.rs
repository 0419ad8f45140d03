//! Frames over one TCP connection, without encryption: what every other figure is compared with.
//!
//! It does the least that can be called an RPC: many calls share a connection, each carries its method and patience,
//! answers find their caller by number, and what waits is written at once. The server answers where it reads.

mod frame;

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use slab::Slab;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
};
use updraft_bench_load::{Caller, Drive, Failure, Job, announce, drive};

use self::frame::Frame;
use crate::{
    bulk::{self, Body, Part, Sink},
    tasks::spawn,
};

/// Calls written at once.
const BATCH: usize = 256;

/// Room for what is read at once.
const READ_BYTES: usize = 64 * 1024;

/// The patience that a call carries.
const PATIENCE_MS: u32 = 10_000;

type Waiting = Arc<Mutex<Slab<oneshot::Sender<Bytes>>>>;

struct Question {
    method: &'static str,
    body: Bytes,
    answer: oneshot::Sender<Bytes>,
}

/// A connection that many callers share.
#[derive(Clone)]
struct Connection(mpsc::UnboundedSender<Question>);

impl Connection {
    async fn open(address: &str) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reading, writing) = stream.into_split();
        let (questions, asked) = mpsc::unbounded_channel();
        let waiting = Waiting::default();
        spawn(write(writing, asked, waiting.clone()));
        spawn(read(reading, waiting));
        Ok(Self(questions))
    }

    async fn ask(&self, method: &'static str, body: Bytes) -> Result<Bytes, Failure> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Question { method, body, answer })?;
        Ok(answered.await?)
    }
}

impl Caller for Connection {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        self.ask("bench/echo", body).await
    }
}

impl Sink for Connection {
    async fn put(&self, part: Part) -> Result<(), Failure> {
        let body = postcard::to_stdvec(&part)?;
        self.ask("bench/part", body.into()).await.map(drop)
    }

    async fn digest(&self) -> Result<Vec<u8>, Failure> {
        Ok(self.ask("bench/digest", Bytes::new()).await?.into())
    }
}

async fn write(
    mut stream: OwnedWriteHalf,
    mut asked: mpsc::UnboundedReceiver<Question>,
    waiting: Waiting,
) -> Result<(), Failure> {
    let (mut batch, mut out) = (Vec::new(), Vec::new());
    while asked.recv_many(&mut batch, BATCH).await > 0 {
        for Question { method, body, answer } in batch.drain(..) {
            let id = waiting.lock().insert(answer) as u64;
            frame::append(&Frame { id, method, patience_ms: PATIENCE_MS, body: &body }, &mut out)?;
        }
        stream.write_all(&out).await?;
        out.clear();
    }
    Ok(())
}

async fn read(mut stream: OwnedReadHalf, waiting: Waiting) -> Result<(), Failure> {
    let mut pending = BytesMut::new();
    while take(&mut stream, &mut pending).await? {
        while let Some(payload) = frame::split(&mut pending) {
            let frame = frame::parse(&payload)?;
            let asked = waiting.lock().try_remove(usize::try_from(frame.id)?);
            if let Some(asked) = asked {
                // A caller that has given up needs no answer.
                let _ = asked.send(payload.slice_ref(frame.body));
            }
        }
    }
    Ok(())
}

/// Waits for more; `false` is the end.
async fn take(
    stream: &mut (impl AsyncReadExt + Unpin),
    pending: &mut BytesMut,
) -> io::Result<bool> {
    pending.reserve(READ_BYTES);
    Ok(stream.read_buf(pending).await? > 0)
}

pub(super) async fn serve() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(&listener.local_addr()?.to_string())?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) -> Result<(), Failure> {
    let (mut pending, mut out, mut received) = (BytesMut::new(), Vec::new(), Body::default());
    while take(&mut stream, &mut pending).await? {
        while let Some(payload) = frame::split(&mut pending) {
            let asked = frame::parse(&payload)?;
            let kept;
            let body = match asked.method {
                "bench/part" => {
                    received.take(postcard::from_bytes(asked.body)?);
                    &[][..]
                }
                "bench/digest" => {
                    kept = std::mem::take(&mut received).digest();
                    &kept[..]
                }
                _ => asked.body,
            };
            frame::append(&Frame { method: "", patience_ms: 0, body, ..asked }, &mut out)?;
        }
        stream.write_all(&out).await?;
        out.clear();
    }
    Ok(())
}

pub(super) async fn ask(order: &Drive) -> Result<String, Failure> {
    if let Job::Bulk { bytes } = order.job {
        return bulk::send(Connection::open(&order.address).await?, bytes, &order.processes).await;
    }
    drive(order, async |_| Connection::open(&order.address).await).await
}
