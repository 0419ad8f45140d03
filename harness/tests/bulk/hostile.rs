//! Sources that lie, fail, change or fall silent: each ends in an error that says so, and nothing wrong is kept.

use std::sync::atomic::Ordering;

use updraft_runtime::bulk::{FetchError, MemorySink, SinkError};

use super::*;
use crate::library::{Desk, Read, cx, id};

/// Small enough that a test that waits for patience to end is quick.
const SMALL_BYTES: usize = 1_000_000;

fn library(tier: Tier) -> Library {
    let library = Library::start(tier, 21, &["one"]);
    library.book.replace(content(3, SMALL_BYTES));
    library
}

/// How a fetch with little patience ends.
fn refusal(library: &mut Library) -> String {
    let rpc = library.rpc();
    let fetch = async move {
        let mut sink = MemorySink::at_most(1 << 24);
        let fetch = rpc.client::<Desk>().fetch(Read, &cx()).patient_for(Duration::from_secs(5));
        fetch.into(&mut sink).await
    };
    library.world.on(&id("reader"), LIMIT, fetch).unwrap().unwrap_err().to_string()
}

#[test]
fn a_source_that_has_more_or_less_than_it_said_is_told_so() {
    for tier in TIERS {
        let mut library = library(tier);
        library.book.more.store(1, Ordering::Relaxed);
        let words = refusal(&mut library);
        let more = "at 0 of 1000000, 262145 bytes came where 1 to 262144 were due";
        assert!(words.ends_with(more), "{words}");
        library.book.more.store(0, Ordering::Relaxed);
        library.book.ends_at.store(500_000, Ordering::Relaxed);
        let words = refusal(&mut library);
        let less = "at 524288 of 1000000, 0 bytes came where 1 to 262144 were due";
        assert!(words.ends_with(less), "{words}");
    }
}

#[test]
fn a_body_with_another_digest_than_it_was_said_to_have_is_thrown_away() {
    for tier in TIERS {
        let mut library = library(tier);
        library.book.lie_about_the_digest();
        let mut fetch = library.begin_fetch();
        let error = library.end_fetch(&mut fetch).unwrap_err();
        let found = sha256(&library.book.content());
        assert!(
            matches!(error, FetchError::Digest { ref digests, .. } if digests.found == found),
            "{error}"
        );
        assert!(library.kept().is_empty(), "{tier:?}: what is wrong was kept");
    }
}

#[test]
fn a_source_that_falls_silent_is_given_up_after_the_patience_of_who_waits() {
    for tier in TIERS {
        let mut library = library(tier);
        library.book.hangs.store(true, Ordering::Relaxed);
        let begun = library.world.now();
        let words = refusal(&mut library);
        assert_eq!(
            words,
            "no byte of library/read has come for 5 s, after 0; at last: silence for 5 s"
        );
        assert!(library.world.now() - begun < Duration::from_secs(8));
    }
}

#[test]
fn a_disk_error_of_the_source_is_told_and_when_it_has_passed_the_body_goes_on() {
    for tier in TIERS {
        let mut library = Library::start(tier, 22, &["one"]);
        let mut fetch = library.begin_fetch();
        library.until_done(&fetch, SIZE_BYTES / 8);
        library.book.fails.store(true, Ordering::Relaxed);
        library.world.run_for(Duration::from_secs(20));
        library.book.fails.store(false, Ordering::Relaxed);
        library.end_fetch(&mut fetch).unwrap();
        library.assert_read();
        assert_eq!(fetch.progress.borrow().fetched_bytes, SIZE_BYTES);

        library.put(&[]);
        library.book.fails.store(true, Ordering::Relaxed);
        let words = refusal(&mut library);
        assert!(words.ends_with("its server cannot go on: the disk says EIO"), "{words}");
    }
}

#[test]
fn a_source_that_gives_nothing_is_asked_ever_more_seldom() {
    for tier in TIERS {
        let mut library = library(tier);
        library.book.fails.store(true, Ordering::Relaxed);
        refusal(&mut library);
        // In 5 s: every 200 ms it would be 25 times.
        let asks = library.book.asks.load(Ordering::Relaxed);
        assert!((4..=12).contains(&asks), "{tier:?}: it was asked {asks} times");
    }
}

#[test]
fn a_body_that_changes_in_between_is_an_error_and_the_next_fetch_takes_the_new_one() {
    for tier in TIERS {
        let mut library = Library::start(tier, 23, &["one"]);
        let mut fetch = library.begin_fetch();
        library.until_done(&fetch, SIZE_BYTES / 8);
        let former = sha256(&library.book.content());
        library.book.replace(content(4, SMALL_BYTES * 3));
        library.world.crash(&id("one"));
        library.world.start(&id("one"));
        let found = sha256(&library.book.content());
        let words = library.end_fetch(&mut fetch).unwrap_err().to_string();
        assert_eq!(words, format!("the body is {found} now, not {former}"));
        let mut fetch = library.begin_fetch();
        assert_eq!(library.end_fetch(&mut fetch).unwrap(), found);
        library.assert_read();
    }
}

#[test]
fn what_was_kept_of_another_body_is_thrown_away_and_the_right_one_comes() {
    for tier in TIERS {
        let mut library = library(tier);
        for kept in [300_000, 2 * SMALL_BYTES] {
            library.put(&content(5, kept));
            let mut fetch = library.begin_fetch();
            library.end_fetch(&mut fetch).unwrap();
            library.assert_read();
        }
    }
}

#[test]
fn a_body_over_the_limit_of_who_fetches_is_refused_before_a_byte_of_it_comes() {
    for tier in TIERS {
        let mut library = library(tier);
        let rpc = library.rpc();
        let fetch = async move {
            let mut sink = MemorySink::at_most(1 << 24);
            rpc.client::<Desk>().fetch(Read, &cx()).at_most(999_999).into(&mut sink).await
        };
        let error = library.world.on(&id("reader"), LIMIT, fetch).unwrap().unwrap_err();
        let words = "the body of library/read has 1000000 bytes, and at most 999999 are taken";
        assert_eq!(error.to_string(), words);
    }
}

#[test]
fn a_disk_that_fills_up_is_told_and_has_its_room_back() {
    for tier in TIERS {
        let mut library = library(tier);
        let rpc = library.rpc();
        let fetch = async move {
            let mut sink = MemorySink::at_most(SMALL_BYTES / 2);
            let fetched = rpc.client::<Desk>().fetch(Read, &cx()).into(&mut sink).await;
            (fetched.unwrap_err(), sink.into_bytes())
        };
        let (error, kept) = library.world.on(&id("reader"), LIMIT, fetch).unwrap();
        let full = matches!(error, FetchError::Sink { error: SinkError::Full(_), .. });
        assert!(full, "{tier:?}: {error}");
        assert!(kept.is_empty(), "{tier:?}: {} bytes keep the disk full", kept.len());
    }
}
