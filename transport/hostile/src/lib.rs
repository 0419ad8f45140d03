//! What bytes from outside meet first, as plain functions for fuzzers and tests.
//!
//! Owns one function for each place of the transport that decodes what it has not made itself. Each takes any
//! bytes, tells whether they were something, and panics if the transport does, or if what was decoded does not survive being encoded again. The
//! same functions run under `cargo fuzz` (folder `fuzz/`) and, bounded, in this crate's own tests. For tests
//! only: no production crate depends on it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a panic is how a finding is told")]

pub mod bodies;
pub mod credentials;
pub mod frames;
pub mod joining;
pub mod names;
mod seeds;

/// One place where bytes from outside are decoded.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The name of its fuzz target and of the folder of its corpus.
    pub name: &'static str,
    /// Takes any bytes, and tells whether they were something; panics over a finding.
    pub run: fn(&[u8]) -> bool,
    /// Inputs that honest senders made, to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every place.
pub const ENTRIES: [Entry; 16] = [
    Entry {
        name: "frames_control_1",
        run: frames::control_one,
        seeds: || seeds::frames(frames::CONTROL_ONE),
    },
    Entry {
        name: "frames_control_2",
        run: frames::control_two,
        seeds: || seeds::frames(frames::CONTROL_TWO),
    },
    Entry {
        name: "frames_calls_1",
        run: frames::calls_one,
        seeds: || seeds::frames(frames::CALLS_ONE),
    },
    Entry {
        name: "frames_calls_2",
        run: frames::calls_two,
        seeds: || seeds::frames(frames::CALLS_TWO),
    },
    Entry {
        name: "frames_bulk_1",
        run: frames::bulk_one,
        seeds: || seeds::frames(frames::BULK_ONE),
    },
    Entry {
        name: "frames_bulk_2",
        run: frames::bulk_two,
        seeds: || seeds::frames(frames::BULK_TWO),
    },
    Entry { name: "body", run: bodies::body, seeds: seeds::bodies },
    Entry { name: "hello", run: frames::hello, seeds: seeds::hellos },
    Entry { name: "join_application", run: joining::application, seeds: seeds::applications },
    Entry { name: "join_answer", run: joining::answer, seeds: seeds::answers },
    Entry { name: "join_token", run: joining::token, seeds: seeds::tokens },
    Entry { name: "join_token_sealed", run: joining::token_sealed, seeds: seeds::tokens_sealed },
    Entry { name: "certificate_der", run: credentials::der, seeds: seeds::ders },
    Entry { name: "certificate_pem", run: credentials::pem, seeds: seeds::pems },
    Entry { name: "key_pem", run: credentials::key_pem, seeds: seeds::keys },
    Entry { name: "node_id", run: names::node_id, seeds: seeds::node_ids },
];
