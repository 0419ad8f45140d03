//! Tasks of a measuring process.

use std::io::Write;

use updraft_bench_load::Failure;

/// Starts a task; why it failed goes to the standard error, and whoever waits for it hears nothing.
#[allow(clippy::disallowed_methods, reason = "what is measured beside our own has no Env")]
pub(crate) fn spawn(work: impl Future<Output = Result<(), Failure>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = work.await {
            // Who closes it does not want to be told.
            let _ = writeln!(std::io::stderr().lock(), "{error}");
        }
    });
}
