//! The reports of nodes in the text format of OpenMetrics, which Prometheus reads.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::{BUCKETS_US, Ends, Report};

/// What the text is, for the header `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A metric: its name, its labels, what it says, and what of a report it shows.
pub struct Metric {
    /// The name; counters have `_total` behind it.
    pub name: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
    shows: Shows,
}

/// Values, each under those of its labels.
type Values = Vec<(Vec<String>, u64)>;

enum Shows {
    Counts(fn(&Report) -> Values),
    Now(fn(&Report) -> Values),
    HandlerSeconds,
}

/// Every metric of a node. Each has the label `node` beside its own.
pub const METRICS: [Metric; 14] = [
    Metric {
        name: "updraft_handled",
        labels: &["method", "outcome"],
        help: "Messages handled by this node",
        shows: Shows::Counts(|report| {
            report.handlers.iter().flat_map(|one| by_end(&one.method, one.ends)).collect()
        }),
    },
    Metric {
        name: "updraft_handler_seconds",
        labels: &["method"],
        help: "How long handlers took",
        shows: Shows::HandlerSeconds,
    },
    Metric {
        name: "updraft_asked",
        labels: &["method", "outcome"],
        help: "Calls and casts sent by this node",
        shows: Shows::Counts(|report| {
            report.questions.iter().flat_map(|one| by_end(&one.method, one.ends)).collect()
        }),
    },
    Metric {
        name: "updraft_calls_in_flight",
        labels: &[],
        help: "Calls of this node that wait for an outcome",
        shows: Shows::Now(|report| alone(report.calls_in_flight)),
    },
    Metric {
        name: "updraft_duplicates",
        labels: &[],
        help: "Messages that came again and were not begun again",
        shows: Shows::Counts(|report| alone(report.duplicates)),
    },
    Metric {
        name: "updraft_mailbox_depth",
        labels: &["topic"],
        help: "Messages begun or queued in a service",
        shows: Shows::Now(|report| {
            report.mailboxes.iter().map(|one| (vec![one.topic.clone()], one.depth)).collect()
        }),
    },
    Metric {
        name: "updraft_members",
        labels: &[],
        help: "Members of the cloud that this node takes to live",
        shows: Shows::Now(|report| alone(report.members)),
    },
    Metric {
        name: "updraft_connections",
        labels: &[],
        help: "Connections that stand",
        shows: Shows::Now(|report| alone(report.links.up)),
    },
    Metric {
        name: "updraft_connections_opened",
        labels: &[],
        help: "Connections that came to stand",
        shows: Shows::Counts(|report| alone(report.links.opened)),
    },
    Metric {
        name: "updraft_dials_failed",
        labels: &[],
        help: "Dials after which no connection stood",
        shows: Shows::Counts(|report| alone(report.links.dials_failed)),
    },
    Metric {
        name: "updraft_refused",
        labels: &["reason"],
        help: "Peers that this node refused",
        shows: Shows::Counts(|report| {
            let refused = report.links.refused.iter();
            refused.map(|(reason, count)| (vec![reason.clone()], *count)).collect()
        }),
    },
    Metric {
        name: "updraft_frames",
        labels: &["class", "what"],
        help: "Frames and bytes by class of stream: sent, received, dropped; waiting is how many wait now",
        shows: Shows::Now(|report| {
            let classes = report.links.classes.iter();
            classes.flat_map(|(class, counts)| by_traffic(class, *counts)).collect()
        }),
    },
    Metric {
        name: "updraft_row_alarms",
        labels: &["kind"],
        help: "Rows that have not settled within their kind's time",
        shows: Shows::Now(|report| {
            report.alarms.iter().map(|kind| (vec![kind.table.clone()], kind.standing)).collect()
        }),
    },
    Metric {
        name: "updraft_row_alarms_raised",
        labels: &["kind"],
        help: "Alarms that this node raised about rows",
        shows: Shows::Counts(|report| {
            report.alarms.iter().map(|kind| (vec![kind.table.clone()], kind.raised)).collect()
        }),
    },
];

fn alone(value: u64) -> Values {
    vec![(Vec::new(), value)]
}

fn by_end(method: &str, ends: Ends) -> [(Vec<String>, u64); 4] {
    let Ends { replied, rejected, refused, unknown } = ends;
    [("replied", replied), ("rejected", rejected), ("refused", refused), ("unknown", unknown)]
        .map(|(end, count)| (vec![method.to_owned(), end.to_owned()], count))
}

fn by_traffic(class: &str, counts: [u64; 6]) -> Values {
    let names = ["sent", "sent_bytes", "received", "received_bytes", "dropped", "waiting"];
    let pairs = names.into_iter().zip(counts);
    pairs.map(|(what, count)| (vec![class.to_owned(), what.to_owned()], count)).collect()
}

/// The reports as text.
pub fn text(reports: Vec<Report>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(reports)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// One look at some nodes.
#[derive(Debug)]
struct Scrape(Vec<Report>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in &METRICS {
            let kind = metric.shows.kind();
            let mut encoded = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            for report in &self.0 {
                metric.encode(report, &mut encoded)?;
            }
        }
        Ok(())
    }
}

