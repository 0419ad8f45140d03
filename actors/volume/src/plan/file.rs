//! The next step for one file.

use std::{collections::BTreeMap, time::Duration};

use updraft_protocol::volume::{Realized, Room};
use updraft_runtime::{
    env::UnixMicros,
    planted::{Bug, is_planted},
    sometimes,
};

use super::{Effect, Learned};
use crate::rows::FileState;

/// How long a host is looked for, or waited for while it says nothing, before a new file is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long any volume node is waited for: one that restarts is back within seconds.
const SURVEY_PATIENCE: Duration = Duration::from_secs(60);

/// How much newer the word of a host must be to be written down.
const WORD_EVERY: Duration = Duration::from_secs(30);

/// What a plan may know besides the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether somebody copies from this file.
    pub copies_under_way: bool,
    /// Where the file must be.
    pub source: SourceHost,
    /// What will yet be made on each host that has said its room, in GiB.
    pub pending: BTreeMap<String, u64>,
}

/// Where a file can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceHost {
    /// Anywhere.
    Any,
    /// Where its source is.
    Only(String),
    /// Nowhere: its source is gone.
    Gone,
}

/// The next step.
pub(super) enum Step {
    Rest,
    /// Look again soon.
    Wait,
    Write(Box<FileState>),
    /// The row is gone.
    Delete,
    /// Do this, and look again at this time at the latest.
    Act(Effect, Option<UnixMicros>),
}

pub(super) fn plan(file: &FileState, facts: &Facts, now: UnixMicros) -> Step {
    if file.present { make(file, facts, now) } else { remove(file, facts) }
}

fn remove(file: &FileState, facts: &Facts) -> Step {
    if file.host.is_none() || file.served == file.generation {
        // No host was ever told of it, or the one that was has confirmed that nothing is left.
        return Step::Delete;
    }
    sometimes!(facts.copies_under_way, "a volume is deleted while another is copied from it");
    if facts.copies_under_way && !is_planted(Bug::SourceRemovedUnderCopy) {
        return Step::Wait;
    }
    Step::Act(Effect::Realize(file.generation), None)
}

fn make(file: &FileState, facts: &Facts, now: UnixMicros) -> Step {
    if file.failure.is_some() || file.served == file.generation {
        return Step::Rest;
    }
    if file.host.is_none() {
        return place(file, facts, now);
    }
    if file.served > 0 && facts.copies_under_way {
        return Step::Wait;
    }
    let given_up_at = file.heard_at.plus(PATIENCE);
    if file.served == 0 && now >= given_up_at {
        let host = file.host.as_deref().unwrap_or_default();
        let words = format!("volume node {host} has not answered for {} s", PATIENCE.as_secs());
        return failed(file, words);
    }
    let until = (file.served == 0).then_some(given_up_at);
    Step::Act(Effect::Realize(file.generation), until)
}

fn place(file: &FileState, facts: &Facts, now: UnixMicros) -> Step {
    let on = |host: String| {
        let placed =
            FileState { host: Some(host), rooms: BTreeMap::new(), heard_at: now, ..file.clone() };
        Step::Write(Box::new(placed))
    };
    match &facts.source {
        SourceHost::Only(host) => return on(host.clone()),
        SourceHost::Gone => return failed(file, "what it is a copy of is gone".to_owned()),
        SourceHost::Any => {}
    }
    if !file.rooms.is_empty() {
        return match choose(&file.rooms, &facts.pending, file.size_gib) {
            Some(host) => on(host),
            None => failed(file, no_room(&file.rooms, &facts.pending, file.size_gib)),
        };
    }
    let given_up_at = file.heard_at.plus(SURVEY_PATIENCE);
    if now >= given_up_at {
        return failed(file, "no volume node is alive".to_owned());
    }
    Step::Act(Effect::Survey, Some(given_up_at))
}

fn failed(file: &FileState, words: String) -> Step {
    Step::Write(Box::new(FileState { failure: Some(words), ..file.clone() }))
}

