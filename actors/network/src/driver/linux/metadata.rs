//! The real transport of metadata: a TCP listener in the namespace of each network's DHCP server.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener},
};

use async_trait::async_trait;
use tokio::net::TcpListener;
use updraft_runtime::{Env, env::Gone};
use uuid::Uuid;

use super::netns;
use crate::{
    agent::{Connection, METADATA_ADDRESS, METADATA_PORT, MetadataListener, MetadataTransport},
    driver::names,
};

/// Listens at 169.254.169.254:80 inside namespaces.
#[derive(Clone, Debug)]
pub struct NamespaceMetadata {
    env: Env,
}

impl NamespaceMetadata {
    /// A transport on this machine.
    #[must_use]
    pub fn new(env: Env) -> Self {
        Self { env }
    }
}

fn bind(namespace: &str) -> io::Result<StdListener> {
    netns::within(namespace, || {
        let listener = StdListener::bind((METADATA_ADDRESS, METADATA_PORT))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    })
}

#[async_trait]
impl MetadataTransport for NamespaceMetadata {
    async fn listen(&self, network: Uuid) -> io::Result<Box<dyn MetadataListener>> {
        let namespace = names::namespace(network);
        let bound = self.env.blocking(move || bind(&namespace)).await;
        let listener = bound.map_err(|gone: Gone| io::Error::other(gone))??;
        Ok(Box::new(Listener(TcpListener::from_std(listener)?)))
    }
}

struct Listener(TcpListener);

#[async_trait]
impl MetadataListener for Listener {
    async fn accept(&mut self) -> io::Result<(Box<dyn Connection>, IpAddr)> {
        let (stream, source): (_, SocketAddr) = self.0.accept().await?;
        Ok((Box::new(stream), source.ip()))
    }
}