impl Shows {
    fn kind(&self) -> MetricType {
        match self {
            Self::Counts(_) => MetricType::Counter,
            Self::Now(_) => MetricType::Gauge,
            Self::HandlerSeconds => MetricType::Histogram,
        }
    }
}

impl Metric {
    fn encode(&self, report: &Report, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        match &self.shows {
            Shows::Counts(of) => {
                for (values, count) in of(report) {
                    self.with_labels(report, values, encoder, &ConstCounter::new(count))?;
                }
                Ok(())
            }
            Shows::Now(of) => {
                for (values, value) in of(report) {
                    let value = i64::try_from(value).unwrap_or(i64::MAX);
                    self.with_labels(report, values, encoder, &ConstGauge::new(value))?;
                }
                Ok(())
            }
            Shows::HandlerSeconds => handler_seconds(report, encoder),
        }
    }

    fn with_labels(
        &self,
        report: &Report,
        values: Vec<String>,
        encoder: &mut MetricEncoder<'_>,
        metric: &impl EncodeMetric,
    ) -> fmt::Result {
        let own = self.labels.iter().copied().zip(values);
        let labels: Vec<_> = [(NODE, report.node.to_string())].into_iter().chain(own).collect();
        metric.encode(encoder.encode_family(&labels)?)
    }
}

/// The label that says whose metric it is.
const NODE: &str = "node";

fn handler_seconds(report: &Report, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    for handler in &report.handlers {
        let Ends { replied, rejected, refused, unknown } = handler.ends;
        let count = replied + rejected + refused + unknown;
        let bounds = BUCKETS_US.iter().zip(&handler.buckets);
        let mut buckets: Vec<_> =
            bounds.map(|(bound_us, count)| (seconds(*bound_us), *count)).collect();
        let in_buckets: u64 = handler.buckets.iter().sum();
        buckets.push((f64::MAX, count.saturating_sub(in_buckets)));
        let labels = [(NODE, report.node.as_str()), ("method", handler.method.as_str())];
        let mut encoder = encoder.encode_family(&labels)?;
        encoder.encode_histogram::<NoLabelSet>(seconds(handler.total_us), count, &buckets, None)?;
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "a time in microseconds is far below 2^52")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use updraft_transport::NodeId;

    use super::*;
    use crate::{
        rows,
        vitals::{Handler, Links, Mailbox, Question},
    };

    fn report() -> Report {
        let ends = Ends { replied: 3, rejected: 1, refused: 0, unknown: 0 };
        Report {
            node: NodeId::new("one").unwrap(),
            incarnation: 1,
            runs_ms: 1_000,
            calls_in_flight: 2,
            duplicates: 5,
            members: 7,
            mailboxes: vec![Mailbox { topic: "work".to_owned(), depth: 4 }],
            handlers: vec![Handler {
                method: "work/job".to_owned(),
                ends,
                total_us: 5_000,
                slowest_us: 4_000,
                buckets: vec![2, 0, 1, 0, 0, 0, 0, 0],
            }],
            questions: vec![Question { method: "directory/beat".to_owned(), ends }],
            links: Links {
                refused: vec![("expired".to_owned(), 6)],
                classes: vec![("calls".to_owned(), [1, 2, 3, 4, 5, 6])],
                ..Links::default()
            },
            alarms: vec![rows::Report {
                table: "shop/order".to_owned(),
                raised: 9,
                standing: 8,
                oldest: Vec::new(),
            }],
        }
    }

    #[test]
    fn every_metric_is_in_the_text_with_its_values() {
        let text = text(vec![report()]).unwrap();
        for metric in &METRICS {
            assert!(text.contains(&format!("# HELP {} ", metric.name)), "{}", metric.name);
        }
        for line in [
            r#"updraft_handled_total{node="one",method="work/job",outcome="rejected"} 1"#,
            r#"updraft_handler_seconds_count{node="one",method="work/job"} 4"#,
            r#"updraft_handler_seconds_bucket{le="0.001",node="one",method="work/job"} 3"#,
            r#"updraft_mailbox_depth{node="one",topic="work"} 4"#,
            r#"updraft_refused_total{node="one",reason="expired"} 6"#,
            r#"updraft_frames{node="one",class="calls",what="waiting"} 6"#,
            r#"updraft_calls_in_flight{node="one"} 2"#,
            r#"updraft_duplicates_total{node="one"} 5"#,
            r#"updraft_row_alarms{node="one",kind="shop/order"} 8"#,
            r#"updraft_row_alarms_raised_total{node="one",kind="shop/order"} 9"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn every_metric_is_in_the_book() {
        let book = include_str!("../../../book/src/metrics.md");
        for metric in &METRICS {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let line = format!("| `{}` | {} | {} |", metric.name, labels.join(", "), metric.help);
            assert!(book.contains(&line), "missing in the book: {line}");
        }
    }
}
