//! What breaks in the middle goes on where it was.

use super::*;
use crate::library::id;

/// Where it breaks.
const MARKS: [u64; 3] = [SIZE_BYTES / 4, SIZE_BYTES / 2, SIZE_BYTES * 3 / 4];

/// Each sending began where the former had come to, as far as that was kept, and never before a mark that was passed.
#[track_caller]
fn assert_went_on(library: &Library, marks: &[u64]) {
    let mut starts = library.book.starts();
    assert!(starts.is_sorted(), "{starts:?}");
    // What was asked for again before anything came.
    starts.dedup();
    assert_eq!(starts.first(), Some(&0));
    assert!(starts.len() > marks.len(), "{starts:?}");
    for (start, mark) in starts[1..].iter().zip(marks) {
        assert!(start >= mark, "{start} was sent again after {mark} had come: {starts:?}");
    }
    library.assert_read();
}

#[test]
fn a_connection_that_is_cut_again_and_again_costs_no_byte_twice() {
    for tier in TIERS {
        let mut library = Library::start(tier, 2, &["one"]);
        let mut fetch = library.begin_fetch();
        for mark in MARKS {
            library.until_done(&fetch, mark);
            library.world.partition(&id("one"), &id("reader"));
            library.world.run_for(Duration::from_secs(5));
            library.world.heal();
        }
        library.end_fetch(&mut fetch).unwrap();
        assert_went_on(&library, &MARKS);
        assert_eq!(fetch.progress.borrow().fetched_bytes, SIZE_BYTES);
    }
}

#[test]
fn a_source_that_restarts_goes_on_where_it_was() {
    for tier in TIERS {
        let mut library = Library::start(tier, 3, &["one"]);
        let mut fetch = library.begin_fetch();
        for mark in MARKS {
            library.until_done(&fetch, mark);
            library.world.crash(&id("one"));
            library.world.run_for(Duration::from_secs(1));
            library.world.start(&id("one"));
        }
        library.end_fetch(&mut fetch).unwrap();
        assert_went_on(&library, &MARKS);
        assert_eq!(fetch.progress.borrow().fetched_bytes, SIZE_BYTES);
    }
}

#[test]
fn a_receiver_that_restarts_goes_on_with_what_it_has() {
    for tier in TIERS {
        let mut library = Library::start(tier, 4, &["one"]);
        let mut marks = Vec::new();
        for mark in MARKS {
            let fetch = library.begin_fetch();
            library.until_done(&fetch, mark);
            marks.push(library.kept().len() as u64);
            library.world.crash(&id("reader"));
            library.world.run_for(Duration::from_secs(5));
            library.world.start(&id("reader"));
            library.until_known(1);
        }
        let mut fetch = library.begin_fetch();
        library.end_fetch(&mut fetch).unwrap();
        assert_went_on(&library, &marks);
        let fetched = fetch.progress.borrow().fetched_bytes;
        assert_eq!(fetched, SIZE_BYTES - marks[2], "only the rest came");
    }
}

#[test]
fn another_server_of_the_topic_goes_on_where_a_dead_one_was() {
    for tier in TIERS {
        let mut library = Library::start(tier, 5, &["one", "two"]);
        let mut fetch = library.begin_fetch();
        library.until_done(&fetch, SIZE_BYTES / 2);
        let served = ["one", "two"].map(id);
        for node in &served {
            // Whoever serves it: one after the other dies, and the first comes back.
            library.world.crash(node);
            library.world.run_for(Duration::from_secs(6));
            if *node == served[0] {
                library.world.start(node);
                library.until_known(2);
            }
        }
        library.end_fetch(&mut fetch).unwrap();
        library.assert_read();
        assert_eq!(fetch.progress.borrow().fetched_bytes, SIZE_BYTES);
    }
}

#[test]
fn a_network_that_loses_doubles_and_reorders_brings_every_byte_once() {
    for tier in TIERS {
        let mut library = Library::start(tier, 6, &["one"]);
        library.world.set_loss(0.02);
        let mut fetch = library.begin_fetch();
        library.until_done(&fetch, SIZE_BYTES / 4);
        library.world.set_disorder(0.05, 0.05);
        library.end_fetch(&mut fetch).unwrap();
        library.assert_read();
        assert_eq!(fetch.progress.borrow().fetched_bytes, SIZE_BYTES);
    }
}