/// What is left on a host once everything that is under way there is made.
fn left_gib(room: &Room, pending: &BTreeMap<String, u64>, host: &str) -> u64 {
    room.free_gib.saturating_sub(pending.get(host).copied().unwrap_or(0))
}

/// The host with the most room left, the first by name of several.
fn choose(
    rooms: &BTreeMap<String, Room>,
    pending: &BTreeMap<String, u64>,
    size_gib: u64,
) -> Option<String> {
    let fitting = rooms
        .iter()
        .map(|(host, room)| (left_gib(room, pending, host), host))
        .filter(|(left, _)| *left >= size_gib);
    let best = fitting.reduce(|best, other| if other.0 > best.0 { other } else { best });
    best.map(|(_, host)| host.clone())
}

fn no_room(
    rooms: &BTreeMap<String, Room>,
    pending: &BTreeMap<String, u64>,
    size_gib: u64,
) -> String {
    let hosts: Vec<String> = rooms
        .iter()
        .map(|(host, room)| {
            format!("{host} has {} of {} GiB left", left_gib(room, pending, host), room.total_gib)
        })
        .collect();
    format!("no volume node has room for {size_gib} GiB: {}", hosts.join(", "))
}

/// Folds in what was learnt; what belongs to another generation changes nothing.
pub(super) fn learn(file: &mut FileState, learned: Learned, now: UnixMicros) -> bool {
    match learned {
        Learned::Rooms(rooms) => {
            let news = file.present && file.host.is_none() && file.failure.is_none();
            if news {
                file.rooms = rooms;
            }
            news
        }
        Learned::Realized(Realized { generation, path, export }) => {
            let news = generation == file.generation && file.served < generation;
            if news {
                file.served = generation;
                file.served_gib = if file.present { file.size_gib } else { 0 };
                file.path = path;
                file.exported = export.filter(|_| file.export.is_some());
            }
            news
        }
        Learned::Refused(generation, reason) => refused(file, generation, reason),
        Learned::Working(generation) => {
            let news = generation == file.generation && now.since(file.heard_at) >= WORD_EVERY;
            if news {
                file.heard_at = now;
            }
            news
        }
    }
}

