use super::*;

fn request() -> TraceContext {
    TraceContext { trace_id: [1; 16], ..TraceContext::default() }
}

#[tokio::test]
async fn spans_that_find_no_room_are_dropped_and_counted() {
    let spans = Spans::new(&Env::real());
    for _ in 0..SPANS_MAX + 3 {
        drop(spans.open(SpanKind::Client, &mut request(), "calculator/add", None));
    }
    assert_eq!(spans.dropped(), 3);
    assert_eq!(spans.take(usize::MAX).len(), SPANS_MAX);
}

#[tokio::test]
async fn a_span_is_below_the_one_that_travelled() {
    let spans = Spans::new(&Env::real());
    let mut trace = request();
    let outer = spans.open(SpanKind::Server, &mut trace, "calculator/add", None);
    let id = trace.span_id;
    drop(spans.open(SpanKind::Client, &mut trace, "calculator/add", None));
    drop(outer);
    let parents: Vec<_> = spans.take(usize::MAX).iter().map(|span| span.parent).collect();
    assert_eq!(parents, [id, [0; 8]]);
    assert!(trace.sampled, "others are told");
}

#[tokio::test]
async fn what_belongs_to_no_request_has_no_span() {
    let spans = Spans::new(&Env::real());
    assert!(spans.open(SpanKind::Client, &mut TraceContext::default(), "beat", None).is_none());
}
