//! What an answer repeats of the message that it answers.

use bytes::Bytes;
use bytestring::ByteString;
use updraft_transport::{Header, Incarnation, Kind};

/// A message that may want an answer: the part of its header that is copied without cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    kind: Kind,
    id: u64,
    incarnation: Incarnation,
    trace_id: [u8; 16],
    span_id: [u8; 8],
    trace_flags: u8,
}

impl Question {
    pub(super) fn of(header: &Header) -> Self {
        let Header { kind, id, incarnation, trace_id, span_id, trace_flags, .. } = *header;
        Self { kind, id, incarnation, trace_id, span_id, trace_flags }
    }

    /// Whether its sender waits.
    pub(super) fn wants_answer(self) -> bool {
        self.kind == Kind::Call
    }

    /// What goes before the answer.
    pub(super) fn answer_header(self) -> Header {
        Header {
            kind: Kind::Reply,
            method: ByteString::new(),
            id: self.id,
            incarnation: self.incarnation,
            deadline_ms: 0,
            trace_id: self.trace_id,
            span_id: self.span_id,
            trace_flags: self.trace_flags,
            context: Bytes::new(),
        }
    }
}
