//! gRPC with TLS: unary calls over one HTTP/2 connection.

use std::path::Path;

use bytes::Bytes;
use rcgen::{CertificateParams, KeyPair};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{
        Certificate, Channel, ClientTlsConfig, Identity, Server, ServerTlsConfig,
        server::TcpIncoming,
    },
};
use updraft_bench_load::{Caller, Drive, Failure, Serve, announce, drive};

/// What the tools of tonic make of the service.
mod made {
    #![allow(missing_docs, unused_qualifications, unreachable_pub, clippy::all, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/bench.Echo.rs"));
}

use made::{
    echo_client::EchoClient,
    echo_server::{Echo, EchoServer},
};

/// The name in the server's certificate.
const NAME: &str = "localhost";

/// The file with the server's certificate, for callers; its key never leaves the server's process.
const CERTIFICATE: &str = "grpc.pem";

/// A body, there and back.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Body {
    #[prost(bytes = "bytes", tag = "1")]
    content: Bytes,
}

/// Answers with what it was asked.
struct Same;

#[tonic::async_trait]
impl Echo for Same {
    async fn echo(&self, asked: Request<Body>) -> Result<Response<Body>, Status> {
        Ok(Response::new(asked.into_inner()))
    }
}

#[derive(Clone)]
struct Client(EchoClient<Channel>);

impl Caller for Client {
    async fn call(&self, body: Bytes) -> Result<Bytes, Failure> {
        let answer = self.0.clone().echo(Body { content: body }).await?;
        Ok(answer.into_inner().content)
    }
}

pub(super) async fn serve(order: &Serve) -> Result<(), Failure> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([NAME.to_owned()])?.self_signed(&key)?.pem();
    std::fs::write(Path::new(&order.folder).join(CERTIFICATE), &certificate)?;
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key.serialize_pem()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(&listener.local_addr()?.to_string())?;
    Server::builder()
        .tls_config(tls)?
        .add_service(EchoServer::new(Same))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await?;
    Ok(())
}

pub(super) async fn ask(order: &Drive) -> Result<String, Failure> {
    let certificate = std::fs::read(Path::new(&order.folder).join(CERTIFICATE))?;
    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificate)).domain_name(NAME);
    let connect = async |_| {
        let endpoint = Channel::from_shared(format!("https://{}", order.address))?;
        let channel = endpoint.tcp_nodelay(true).tls_config(tls.clone())?.connect().await?;
        Ok(Client(EchoClient::new(channel)))
    };
    drive(order, connect).await
}
