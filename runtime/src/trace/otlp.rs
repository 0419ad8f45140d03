//! Spans as OpenTelemetry's collectors read them: one `ExportTraceServiceRequest` in JSON a line, in a file.
//!
//! Owns the file's lines. What an operator's collector makes of them is not known here. OpenTelemetry's own library
//! is not used, because it takes time, randomness and threads from the process, and a simulation has hundreds of nodes
//! in one.

use std::{
    fmt::Write,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use updraft_transport::NodeId;

use super::spans::{Span, SpanEnd, Spans};
use crate::Env;

/// How large the file becomes at most, in bytes; more is dropped until somebody has taken it away. Some 500,000 spans.
pub const FILE_MAX_BYTES: u64 = 256 << 20;

/// How many spans go in one line at most: some 500 bytes each, well below what a collector takes for a line.
const LINE_MAX: usize = 512;

/// How long spans wait for company.
const GATHER: Duration = Duration::from_millis(200);

/// How often the log says that spans are lost.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// `STATUS_CODE_ERROR`; without a code all is well.
const STATUS_ERROR: u8 = 2;

/// What a collector calls a span's maker.
const SCOPE: &str = "updraft";

/// Spans of one node, as a collector takes them.
#[must_use]
pub fn request(node: &NodeId, spans: &[Span]) -> Value {
    let spans: Vec<_> = spans.iter().map(span).collect();
    let resource = [text("service.name", SCOPE), text("service.instance.id", node.as_str())];
    let scope = json!({ "name": SCOPE, "version": env!("CARGO_PKG_VERSION") });
    json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] })
}

fn span(span: &Span) -> Value {
    let (service, method) = span.method.split_once('/').unwrap_or((span.method, ""));
    let mut attributes =
        vec![text("rpc.system", SCOPE), text("rpc.service", service), text("rpc.method", method)];
    attributes.extend(span.peer.as_ref().map(|peer| text("client.address", peer.as_str())));
    let status = match &span.end {
        SpanEnd::Well => json!({}),
        SpanEnd::Badly(how, why) => {
            attributes.push(text("error.type", how));
            json!({ "code": STATUS_ERROR, "message": why })
        }
    };
    json!({
        "traceId": hex(&span.trace_id),
        "spanId": hex(&span.id),
        "parentSpanId": if span.parent == [0; 8] { String::new() } else { hex(&span.parent) },
        // Bit 0 is W3C's "sampled".
        "flags": 1,
        "name": span.method,
        "kind": span.kind as u8,
        "startTimeUnixNano": nanos(span.begun.0),
        "endTimeUnixNano": nanos(span.ended.0),
        "attributes": attributes,
        "status": status,
    })
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// In JSON a number of 64 bits is text.
fn nanos(micros: u64) -> String {
    u128::from(micros).saturating_mul(1_000).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Appends a node's spans to a file, for as long as the node lives. Several nodes may share one: a line is written in
/// one go.
pub fn export_to_file(env: &Env, node: NodeId, spans: Spans, file: PathBuf) {
    let export = Export { env: env.clone(), node, spans, file, told: Told::default() };
    env.spawn("spans", export.forever());
}

struct Export {
    env: Env,
    node: NodeId,
    spans: Spans,
    file: PathBuf,
    told: Told,
}

/// What the log says of spans that were lost.
#[derive(Default)]
struct Told {
    /// How many.
    lost: u64,
    /// When it may say more.
    again: Duration,
}

impl Export {
    async fn forever(mut self) {
        loop {
            self.spans.ready().await;
            self.env.sleep(GATHER).await;
            let mut problem = None;
            loop {
                let taken = self.spans.take(LINE_MAX);
                if taken.is_empty() {
                    break;
                }
                if let Err(error) = self.write(&taken).await {
                    self.spans.lose(taken.len());
                    problem = Some(error);
                }
            }
            self.tell(problem.as_ref());
        }
    }

    async fn write(&self, spans: &[Span]) -> io::Result<()> {
        let (line, file) = (request(&self.node, spans).to_string(), self.file.clone());
        let written = self.env.blocking(move || append(&file, line, FILE_MAX_BYTES)).await;
        written.map_err(io::Error::other)?
    }

    /// Says that spans are lost, if more were since it was said, and not more often than is of use.
    fn tell(&mut self, problem: Option<&io::Error>) {
        let (lost, now) = (self.spans.dropped(), self.env.now());
        if lost > self.told.lost && now >= self.told.again {
            let why = problem.map_or_else(|| "they came too fast".to_owned(), io::Error::to_string);
            tracing::warn!(file = %self.file.display(), lost, why, "spans were lost");
            self.told = Told { lost, again: now + TELL_EVERY };
        }
    }
}

fn append(path: &Path, mut line: String, max_bytes: u64) -> io::Result<()> {
    line.push('\n');
    let there = fs::metadata(path).map(|file| file.len()).unwrap_or_default();
    if there.saturating_add(line.len() as u64) > max_bytes {
        let why = format!("the file would have more than {max_bytes} bytes: move it away");
        return Err(io::Error::other(why));
    }
    // The words of faults are in it, which are for those who asked.
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    options.open(path)?.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests;
