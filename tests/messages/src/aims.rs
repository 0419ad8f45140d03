//! What was aimed at, and whether this run got there.

use std::fmt;

use serde::Serialize;

use crate::{
    case::{FLOOR, IDLE_ACTORS, OURS, USUAL, calls_name},
    table::{Column, Row},
};

/// Processor time of a call, in that of plain TCP without encryption.
const TIMES_TCP_MAX: f64 = 1.7;

/// How many times dearer a call over gRPC with TLS should be.
const TIMES_CHEAPER_THAN_GRPC: f64 = 10.0;

/// The same over RabbitMQ.
const TIMES_CHEAPER_THAN_RABBITMQ: f64 = 100.0;

/// The 99th percentile under load, as a share of either.
const P99_SHARE_MAX: f64 = 0.5;

/// What one of 10,000 idle actors may hold: 30 MB together.
const IDLE_ACTOR_MAX_BYTES: f64 = 3_000.0;

/// One aim.
#[derive(Debug, Serialize)]
pub(crate) struct Aim {
    name: String,
    wanted: f64,
    /// `None` if this run has not measured it.
    seen: Option<f64>,
    more_is_better: bool,
    met: bool,
}

impl Aim {
    fn at_most(name: &str, wanted: f64, seen: Option<f64>) -> Self {
        let met = seen.is_some_and(|seen| seen <= wanted);
        Self { name: name.to_owned(), wanted, seen, more_is_better: false, met }
    }

    fn at_least(name: &str, wanted: f64, seen: Option<f64>) -> Self {
        let met = seen.is_some_and(|seen| seen >= wanted);
        Self { name: name.to_owned(), wanted, seen, more_is_better: true, met }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, wanted, .. } = self;
        let bound = if self.more_is_better { "at least" } else { "at most" };
        match self.seen {
            Some(seen) => {
                let word = if self.met { "met" } else { "missed" };
                write!(f, "{word}: {name}: {seen:.2}, {bound} {wanted} wanted")
            }
            None => write!(f, "not measured: {name}, {bound} {wanted} wanted"),
        }
    }
}

/// The aims, and what the rows say of them.
pub(crate) fn of(rows: &[Row]) -> Vec<Aim> {
    let usual = calls_name(USUAL);
    let figure = |case: &str, peer: &str, column| {
        let row = rows.iter().find(|row| row.case == case && row.peer == peer)?;
        row.figures.get(&column).copied()
    };
    let ratio = |of: &str, to: &str, column| {
        Some(figure(&usual, of, column)? / figure(&usual, to, column)?)
    };
    let (cpu, p99) = (Column::CpuUs, Column::P99Us);
    vec![
        Aim::at_most("CPU of a call, in plain TCP's", TIMES_TCP_MAX, ratio(OURS, FLOOR, cpu)),
        Aim::at_least("CPU over gRPC, in ours", TIMES_CHEAPER_THAN_GRPC, ratio("grpc", OURS, cpu)),
        Aim::at_least(
            "CPU over RabbitMQ, in ours",
            TIMES_CHEAPER_THAN_RABBITMQ,
            ratio("rabbitmq", OURS, cpu),
        ),
        Aim::at_most("p99 of a call, in gRPC's", P99_SHARE_MAX, ratio(OURS, "grpc", p99)),
        Aim::at_most("p99 of a call, in RabbitMQ's", P99_SHARE_MAX, ratio(OURS, "rabbitmq", p99)),
        Aim::at_most(
            "bytes of an idle actor",
            IDLE_ACTOR_MAX_BYTES,
            figure(IDLE_ACTORS, OURS, Column::Bytes),
        ),
    ]
}
