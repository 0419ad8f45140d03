//! More handshakes at once than a node allows.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime};
use tokio::task::JoinSet;
use updraft_transport::{
    Refused,
    join::{Admission, Applicant, JoinToken, Verdict},
    quic::{JoinRequest, join, udp},
};

use crate::cloud::{LOCALHOST, NOW, Node, Plan, ca, id, key};

/// Handshakes on their way at once: enough to be quick, too few to starve one another.
const AT_ONCE: usize = 32;
/// Whatever would be given up after longer is waited for.
const PATIENCE_ENDS: Duration = Duration::from_secs(5);

/// A clock for a busy machine: short timers run, and long ones, which give up on slow peers, never do.
struct Unhurried(Arc<dyn Runtime>);

impl Runtime for Unhurried {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let far = at > self.now() + PATIENCE_ENDS;
        Box::pin(Timer { inner: self.0.new_timer(at), runtime: Arc::clone(&self.0), far })
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        self.0.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        self.0.now()
    }
}

impl fmt::Debug for Unhurried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unhurried")
    }
}

#[derive(Debug)]
struct Timer {
    inner: Pin<Box<dyn AsyncTimer>>,
    runtime: Arc<dyn Runtime>,
    far: bool,
}

impl AsyncTimer for Timer {
    fn reset(mut self: Pin<&mut Self>, at: Instant) {
        self.far = at > self.runtime.now() + PATIENCE_ENDS;
        self.inner.as_mut().reset(at);
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.far { Poll::Pending } else { self.inner.as_mut().poll(cx) }
    }
}

/// Never decides, and counts how often it was asked.
#[derive(Default)]
struct Undecided(AtomicUsize);

impl Admission for Undecided {
    fn judge(&self, _applicant: Applicant) -> Verdict {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    }
}

/// Wants to join, and waits for the verdict.
async fn ask(node_host: Arc<crate::cloud::TestHost>, token: JoinToken) {
    let (socket, runtime) = udp::bind(LOCALHOST).unwrap();
    let runtime = Arc::new(Unhurried(runtime));
    let (node, key) = (id("new"), key("new"));
    // Refused or left waiting: the node counts it.
    let _ = join(JoinRequest { token, node, key, socket, runtime, host: node_host }).await;
}

/// A node that so many machines have asked at once that it has refused one unseen.
pub(crate) fn crowded() -> Node {
    let admission = Arc::new(Undecided::default());
    let plan = Plan::control("victim", admission.clone());
    let node = plan.start_with(|runtime| Arc::new(Unhurried(runtime)));
    let authority = ca(1);
    let control = id("victim");
    let token = JoinToken::new([7; 16], authority.certificate(), control, node.address, NOW + 600);
    node.run(async {
        let mut crowd = JoinSet::new();
        while node.link.counts().refused[&Refused::TooManyHandshakes] == 0 {
            if crowd.len() < admission.0.load(Ordering::Relaxed) + AT_ONCE {
                crowd.spawn(ask(Arc::clone(&node.host), token.clone()));
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    assert!(admission.0.load(Ordering::Relaxed) >= 512 - AT_ONCE, "it refuses too early");
    node
}
