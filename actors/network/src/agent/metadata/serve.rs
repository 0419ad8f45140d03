//! HTTP for one network's guests: few connections, short requests, no bodies.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use rand::RngCore;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Connection, Metadata, MetadataListener, Unanswered, content};

/// Most connections of one guest at once; a greedy guest takes nothing from its neighbours.
const CONNECTIONS_PER_GUEST_MAX: usize = 8;

/// Most connections of one network at once: memory is bounded, whatever addresses guests invent.
const CONNECTIONS_PER_NETWORK_MAX: usize = 512;

/// How long a guest may take to say what it wants.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// How long a connection may stand: cloud-init's whole crawl takes a few seconds.
const CONNECTION_MAX: Duration = Duration::from_secs(60);

/// Bytes of a request's head that are kept at most; paths and headers of metadata clients are short.
const HEAD_MAX_BYTES: usize = 16 << 10;

/// The pause after a connection could not be accepted, as when there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bytes of entropy that a guest is given; as many as the service that guests know gives.
const SEED_BYTES: usize = 512;

/// Who is connected, and how often.
#[derive(Clone, Default)]
struct Census(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// A counted connection.
struct Counted {
    census: Census,
    source: IpAddr,
}

impl Census {
    fn admit(&self, source: IpAddr) -> Option<Counted> {
        let mut counts = self.0.lock();
        let total: usize = counts.values().sum();
        let own = counts.entry(source).or_default();
        if total >= CONNECTIONS_PER_NETWORK_MAX || *own >= CONNECTIONS_PER_GUEST_MAX {
            if *own == 0 {
                counts.remove(&source);
            }
            return None;
        }
        *own += 1;
        drop(counts);
        Some(Counted { census: self.clone(), source })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.census.0.lock();
        if let Some(own) = counts.get_mut(&self.source) {
            *own -= 1;
            if *own == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

/// Answers one network's guests.
pub(super) struct Server {
    metadata: Metadata,
    network: Uuid,
    census: Census,
}

impl Server {
    /// A server for this network.
    pub(super) fn new(metadata: Metadata, network: Uuid) -> Self {
        Self { metadata, network, census: Census::default() }
    }

    /// Accepts until told to stop; then every connection ends, and the listener is dropped.
    pub(super) async fn run(
        self,
        mut listener: Box<dyn MetadataListener>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let stop = stopped.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((connection, source)) => self.begin(connection, source, stop.clone()),
                Err(error) => {
                    tracing::warn!(network = %self.network, %error, "no metadata connection");
                    self.metadata.shared.env.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn begin(
        &self,
        connection: Box<dyn Connection>,
        source: IpAddr,
        mut stopped: watch::Receiver<bool>,
    ) {
        let Some(counted) = self.census.admit(source) else {
            tracing::debug!(network = %self.network, %source, "too many metadata connections");
            return;
        };
        let visitor = Visitor { metadata: self.metadata.clone(), network: self.network, source };
        let env = self.metadata.shared.env.clone();
        self.metadata.shared.env.spawn("metadata connection", async move {
            let _counted = counted;
            let service = TowerToHyperService::new(router(visitor));
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS_WITHIN)
                .max_buf_size(HEAD_MAX_BYTES)
                // Simple clients end their half once they have asked.
                .half_close(true)
                // The date would come from a clock of hyper's own.
                .auto_date_header(false)
                .serve_connection(TokioIo::new(connection), service);
            let bounded = env.timeout(CONNECTION_MAX, serving);
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => {}
                ended = bounded => log_end(source, ended),
            }
        });
    }
}

fn log_end(source: IpAddr, ended: Option<Result<(), hyper::Error>>) {
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%source, %error, "a metadata connection broke"),
        None => tracing::debug!(%source, "a metadata connection stood too long"),
    }
}

/// One connected guest: where it asks from, as the network says.
#[derive(Clone)]
struct Visitor {
    metadata: Metadata,
    network: Uuid,
    source: IpAddr,
}

fn router(visitor: Visitor) -> Router {
    Router::new().fallback(answer).with_state(visitor)
}

async fn answer(State(visitor): State<Visitor>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let allowed = [(header::ALLOW, "GET, HEAD")];
        return (StatusCode::METHOD_NOT_ALLOWED, allowed, "only GET and HEAD\n").into_response();
    }
    let about = visitor.metadata.about(visitor.network, visitor.source).await;
    let (guest, metadata) = match about {
        Ok(known) => known,
        Err(Unanswered::Unknown) => return not_found(),
        Err(Unanswered::Unavailable) => {
            let retry = [(header::RETRY_AFTER, "2")];
            return (StatusCode::SERVICE_UNAVAILABLE, retry, "try again\n").into_response();
        }
    };
    let mut seed = [0; SEED_BYTES];
    visitor.metadata.shared.env.rng("metadata seed").fill_bytes(&mut seed);
    let tree = content::tree(&guest, &metadata, &seed);
    tree.at(request.uri().path()).map_or_else(not_found, |found| {
        let (content_type, bytes) = found.render();
        ([(header::CONTENT_TYPE, content_type)], bytes).into_response()
    })
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_may_have_only_so_many_connections_and_its_neighbour_still_gets_one() {
        let census = Census::default();
        let (greedy, other) = ("10.0.0.5".parse().unwrap(), "10.0.0.6".parse().unwrap());
        let held: Vec<_> =
            (0..CONNECTIONS_PER_GUEST_MAX).map(|_| census.admit(greedy).unwrap()).collect();
        assert!(census.admit(greedy).is_none());
        assert!(census.admit(other).is_some());
        drop(held);
        assert!(census.admit(greedy).is_some());
    }
}
