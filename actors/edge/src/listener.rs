//! Answers HTTP/1.1 on whatever a [`Listener`] accepts: TCP on a machine, simulated TCP in a simulation.
//!
//! Owns the limits that lie before any route: how many connections there are at once, and how long a request's
//! head may take to come, and how long an answer may wait for its reader. A connection over the limit is told so and
//! closed; one that dawdles is closed. What
//! was accepted before the end is answered: [`serve`] returns when the last connection has ended. An answer that
//! would last hears of the end by [`Ending`]. A connection that becomes another protocol's, such as a WebSocket, is its
//! handler's from then on, with limits of its own.

use std::{
    convert::Infallible,
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};

use axum::{Extension, Router, extract::FromRequestParts, http::request::Parts, serve::Listener};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::AsyncWriteExt,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_io_timeout::TimeoutStream;
use updraft_runtime::Env;

/// Most connections at once: half the files that a process may have open unless it asks for more.
pub const CONNECTIONS_MAX: u32 = 512;

/// How long the head of a request may take, and how long a connection may have nothing to say.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a listener may take nothing of an answer before its connection is closed: it would hold its place, and its
/// share of streams, for as long as it likes.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the refusal of a connection may take to be sent.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// What a connection over the limit is told.
const REFUSAL: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 65\r\n\r\n\
    Too many connections to this node at once: try again in a second\n";

/// The limits of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at once.
    pub connections_max: u32,
    /// How long the head of a request may take.
    pub head_timeout: Duration,
    /// How long an answer may wait for its reader.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            head_timeout: HEAD_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
        }
    }
}

/// Whether the listener by which a request came is ending. Handlers whose answers last, such as a stream of events,
/// take it and stop then.
#[derive(Clone, Debug)]
pub struct Ending(Option<watch::Receiver<bool>>);

impl Ending {
    /// Waits for the end; for ever where a request came by no listener.
    pub async fn begun(&self) {
        match self.0.clone() {
            Some(mut end) => is_true(&mut end).await,
            None => pending().await,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Ending {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or(Self(None)))
    }
}

/// Answers connections until `end` is true, and then what is under way.
pub async fn serve<L: Listener>(
    env: &Env,
    mut listener: L,
    router: Router,
    limits: Limits,
    mut end: watch::Receiver<bool>,
) {
    let free = Arc::new(Semaphore::new(limits.connections_max as usize));
    let router = router.layer(Extension(Ending(Some(end.clone()))));
    loop {
        let told = end.clone();
        let (io, _) = tokio::select! {
            biased;
            () = is_true(&mut end) => break,
            accepted = listener.accept() => accepted,
        };
        match free.clone().try_acquire_owned() {
            Ok(permit) => {
                env.spawn("rest", converse(io, router.clone(), limits, told, permit));
            }
            Err(_) => env.spawn("rest-refusal", refuse(env.clone(), io, limits.connections_max)),
        }
    }
    drop(listener);
    // Every connection gives its permit back when it has ended.
    let _ = free.acquire_many(limits.connections_max).await;
}

/// One connection, until either side ends it.
fn converse<I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>(
    io: I,
    router: Router,
    limits: Limits,
    mut end: watch::Receiver<bool>,
    permit: OwnedSemaphorePermit,
) -> impl Future<Output = ()> + Send {
    let mut io = Box::pin(TimeoutStream::new(io));
    io.as_mut().set_write_timeout_pinned(Some(limits.write_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router))
        .with_upgrades();
    async move {
        let _permit = permit;
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = is_true(&mut end) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }
}

async fn refuse(env: Env, mut io: impl AsyncWriteExt + Unpin, connections_max: u32) {
    let told = async {
        // Whoever does not hear it sees the connection close.
        let _ = io.write_all(REFUSAL.as_bytes()).await;
        let _ = io.shutdown().await;
    };
    env.timeout(REFUSAL_TIMEOUT, told).await;
    tracing::warn!("a connection was refused: there are {connections_max} already");
}

/// Waits until it is told to end; whoever could tell and is gone has told.
async fn is_true(end: &mut watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await;
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::{body::Body, routing::get};
    use futures_util::stream::repeat_with;
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
        sync::Notify,
    };

