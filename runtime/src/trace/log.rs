//! Log lines of [`tracing_subscriber`] that say for which request they are.
//!
//! ```
//! use updraft_runtime::trace::log::WithRequest;
//!
//! tracing_subscriber::fmt().fmt_fields(WithRequest::default()).init();
//! ```

use std::fmt;

use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FormatFields,
        format::{DefaultFields, Writer},
    },
};

use super::current_request;

/// The usual fields, and the request's id behind those of an event.
#[derive(Debug, Default)]
pub struct WithRequest(DefaultFields);

impl<'writer> FormatFields<'writer> for WithRequest {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        self.0.format_fields(writer.by_ref(), fields)?;
        match current_request() {
            Some(request) => write!(writer, " request_id={request}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::rpc::TraceContext;

    /// Lines in memory.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(trace: TraceContext) -> String {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .fmt_fields(WithRequest::default())
            .with_writer(lines.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            trace.scope_now(|| tracing::info!(what = 1, "done"));
        });
        String::from_utf8(lines.0.lock().clone()).unwrap()
    }

    #[test]
    fn a_line_of_a_request_has_its_id() {
        let line = logged(TraceContext { trace_id: [0xab; 16], ..TraceContext::default() });
        let end = " done what=1 request_id=req-abababab-abab-abab-abab-abababababab\n";
        assert!(line.ends_with(end), "{line}");
    }

    #[test]
    fn a_line_of_the_cloud_itself_has_none() {
        let line = logged(TraceContext::default());
        assert!(line.ends_with(" done what=1\n"), "{line}");
    }
}
