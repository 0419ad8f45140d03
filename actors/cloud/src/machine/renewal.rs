//! Certificates are replaced long before they end, while connections stand.

use std::{sync::Arc, time::Duration};

use updraft_protocol::membership::{IssuedCertificate, Membership, RenewCertificate, TOPIC};
use updraft_runtime::{
    Env,
    rpc::{Cx, Rpc, TraceContext},
};
use updraft_transport::{certificate::Certificate, key::NodeKey, quic::Quic, tls::Credentials};

use super::{data_dir::DataDir, enrol, link::Failure, nbd_tls};
use crate::membership::NODE_LASTS;

/// A certificate with less left than this is replaced: two thirds of its life, so that a control node may be
/// away for months.
const RENEW_BELOW: Duration = Duration::from_secs(NODE_LASTS.as_secs() / 3 * 2);

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(3_600);

/// Whether a certificate that is valid until then is due.
fn is_due(now_unix_secs: u64, until_unix_secs: u64) -> bool {
    until_unix_secs.saturating_sub(now_unix_secs) < RENEW_BELOW.as_secs()
}

/// Keeps a certificate valid, for ever; `next` makes or fetches another.
async fn keep<F>(env: Env, quic: Arc<Quic>, mut current: Credentials, mut next: impl FnMut() -> F)
where
    F: Future<Output = Result<Credentials, Failure>>,
{
    loop {
        let until = current.certificate().valid_until_unix_secs().unwrap_or_default();
        if is_due(env.wall().secs(), until) {
            let renewed = next().await.and_then(|fresh| {
                quic.renew(&fresh)?;
                Ok(fresh)
            });
            match renewed {
                Ok(fresh) => {
                    tracing::info!("this node's certificate is renewed");
                    current = fresh;
                }
                Err(error) => tracing::warn!(%error, "this node's certificate is not renewed yet"),
            }
        }
        env.sleep(LOOK).await;
    }
}

/// Of a node that has the CA itself.
pub(super) fn of_control(
    env: &Env,
    quic: Arc<Quic>,
    current: Credentials,
    mut issue: impl FnMut() -> Result<Credentials, Failure> + Send + 'static,
) {
    let keeping = keep(env.clone(), quic, current, move || std::future::ready(issue()));
    env.spawn("certificate", keeping);
}

/// Of a node that has to ask.
pub(super) fn of_node(env: &Env, quic: Arc<Quic>, current: Credentials, rpc: Rpc, data: DataDir) {
    let key = current.key().clone();
    let keeping = keep(env.clone(), quic, current, move || {
        let (rpc, data, key) = (rpc.clone(), data.clone(), key.clone());
        async move {
            let cx = Cx::new(TOPIC, TraceContext::default());
            let issued = rpc.client::<Membership>().call(&RenewCertificate, &cx).await?;
            let fresh = credentials(&issued, key)?;
            enrol::keep(&data, &fresh)?;
            nbd_tls::keep(&data, &fresh)?;
            Ok(fresh)
        }
    });
    env.spawn("certificate", keeping);
}

fn credentials(issued: &IssuedCertificate, key: NodeKey) -> Result<Credentials, Failure> {
    let certificate = Certificate::from_der(issued.certificate.to_vec())?;
    let authorities = issued.authorities.iter().map(|der| Certificate::from_der(der.to_vec()));
    Ok(Credentials::new(certificate, key, authorities.collect::<Result<_, _>>()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_when_a_third_of_its_life_has_passed() {
        let day = 24 * 3_600;
        assert!(!is_due(0, 365 * day));
        assert!(!is_due(121 * day, 365 * day));
        assert!(is_due(122 * day, 365 * day));
        assert!(is_due(400 * day, 365 * day), "long ended");
    }
}
