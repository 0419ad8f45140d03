//! Datagrams there and back: the floor, without order, repetition or encryption.

use std::sync::Arc;

use bytes::Bytes;
use tokio::net::UdpSocket;
use updraft_bench_load::{Caller, Drive, Failure, announce, drive};

/// The largest datagram.
const DATAGRAM_MAX_BYTES: usize = 65_507;

/// One question at a time: an answer is whatever comes next.
#[derive(Clone)]
struct Socket(Arc<UdpSocket>);

impl Caller for Socket {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        self.0.send(&body).await?;
        let mut answer = Vec::with_capacity(body.len());
        self.0.recv_buf(&mut answer).await?;
        Ok(answer.into())
    }
}

pub(super) async fn serve() -> Result<(), Failure> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    announce(&socket.local_addr()?.to_string())?;
    let mut buffer = vec![0; DATAGRAM_MAX_BYTES];
    loop {
        let (bytes, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..bytes], from).await?;
    }
}

pub(super) async fn ask(order: &Drive) -> Result<String, Failure> {
    let connect = async |_| {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(&order.address).await?;
        Ok(Socket(Arc::new(socket)))
    };
    drive(order, connect).await
}
