//! What is sent.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol};

use crate::bulk::Part;

/// The topic of the node that answers.
pub(super) const TOPIC: &str = "bench";

/// What it understands.
pub(super) struct Bench;
protocol!(Bench = TOPIC);

/// A body that comes back. Its contract is the dearest: the server remembers its answers, for whoever asks again.
#[derive(Serialize, Deserialize)]
pub(super) struct Echo(pub(super) Bytes);
message!(call Echo = Bench / "echo", Deduplicated, from ["compute"], to ["control"], reply Bytes);

/// A body that nobody answers.
#[derive(Serialize, Deserialize)]
pub(super) struct Note(pub(super) Bytes);
message!(cast Note = Bench / "note", from ["compute"], to ["control"]);

/// How many notes have come.
#[derive(Serialize, Deserialize)]
pub(super) struct Notes;
message!(call Notes = Bench / "notes", Fenced, from ["compute"], to ["control"], reply u64);

/// A piece of a large body.
#[derive(Serialize, Deserialize)]
pub(super) struct Piece(pub(super) Part);
message!(call Piece = Bench / "piece", Deduplicated, from ["compute"], to ["control"],
    reply (), class Bulk, deadline_ms 10_000);

/// The digest of the pieces that came; the next piece begins a new body.
#[derive(Serialize, Deserialize)]
pub(super) struct Digest;
message!(call Digest = Bench / "digest", Deduplicated, from ["compute"], to ["control"],
    reply Vec<u8>);
