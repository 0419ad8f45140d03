//! What carries messages: one module for each, all with the same two doors.
//!
//! `serve` answers every call with its own body and announces where it listens; `ask` does a job of the measuring
//! side.

pub(crate) mod grpc;
mod nats;
mod rabbitmq;
mod tcp;
mod udp;
mod updraft;

use updraft_bench_load::{Drive, Failure, Serve};

/// Answers calls.
pub(crate) async fn serve(order: Serve) -> Result<(), Failure> {
    match order.peer.as_str() {
        "updraft" => updraft::serve().await,
        "tcp" => tcp::serve().await,
        "udp" => udp::serve().await,
        "grpc" => grpc::serve(&order).await,
        "nats" => nats::serve(&order).await,
        "rabbitmq" => rabbitmq::serve(&order).await,
        other => Err(unknown(other)),
    }
}

/// Does a job.
pub(crate) async fn ask(order: Drive) -> Result<String, Failure> {
    match order.peer.as_str() {
        "updraft" => updraft::ask(&order).await,
        "tcp" => tcp::ask(&order).await,
        "udp" => udp::ask(&order).await,
        "grpc" => grpc::ask(&order).await,
        "nats" => nats::ask(&order).await,
        "rabbitmq" => rabbitmq::ask(&order).await,
        other => Err(unknown(other)),
    }
}

fn unknown(peer: &str) -> Failure {
    format!("nothing here is called {peer}").into()
}

fn broker_of(order: &Serve) -> Result<&str, Failure> {
    order.broker.as_deref().ok_or_else(|| format!("{} needs a broker", order.peer).into())
}
