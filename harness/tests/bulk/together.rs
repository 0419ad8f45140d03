//! Bodies beside calls and beside one another, slow receivers, and fetches that nobody wants any more.

use updraft_runtime::bulk::{FETCHES_MAX, MemorySink};

use super::*;
use crate::library::{Desk, Read, cx, id};

/// What waits at most between source and sink: the window of a stream, and a piece at each end of it.
const AHEAD_MAX_BYTES: u64 = 5 * 1024 * 1024;

#[test]
fn a_slow_receiver_slows_its_source_and_calls_pass_it() {
    for tier in TIERS {
        let mut library = Library::start(tier, 11, &["one"]);
        let mut fetch = library.begin_slow_fetch(Duration::from_millis(100));
        let mut ahead = 0;
        while fetch.done_bytes() < SIZE_BYTES / 2 {
            library.ping().unwrap();
            library.world.run_for(Duration::from_millis(20));
            ahead = ahead.max(library.book.read_bytes() - fetch.done_bytes());
        }
        assert!(ahead > 512 * 1024, "{tier:?}: the source waits for each piece: {ahead}");
        assert!(ahead <= AHEAD_MAX_BYTES, "{tier:?}: {ahead} bytes wait in memory");
        library.end_fetch(&mut fetch).unwrap();
        library.assert_read();
    }
}

#[test]
fn more_bodies_than_may_be_under_way_come_one_after_the_other_and_calls_pass_them() {
    for tier in TIERS {
        let mut library = Library::start(tier, 12, &["one"]);
        library.book.replace(content(2, 1024 * 1024));
        let rpc = library.rpc();
        let fetches: Vec<_> = (0..FETCHES_MAX + 2)
            .map(|_| {
                let rpc = rpc.clone();
                let fetch = async move {
                    let mut sink = MemorySink::at_most(1 << 24);
                    rpc.client::<Desk>().fetch(Read, &cx()).into(&mut sink).await.unwrap();
                    sink.into_bytes()
                };
                library.world.begin(&id("reader"), fetch).unwrap()
            })
            .collect();
        for mut fetch in fetches {
            let mut came = None;
            while came.is_none() {
                library.ping().unwrap();
                library.world.step();
                came = fetch.try_recv().ok();
            }
            assert!(came.unwrap() == library.book.content(), "{tier:?}: other bytes");
        }
    }
}

#[test]
fn a_fetch_that_is_dropped_frees_its_source_and_its_stream() {
    for tier in TIERS {
        let mut library = Library::start(tier, 13, &["one"]);
        let idle = library.book.in_use();
        // More of them than streams, so that one that was not freed would be missed.
        for _ in 0..2 * FETCHES_MAX {
            let (rpc, env) = (library.rpc(), library.rpc().env().clone());
            let work = async move {
                let mut sink = MemorySink::at_most(1 << 24);
                let fetch = rpc.client::<Desk>().fetch(Read, &cx());
                let mut progress = fetch.progress();
                let begun = progress.wait_for(|progress| progress.done_bytes > 0);
                tokio::select! {
                    biased;
                    _ = begun => {}
                    ended = fetch.into(&mut sink) => panic!("{ended:?}"),
                }
                env.sleep(Duration::from_millis(1)).await;
            };
            library.world.on(&id("reader"), LIMIT, work).unwrap();
        }
        library.world.run_for(Duration::from_secs(1));
        assert_eq!(library.book.in_use(), idle, "{tier:?}: somebody sends what nobody takes");
        let mut fetch = library.begin_fetch();
        library.end_fetch(&mut fetch).unwrap();
    }
}
