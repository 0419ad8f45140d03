//! What is sent.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol};

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

/// A large body of so many bytes is to be kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Prepare(pub(super) u64);
message!(call Prepare = Bench / "prepare", Deduplicated, from ["compute"], to ["control"],
    reply (), deadline_ms 60_000);

/// The body that was prepared.
#[derive(Serialize, Deserialize)]
pub(super) struct Body;
message!(body Body = Bench / "body", from ["compute"], to ["control"]);