fn refused(file: &mut FileState, generation: u64, reason: String) -> bool {
    let current = generation == file.generation && file.served < generation;
    // Removing is never given up.
    if !current || !file.present || file.failure.is_some() {
        return false;
    }
    if file.served == 0 || file.size_gib == file.served_gib {
        // It cannot be made, or not even be what it was: it is lost.
        file.failure = Some(reason);
    } else {
        // It did not grow: the size that it has is what is wanted again.
        tracing::warn!(reason, "a volume does not grow");
        file.size_gib = file.served_gib;
        file.generation += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use updraft_protocol::{hypervisor::DiskFormat, volume::FileSource};

    use super::*;

    const NOW: UnixMicros = UnixMicros(1_000_000_000);

    fn wanted() -> FileState {
        FileState::wanted(10, DiskFormat::Qcow2, FileSource::Empty, NOW)
    }

    fn placed() -> FileState {
        FileState { host: Some("a".to_owned()), ..wanted() }
    }

    fn realized(generation: u64, path: Option<&str>) -> Learned {
        Learned::Realized(Realized { generation, path: path.map(Into::into), export: None })
    }

    fn made() -> FileState {
        let mut file = placed();
        assert!(learn(&mut file, realized(1, Some("/file")), NOW));
        file
    }

    fn facts() -> Facts {
        Facts { copies_under_way: false, source: SourceHost::Any, pending: BTreeMap::new() }
    }

    fn rooms(rooms: &[(&str, u64)]) -> BTreeMap<String, Room> {
        let room = |free_gib| Room { total_gib: 100, free_gib };
        rooms.iter().map(|(host, free_gib)| ((*host).to_owned(), room(*free_gib))).collect()
    }

    fn written(step: Step) -> FileState {
        let Step::Write(file) = step else { panic!("nothing is written") };
        *file
    }

    #[test]
    fn a_new_file_is_placed_where_most_room_is_left() {
        let file = wanted();
        assert!(matches!(plan(&file, &facts(), NOW), Step::Act(Effect::Survey, Some(_))));
        let file = FileState { rooms: rooms(&[("a", 30), ("b", 40), ("c", 40)]), ..file };
        let busy = Facts { pending: [("b".to_owned(), 15)].into(), ..facts() };
        assert_eq!(written(plan(&file, &busy, NOW)).host.as_deref(), Some("c"));
    }

    #[test]
    fn a_file_for_which_there_is_no_room_fails_and_says_why() {
        let file = FileState { rooms: rooms(&[("a", 9), ("b", 3)]), ..wanted() };
        let failure = written(plan(&file, &facts(), NOW)).failure.unwrap_or_default();
        assert!(failure.contains("a has 9 of 100 GiB left, b has 3 of 100 GiB left"), "{failure}");
    }

    #[test]
    fn a_copy_is_made_where_its_source_is_or_not_at_all() {
        let there = Facts { source: SourceHost::Only("x".to_owned()), ..facts() };
        assert_eq!(written(plan(&wanted(), &there, NOW)).host.as_deref(), Some("x"));
        let gone = Facts { source: SourceHost::Gone, ..facts() };
        assert!(written(plan(&wanted(), &gone, NOW)).failure.is_some());
    }

    #[test]
    fn a_host_that_is_silent_for_too_long_costs_the_new_file() {
        let later = NOW.plus(PATIENCE);
        assert!(written(plan(&placed(), &facts(), later)).failure.is_some());
        let mut busy = placed();
        learn(&mut busy, Learned::Working(1), UnixMicros(later.0 - 1));
        assert!(matches!(plan(&busy, &facts(), later), Step::Act(Effect::Realize(1), _)));
    }

    #[test]
    fn a_row_goes_only_when_its_file_is_confirmed_gone() {
        let mut file = made();
        file.unwant();
        assert!(matches!(plan(&file, &facts(), NOW), Step::Act(Effect::Realize(2), None)));
        assert!(!learn(&mut file, realized(1, None), NOW), "an old confirmation counted");
        assert!(!learn(&mut file, Learned::Refused(2, "no".to_owned()), NOW), "given up");
        assert!(learn(&mut file, realized(2, None), NOW));
        assert!(matches!(plan(&file, &facts(), NOW), Step::Delete));
    }

    #[test]
    fn a_file_that_no_host_was_told_of_needs_no_confirmation() {
        let mut file = wanted();
        file.unwant();
        assert!(matches!(plan(&file, &facts(), NOW), Step::Delete));
    }

    #[test]
    fn a_file_stays_as_it_is_while_somebody_copies_from_it() {
        let copied = Facts { copies_under_way: true, ..facts() };
        let (mut grown, mut unwanted) = (made(), made());
        grown.grow(20);
        unwanted.unwant();
        for file in [grown, unwanted] {
            assert!(matches!(plan(&file, &copied, NOW), Step::Wait));
        }
    }

    #[test]
    fn a_file_that_cannot_grow_keeps_its_size() {
        let mut file = made();
        file.grow(20);
        assert!(learn(&mut file, Learned::Refused(2, "no".to_owned()), NOW));
        assert_eq!((file.size_gib, file.generation, &file.failure), (10, 3, &None));
    }

    #[test]
    fn a_file_that_cannot_even_be_what_it_was_is_lost() {
        let mut file = made();
        file.grow(20);
        learn(&mut file, Learned::Refused(2, "no".to_owned()), NOW);
        assert!(learn(&mut file, Learned::Refused(3, "it is lost".to_owned()), NOW));
        assert_eq!(file.failure.as_deref(), Some("it is lost"));
    }

    #[test]
    fn a_file_that_cannot_be_made_has_failed() {
        let mut file = placed();
        assert!(learn(&mut file, Learned::Refused(1, "no".to_owned()), NOW));
        assert!(matches!(plan(&file, &facts(), NOW), Step::Rest));
        assert!(!learn(&mut file, Learned::Rooms(rooms(&[("b", 99)])), NOW));
    }
}
