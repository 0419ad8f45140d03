//! The signals that end a process in order.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for the signal to end: SIGTERM, SIGINT, or SIGHUP, by which a terminal that closes says so.
pub async fn told_to_end() {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)]: [Result<Signal, _>; 3] =
        kinds.map(signal)
    else {
        tracing::error!("no signal can be heard; end this process by force");
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
}
