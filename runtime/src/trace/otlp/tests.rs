use super::*;
use crate::{env::UnixMicros, trace::spans::SpanKind};

fn handled() -> Span {
    Span {
        trace_id: [0xab; 16],
        id: [0x01; 8],
        parent: [0; 8],
        kind: SpanKind::Server,
        method: "calculator/add",
        peer: NodeId::new("user").ok(),
        begun: UnixMicros(1_700_000_000_000_001),
        ended: UnixMicros(1_700_000_000_000_003),
        end: SpanEnd::Badly("rejected", "too large".to_owned()),
    }
}

#[test]
fn a_span_is_written_as_collectors_read_it() {
    let node = NodeId::new("server").unwrap();
    let request = request(&node, &[handled()]);
    let resource = &request["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][1], text("service.instance.id", "server"));
    let span = &resource["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], "ab".repeat(16));
    assert_eq!((&span["spanId"], &span["parentSpanId"]), (&json!("01".repeat(8)), &json!("")));
    assert_eq!(span["startTimeUnixNano"], "1700000000000001000");
    assert_eq!((&span["kind"], &span["name"]), (&json!(2), &json!("calculator/add")));
    assert_eq!(span["status"], json!({ "code": 2, "message": "too large" }));
    for (key, value) in [
        ("rpc.system", "updraft"),
        ("rpc.service", "calculator"),
        ("rpc.method", "add"),
        ("client.address", "user"),
        ("error.type", "rejected"),
    ] {
        assert!(span["attributes"].as_array().unwrap().contains(&text(key, value)), "{key}");
    }
}

#[test]
fn a_file_has_whole_lines_and_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    append(&file, "1234".to_owned(), 12).unwrap();
    append(&file, "5678".to_owned(), 12).unwrap();
    let refused = append(&file, "9012".to_owned(), 12).unwrap_err().to_string();
    assert!(refused.contains("more than 12 bytes: move it away"), "{refused}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "1234\n5678\n");
}
