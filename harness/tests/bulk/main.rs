//! Large bodies between nodes that break: on the in-memory switch, over QUIC on simulated UDP, and on this machine.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod breaks;
mod hostile;
mod library;
mod real;
mod together;

use std::time::Duration;

use bytes::Bytes;
use updraft_harness::world::Tier;
use updraft_runtime::bulk::{Algorithm, Hasher};

use library::{Library, SIZE_BYTES};

/// Long enough for a body and all that happens to it.
const LIMIT: Duration = Duration::from_secs(300);
/// The simulations.
const TIERS: [Tier; 2] = [Tier::Memory, Tier::Quic];

/// What no two pieces have in common.
fn content(seed: u64, bytes: usize) -> Bytes {
    let word =
        |at: u64| (at ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).to_le_bytes();
    (0..bytes.div_ceil(8) as u64).flat_map(word).take(bytes).collect()
}

fn sha256(bytes: &[u8]) -> updraft_runtime::bulk::Digest {
    Hasher::digest(Algorithm::Sha256, bytes)
}

#[test]
fn a_body_arrives_whole_with_its_digest_and_tells_how_far_it_is() {
    for tier in TIERS {
        let mut library = Library::start(tier, 1, &["one"]);
        let mut fetch = library.begin_fetch();
        let digest = library.end_fetch(&mut fetch).unwrap();
        assert_eq!(digest, sha256(&library.book.content()));
        assert!(library.kept() == library.book.content(), "{tier:?}: other bytes");
        let progress = *fetch.progress.borrow();
        assert_eq!(progress.done_bytes, SIZE_BYTES);
        assert_eq!(progress.total_bytes, Some(SIZE_BYTES));
        assert_eq!(progress.fetched_bytes, SIZE_BYTES);
    }
}

#[test]
fn an_empty_body_is_a_body() {
    for tier in TIERS {
        let mut library = Library::start(tier, 1, &["one"]);
        library.book.replace(Bytes::new());
        let mut fetch = library.begin_fetch();
        assert_eq!(library.end_fetch(&mut fetch).unwrap(), sha256(b""));
    }
}
