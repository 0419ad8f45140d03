//! The identity service alone, over HTTP, for a client to talk to.
//!
//! ```text
//! cargo run -p updraft-identity --example identity_alone -- 127.0.0.1:5000
//! openstack --os-auth-url http://127.0.0.1:5000/identity --os-username admin --os-password secret \
//!     --os-project-name admin --os-user-domain-id default --os-project-domain-id default token issue
//! ```

use std::{error::Error, sync::Arc};

use axum::Router;
use updraft_edge::{context::Context, verify::Verifier};
use updraft_identity::{BootstrapConfig, Config, Identity, SnapshotKeeper, catalog_at};
use updraft_runtime::{
    Env,
    node::{Parts, Prepared},
    store::Store,
    transport::{Incarnation, NodeId, PeerIdentity, mem::Switch},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:5000".to_owned());
    let env = Env::real();
    let node = NodeId::new("control")?;
    let (transport, events) =
        Switch::new().attach(PeerIdentity::new(node.clone(), &["control"]), Incarnation(1));
    let listens_at = address.parse()?;
    let prepared = Prepared::new(Parts {
        env: env.clone(),
        transport,
        events,
        incarnation: Incarnation(1),
        address: listens_at,
        cell: "cell1".to_owned(),
        seeds: vec![(node, listens_at)],
    });
    let verifier = Arc::new(Verifier::new());
    let keeper = SnapshotKeeper::new(env.clone(), prepared.rpc(), verifier.clone());
    let context = Context {
        env: env.clone(),
        rpc: prepared.rpc(),
        store: Store::memory(env),
        tracer: prepared.tracer(),
        verifier,
        region: "RegionOne".to_owned(),
    };
    let identity = Identity::new(context, Config::default());
    let mut services = vec![prepared.directory().service(), keeper.service()];
    services.extend(identity.services());
    let _node = prepared.start(services).await?;
    identity.start();
    identity
        .bootstrap(&BootstrapConfig {
            admin_password: "secret".to_owned(),
            service_password: None,
            region: "RegionOne".to_owned(),
            catalog: catalog_at(&format!("http://{address}")),
            keeps_passwords: false,
            keeps_addresses: false,
        })
        .await?;
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let all = Router::new().nest_service("/identity", identity.router());
    Ok(axum::serve(listener, all).await?)
}
