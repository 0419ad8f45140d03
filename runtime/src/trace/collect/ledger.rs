//! What a collector knows of the log without reading it again: how much there is, and where each request is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;

use crate::store::LogEntry;

/// How many batches the log keeps; older ones are trimmed.
pub(super) const BATCHES_KEPT: usize = 20_000;

/// How many bytes of batches the log keeps: some 300,000 steps, the lives of several thousand servers. It bounds the
/// ledger too, since a step in the log takes more bytes than its place here.
pub(super) const BYTES_KEPT: usize = 64 << 20;

/// A step, as far as the ledger looks at it.
#[derive(Deserialize)]
struct Traced {
    trace_id: [u8; 16],
}

/// The batches of the log that are to be kept.
#[derive(Default)]
pub(super) struct Ledger {
    seen: u64,
    /// The sequence number and the bytes of each.
    batches: VecDeque<(u64, usize)>,
    bytes: usize,
    /// The batches that hold each request.
    traces: BTreeMap<[u8; 16], Vec<u64>>,
    /// The last batch that is not kept any more.
    surplus: Option<u64>,
}

impl Ledger {
    /// The last batch that it knows of, by sequence number.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes the next batch in; the oldest go when there are too many.
    pub(super) fn add(&mut self, entry: &LogEntry) {
        let LogEntry { sequence, value } = entry;
        self.seen = *sequence;
        self.batches.push_back((*sequence, value.len()));
        self.bytes += value.len();
        // What cannot be read is nobody's, and takes its room.
        let steps: Vec<Traced> = serde_json::from_slice(value).unwrap_or_default();
        let traces: BTreeSet<[u8; 16]> = steps.into_iter().map(|step| step.trace_id).collect();
        for trace in traces {
            self.traces.entry(trace).or_default().push(*sequence);
        }
        while (self.batches.len() > BATCHES_KEPT || self.bytes > BYTES_KEPT)
            && let Some((oldest, bytes)) = self.batches.pop_front()
        {
            self.bytes -= bytes;
            self.surplus = Some(oldest);
        }
    }

    /// Forgets what is not kept any more, and says up to where the log may be trimmed if it may.
    pub(super) fn surplus(&mut self) -> Option<u64> {
        let up_to = self.surplus.take()?;
        self.traces.retain(|_, batches| {
            batches.retain(|sequence| *sequence > up_to);
            !batches.is_empty()
        });
        Some(up_to)
    }

    /// The batches that hold steps of these requests, in order.
    pub(super) fn batches_of(&self, traces: &[[u8; 16]]) -> BTreeSet<u64> {
        traces.iter().filter_map(|trace| self.traces.get(trace)).flatten().copied().collect()
    }
}
