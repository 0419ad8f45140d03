//! A bounded run of every entry point, on stable: any bytes, and the corpus with all kinds of damage.
//!
//! The cases are the same ones each time. More of them: `UPDRAFT_HOSTILE_CASES=1000000`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use updraft_hostile::{ENTRIES, Entry};

/// Cases for each entry point: together some ten seconds.
const CASES: u32 = 15_000;
/// Rewrites the corpus when it is set.
const WRITE: &str = "UPDRAFT_WRITE_CORPUS";
/// What lengths and counts are overwritten with.
const TELLING: [u32; 9] = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 64 * 1024 + 1, 0x7fff_ffff, u32::MAX];

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn corpus_folder(entry: &Entry) -> PathBuf {
    fuzz_folder().join("corpus").join(entry.name)
}

/// Everything that is kept for an entry point: seeds, and what was once a finding.
fn corpus(entry: &Entry) -> Vec<Vec<u8>> {
    let mut files: Vec<_> =
        fs::read_dir(corpus_folder(entry)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One damage.
#[derive(Clone, Debug)]
enum Damage {
    FlipBit(Index, u8),
    Truncate(Index),
    /// The bytes from here on are those of another input.
    Splice(Index, Vec<u8>),
    /// Four bytes that may be a length.
    Length(Index, u32),
    /// One byte that may be a shorter length.
    Byte(Index, u8),
    /// The bytes from here on come twice.
    Repeat(Index),
}

fn any_damage(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0_u8..8).prop_map(|(at, bit)| Damage::FlipBit(at, bit)),
        at().prop_map(Damage::Truncate),
        (at(), select(corpus), at()).prop_map(|(at, other, from)| {
            let from = from.index(other.len() + 1);
            Damage::Splice(at, other[from..].to_vec())
        }),
        (at(), select(TELLING.to_vec())).prop_map(|(at, value)| Damage::Length(at, value)),
        (at(), any::<u8>()).prop_map(|(at, value)| Damage::Byte(at, value)),
        at().prop_map(Damage::Repeat),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: Vec<Damage>) -> Vec<u8> {
    for damage in damages {
        let place = |at: Index| at.index(bytes.len() + 1);
        match damage {
            Damage::FlipBit(at, bit) => {
                let at = place(at);
                bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            Damage::Truncate(at) => bytes.truncate(place(at)),
            Damage::Splice(at, rest) => {
                bytes.truncate(place(at));
                bytes.extend(rest);
            }
            Damage::Length(at, value) => {
                let at = place(at);
                let over = bytes[at..].iter_mut().zip(value.to_be_bytes());
                over.for_each(|(byte, new)| *byte = new);
            }
            Damage::Byte(at, value) => {
                let at = place(at);
                bytes[at..].iter_mut().take(1).for_each(|byte| *byte = value);
            }
            Damage::Repeat(at) => {
                let rest = bytes[place(at)..].to_vec();
                bytes.extend(rest);
            }
        }
    }
    bytes
}

/// Any bytes, or something of the corpus with some damage.
fn any_input(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damages = vec(any_damage(corpus.clone()), 0..6);
    prop_oneof![
        1 => vec(any::<u8>(), 0..600),
        4 => (select(corpus), damages).prop_map(|(bytes, damages)| damaged(bytes, damages)),
    ]
}

/// Runs an entry point with this corpus, and with damage to it; the smallest input that it panics over, if there
/// is one.
fn run(entry: &Entry, corpus: Vec<Vec<u8>>, cases: u32) -> Result<(), String> {
    for bytes in &corpus {
        catch_unwind(|| (entry.run)(bytes))
            .map_err(|_| format!("{}: {bytes:?} of its corpus", entry.name))?;
    }
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, rng).run(&any_input(corpus), |bytes| {
        let _ = (entry.run)(&bytes);
        Ok(())
    });
    outcome.map_err(|error| format!("{}: {error}", entry.name))
}

fn cases() -> u32 {
    std::env::var("UPDRAFT_HOSTILE_CASES").map_or(CASES, |cases| cases.parse().unwrap())
}

#[test]
fn no_entry_point_panics_or_forgets() {
    for entry in &ENTRIES {
        run(entry, corpus(entry), cases()).unwrap();
    }
}

#[test]
fn a_panic_that_needs_a_damaged_seed_is_found() {
    let planted = Entry {
        name: "planted",
        run: |bytes| {
            assert!(!(bytes.starts_with(&[0, 0, 0]) && bytes.ends_with(&[0xff; 2])));
            true
        },
        seeds: Vec::new,
    };
    let seed = [&[0; 8][..], &[0xff, 0, 0xff]].concat();
    let found = run(&planted, vec![seed], CASES).unwrap_err();
    assert!(found.contains("planted: Test failed"), "{found}");
}

#[test]
fn what_honest_senders_make_is_something_and_nothing_is_nothing() {
    for entry in &ENTRIES {
        let seeds = (entry.seeds)();
        assert!(!seeds.is_empty(), "{} has no seed", entry.name);
        let understood = seeds.iter().filter(|seed| (entry.run)(seed)).count();
        assert_eq!(understood, seeds.len(), "{}", entry.name);
        assert!(!(entry.run)(b""), "{}", entry.name);
    }
}

/// The names of what is in a folder, without their extension.
fn names_in(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_fuzz_target_is_an_entry_point_that_runs_here() {
    let entries: BTreeSet<_> = ENTRIES.iter().map(|entry| entry.name.to_owned()).collect();
    assert_eq!(entries.len(), ENTRIES.len(), "two entry points have the same name");
    assert_eq!(names_in(&fuzz_folder().join("fuzz_targets")), entries);
    assert_eq!(names_in(&fuzz_folder().join("corpus")), entries);
    let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    let bins: BTreeSet<_> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\""))
        .map(str::to_owned)
        .collect();
    assert_eq!(bins, entries);
}

#[test]
fn the_corpus_is_what_the_program_makes() {
    for entry in &ENTRIES {
        for (number, seed) in (entry.seeds)().into_iter().enumerate() {
            let file = corpus_folder(entry).join(format!("seed-{number}"));
            if std::env::var_os(WRITE).is_some() {
                fs::create_dir_all(corpus_folder(entry)).unwrap();
                fs::write(&file, &seed).unwrap();
            }
            let kept = fs::read(&file).unwrap_or_default();
            assert!(kept == seed, "{} is not what is made now; set {WRITE}=1", file.display());
        }
    }
}
