//! A server that moves to another host with its disk: what becomes of its row.
//!
//! It leaves its host first, where its disk stays parked; only then is it placed on another one, by the same lines as any
//! server that has no host. If none can make it, or its user wants it back, it is again what it was, where its disk is, and
//! only when the other host has confirmed that it has nothing.

use updraft_protocol::compute::Goal;

use crate::rows::{
    Evacuation, Migration, MigrationPhase, Placement, Release, Resize, ResizePhase, ServerRow,
};

/// What a server is that is to move from its host, to a named one or any: with this flavor from then on. `None` if it has
/// no host.
#[must_use]
pub fn leaving(row: &ServerRow, to: Option<String>) -> Option<ServerRow> {
    let mut next = row.clone();
    let placement = next.placement.as_mut().filter(|placed| placed.goal == Goal::Present)?;
    placement.goal = Goal::Absent;
    next.migration = Some(Migration {
        from: placement.host.clone(),
        to,
        phase: MigrationPhase::Leaving,
        parked: 0,
        launched: next.launched.take(),
        unasked: false,
        failure: None,
    });
    next.tried.clear();
    next.alternates.clear();
    Some(next)
}

/// Why a server cannot be made anew while its host is down. A volume is another host's to have only when the host that has
/// it has let go, which one that is down cannot say.
#[must_use]
pub fn why_not_anew(row: &ServerRow) -> Option<String> {
    if row.volumes.is_empty() && row.image.is_some() {
        return None;
    }
    Some(format!(
        "Instance {} has volumes, which the host that is down has not let go of: it cannot be made elsewhere.",
        row.id
    ))
}

/// What a server is that is to be taken from its host, to be made anew on a named one or any. A resize or a move that was
/// under way, or waited for a word, is over: what is made anew has the new size.
#[must_use]
pub fn taken_from(row: &ServerRow, to: Option<String>) -> ServerRow {
    let mut next = row.clone();
    let Some(placement) = &mut next.placement else { return next };
    placement.goal = Goal::Absent;
    let (from, launched) = (placement.host.clone(), next.launched.take());
    next.evacuation = Some(Evacuation { from, to, release: None, ports_left: false, launched });
    (next.resize, next.migration) = (None, None);
    next.tried.clear();
    next.alternates.clear();
    next
}

/// What a server is once its user wants it to be what it was: one that has moved is to leave its host for that where its
/// disk is parked.
#[must_use]
pub fn reverting(row: &ServerRow) -> ServerRow {
    let mut next = turned(row);
    let placed = next.placement.as_mut().filter(|_| next.migration.is_some());
    placed.into_iter().for_each(|placed| placed.goal = Goal::Absent);
    next
}

/// A move that is over, since the server is to be deleted: what is parked is of no use.
pub(super) fn forgotten(row: &ServerRow) -> ServerRow {
    let mut next = row.clone();
    (next.migration, next.resize) = (None, None);
    next.generation += 1;
    next
}

/// Why a server cannot leave its host, if that is certain: it cannot park the disk, or an operator says that it is down.
pub(super) fn cannot_leave(row: &ServerRow, release: Option<Release>) -> Option<String> {
    let migration = row.migration.as_ref()?;
    if migration.phase != MigrationPhase::Leaving {
        return None;
    }
    let fault = row.current().and_then(|seen| seen.fault.as_ref());
    let down = || format!("host {} is down by an operator's word", migration.from);
    fault
        .map(|fault| fault.message.clone())
        .or_else(|| (release == Some(Release::ForcedDown)).then(down))
}

/// The server as it was, on the host that it could not leave.
pub(super) fn called_off(row: &ServerRow, why: &str) -> ServerRow {
    returned(&given_up(row, why))
}

/// Whether a server is to be again what it was.
pub(super) fn turns_back(row: &ServerRow) -> bool {
    row.migration.as_ref().is_some_and(|known| known.phase == MigrationPhase::Returning)
}

/// Whether another host is to make a server of a copy of its disk.
#[must_use]
pub fn is_moving(row: &ServerRow) -> bool {
    row.migration.as_ref().is_some_and(|known| known.phase == MigrationPhase::Moving)
}

/// A move to a host that is down by an operator's word: where the disk is parked it can be had at once.
pub(super) fn taken_back(row: &ServerRow, placement: &Placement) -> ServerRow {
    let mut next = given_up(row, &format!("host {} is down by an operator's word", placement.host));
    next.generation += 1;
    next.placement = Some(Placement { goal: Goal::Absent, ..placement.clone() });
    next
}

/// A move that no host could make: it is taken back.
pub(super) fn given_up(row: &ServerRow, why: &str) -> ServerRow {
    let mut next = turned(row);
    if let Some(migration) = &mut next.migration {
        migration.failure.get_or_insert_with(|| why.to_owned());
    }
    next
}

/// The server with its former size, and on its way back.
fn turned(row: &ServerRow) -> ServerRow {
    let mut next = row.clone();
    if let Some(Resize { old_flavor, old_state, phase }) = next.resize.take() {
        let (flavor, old_flavor) = match phase {
            ResizePhase::Reverting => (next.flavor.clone(), old_flavor),
            ResizePhase::Resizing | ResizePhase::Verify => (old_flavor, next.flavor.clone()),
        };
        next.flavor = flavor;
        next.resize = Some(Resize { old_flavor, old_state, phase: ResizePhase::Reverting });
    }
    if let Some(migration) = &mut next.migration {
        migration.phase = MigrationPhase::Returning;
    }
    next
}

/// The server on the host that has its disk parked, once no other one has anything of it.
pub(super) fn returned(row: &ServerRow) -> ServerRow {
    let mut next = row.clone();
    let Some(migration) = &next.migration else { return next };
    next.placement = Some(Placement { host: migration.from.clone(), goal: Goal::Present });
    next.launched = migration.launched;
    next.generation += 1;
    next.observed = None;
    next.tried.clear();
    next.alternates.clear();
    next.network_released = next.nics.is_empty();
    next
}

/// Its host has it as it is wanted: a move ends there, or waits for a word.
pub(super) fn arrive(next: &mut ServerRow) {
    let Some(migration) = &mut next.migration else { return };
    if migration.phase == MigrationPhase::Moving {
        next.launched = migration.launched;
        migration.phase = MigrationPhase::Moved;
    }
    if migration.phase == MigrationPhase::Returning || migration.unasked {
        (next.migration, next.resize) = (None, None);
    }
}
