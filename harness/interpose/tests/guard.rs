//! What an armed thread draws and sees, and what it is refused.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests of what the door closes"
)]

use std::{
    net::UdpSocket,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rand::{TryRngCore, rngs::OsRng};
use updraft_interpose::{Violation, arm, disarm, draws, set_time, with_threads};

const SEED: u64 = 7;
const START_SECS: u64 = 1_800_000_000;

/// What happens on a fresh thread that is armed, and what it may not have done.
fn armed<T: Send>(work: impl FnOnce() -> T + Send) -> (T, Vec<Violation>) {
    thread::scope(|scope| {
        let run = || {
            assert!(arm(SEED, START_SECS.try_into().unwrap()));
            let result = work();
            (result, disarm())
        };
        scope.spawn(run).join().unwrap()
    })
}

fn entropy() -> [u8; 32] {
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes).unwrap();
    bytes
}

#[test]
fn entropy_follows_from_the_seed_and_draws_are_counted() {
    let draw = || {
        let before = draws();
        (entropy(), entropy(), draws() - before)
    };
    let ((one, violations), (other, _)) = (armed(draw), armed(draw));
    assert_eq!(one, other);
    let (first, second, count) = one;
    assert_ne!(first, second);
    assert_eq!((count, violations), (2, vec![]));
    assert_ne!(entropy(), entropy(), "a thread that is not armed has the machine's");
}

#[test]
fn the_clock_is_the_simulations() {
    let moment = Duration::from_millis(2_500);
    let see = || {
        set_time(moment);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let first = std::time::Instant::now();
        set_time(moment * 2);
        (wall, first.elapsed())
    };
    let ((wall, elapsed), violations) = armed(see);
    assert_eq!(wall, Duration::from_secs(START_SECS) + moment);
    assert_eq!(elapsed, moment);
    assert_eq!(violations, []);
}

#[test]
fn a_thread_is_not_started_and_whoever_wanted_it_is_told() {
    let start = || thread::Builder::new().spawn(|| ()).map(|_| ());
    let (started, violations) = armed(start);
    assert_eq!(started.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    assert_eq!(violations, [Violation::ThreadStarted]);
}

#[test]
fn a_thread_that_was_let_start_is_named_when_it_asks_for_time_or_entropy() {
    let names = || {
        with_threads(|| {
            let asks = || (SystemTime::now(), entropy());
            let stray = thread::Builder::new().name("stray".to_owned()).spawn(asks);
            stray.unwrap().join().unwrap();
        });
    };
    let ((), violations) = armed(names);
    let stray = |asked| Violation::StrayThread { thread: "stray".to_owned(), asked };
    assert!(violations.contains(&stray("the clock")), "{violations:?}");
    assert!(violations.contains(&stray("entropy")), "{violations:?}");
    assert!(violations[0].to_string().contains("thread \"stray\""), "{}", violations[0]);
}

#[test]
fn no_real_socket_is_opened() {
    let (opened, violations) = armed(|| UdpSocket::bind("127.0.0.1:0").map(|_| ()));
    assert!(opened.is_err());
    assert_eq!(violations, [Violation::SocketOpened]);
}

#[test]
fn nobody_sleeps() {
    let hour = Duration::from_secs(3_600);
    let ((), violations) = armed(|| thread::sleep(hour));
    assert_eq!(violations, [Violation::Slept(hour)]);
}

#[test]
fn a_thread_that_is_not_armed_may_do_all_of_it() {
    let before = std::time::Instant::now();
    thread::sleep(Duration::from_millis(2));
    assert!(before.elapsed() >= Duration::from_millis(2));
    UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_ne!(thread::spawn(entropy).join().unwrap(), entropy());
    assert_eq!((draws(), disarm()), (0, vec![]));
}

#[test]
fn a_simulation_is_not_told_of_anothers_doings() {
    let ((), first) = armed(|| {
        let ((), inner) =
            thread::scope(|scope| with_threads(|| scope.spawn(|| armed(|| ())).join().unwrap()));
        assert_eq!(inner, []);
        thread::sleep(Duration::from_secs(1));
    });
    assert!(first.contains(&Violation::Slept(Duration::from_secs(1))));
    assert_eq!(armed(|| ()).1, []);
}