    use super::*;

    const ASK: &str = "GET /slow HTTP/1.1\r\nhost: here\r\n\r\n";

    /// A listener with one route, which answers once it is let.
    struct Served {
        address: SocketAddr,
        begun: Arc<Notify>,
        let_go: Arc<Notify>,
        end: watch::Sender<bool>,
        ended: tokio::sync::oneshot::Receiver<()>,
    }

    async fn served(limits: Limits) -> Served {
        let (begun, let_go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begins, goes) = (begun.clone(), let_go.clone());
        let slow = move || async move {
            begins.notify_one();
            goes.notified().await;
            "done"
        };
        let begins = begun.clone();
        let lasting = move |ending: Ending| async move {
            begins.notify_one();
            ending.begun().await;
            "ended"
        };
        let endless = || async { Body::from_stream(repeat_with(|| Ok::<_, Infallible>("more"))) };
        let router = Router::new()
            .route("/slow", get(slow))
            .route("/lasting", get(lasting))
            .route("/endless", get(endless));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let end = watch::Sender::new(false);
        let (told, ended) = (end.subscribe(), tokio::sync::oneshot::channel());
        let env = Env::real();
        env.clone().spawn("served", async move {
            serve(&env, listener, router, limits, told).await;
            let _ = ended.0.send(());
        });
        Served { address, begun, let_go, end, ended: ended.1 }
    }

    async fn asking(served: &Served) -> TcpStream {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(ASK.as_bytes()).await.unwrap();
        stream
    }

    /// Asks until there is a place: one is free once the listener has seen that a connection has ended.
    async fn until_let_in(served: &Served) {
        loop {
            let again = asking(served).await;
            tokio::select! {
                biased;
                () = served.begun.notified() => return,
                said = rest(again) => assert!(said.starts_with("HTTP/1.1 503 "), "{said}"),
            }
        }
    }

    /// All that comes until the other side closes.
    async fn rest(mut stream: TcpStream) -> String {
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        said
    }

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let (head, body) = REFUSAL.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }

    #[tokio::test]
    async fn a_connection_over_the_limit_is_told_so_and_one_that_ends_makes_room() {
        let served = served(Limits { connections_max: 1, ..Limits::default() }).await;
        let first = asking(&served).await;
        served.begun.notified().await;
        let refused = TcpStream::connect(served.address).await.unwrap();
        assert!(rest(refused).await.starts_with("HTTP/1.1 503 "), "a second connection is refused");
        drop(first);
        until_let_in(&served).await;
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_its_connection() {
        let limits = Limits { head_timeout: Duration::from_millis(50), ..Limits::default() };
        let served = served(limits).await;
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"GET /slow HTTP/1.1\r\nhost:").await.unwrap();
        assert_eq!(rest(stream).await, "");
    }

    #[tokio::test]
    async fn a_listener_that_stops_reading_loses_its_place() {
        let write_timeout = Duration::from_millis(50);
        let served =
            served(Limits { connections_max: 1, write_timeout, ..Limits::default() }).await;
        let mut idle = TcpStream::connect(served.address).await.unwrap();
        idle.write_all(ASK.replace("/slow", "/endless").as_bytes()).await.unwrap();
        idle.readable().await.unwrap();
        until_let_in(&served).await;
    }

    #[tokio::test]
    async fn what_is_under_way_is_answered_before_the_end() {
        let served = served(Limits::default()).await;
        let stream = asking(&served).await;
        served.begun.notified().await;
        served.end.send_replace(true);
        served.let_go.notify_one();
        assert!(rest(stream).await.ends_with("done"));
        served.ended.await.unwrap();
        assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens any longer");
    }

    #[tokio::test]
    async fn an_answer_that_lasts_hears_of_the_end() {
        let served = served(Limits::default()).await;
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let ask = ASK.replace("/slow", "/lasting");
        stream.write_all(ask.as_bytes()).await.unwrap();
        served.begun.notified().await;
        served.end.send_replace(true);
        assert!(rest(stream).await.ends_with("ended"));
        served.ended.await.unwrap();
    }
}
