//! What a server's row means in nova's words: `vm_state`, `task_state`, `power_state` and status.
//!
//! Pure. Compute itself never asks for these: they are for users, and for the rules that say which
//! action is allowed when.

use updraft_protocol::{
    compute::{Goal, Stage},
    hypervisor::PowerState,
};

use crate::rows::{ActionKind, Migration, MigrationPhase, ResizePhase, ServerRow, VmState};

/// A server's state as nova tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// What it was when it last settled.
    pub vm_state: &'static str,
    /// What is being done with it.
    pub task_state: Option<&'static str>,
    /// What its guest does.
    pub power_state: u8,
    /// Both in one word.
    pub status: &'static str,
}

/// Nova's number of a power state that nobody knows.
const NO_STATE: u8 = 0;

/// What a row means.
#[must_use]
pub fn state(row: &ServerRow) -> State {
    let (vm_state, task_state) = (vm_state(row.state), task_state(row));
    State { vm_state, task_state, power_state: power_state(row), status: status(row, task_state) }
}

/// Nova's name of a settled state.
#[must_use]
pub fn vm_state(state: VmState) -> &'static str {
    match state {
        VmState::Building => "building",
        VmState::Active => "active",
        VmState::Stopped => "stopped",
        VmState::Resized => "resized",
        VmState::Error => "error",
    }
}

fn task_state(row: &ServerRow) -> Option<&'static str> {
    if row.goal == Goal::Absent {
        return Some("deleting");
    }
    if row.state == VmState::Building {
        return Some(building(row));
    }
    match (row.resize.as_ref().map(|resize| resize.phase), &row.migration) {
        (Some(ResizePhase::Resizing), Some(Migration { phase: MigrationPhase::Leaving, .. })) => {
            return Some("resize_migrating");
        }
        (Some(ResizePhase::Resizing), Some(_)) => return Some("resize_finish"),
        (Some(ResizePhase::Resizing), None) if row.current().is_none() => {
            return Some("resize_prep");
        }
        (Some(ResizePhase::Resizing), None) => return Some("resize_finish"),
        (Some(ResizePhase::Reverting), _) => return Some("resize_reverting"),
        (Some(ResizePhase::Verify) | None, _) => {}
    }
    match row.action.as_ref()?.kind {
        ActionKind::Stop => Some("powering-off"),
        ActionKind::Start => Some("powering-on"),
        ActionKind::SoftReboot => Some("rebooting"),
        ActionKind::HardReboot => Some("rebooting_hard"),
        ActionKind::Evacuate => Some("rebuilding"),
        ActionKind::Create
        | ActionKind::Resize
        | ActionKind::RevertResize
        | ActionKind::Migrate
        | ActionKind::AttachVolume
        | ActionKind::DetachVolume
        | ActionKind::Delete => None,
    }
}

/// How far a build is. A host that is being cleared of a build that failed is not at work for it.
fn building(row: &ServerRow) -> &'static str {
    let placed = row.placement.as_ref().is_some_and(|placement| placement.goal == Goal::Present);
    match row.current().filter(|_| placed).map(|seen| seen.stage) {
        None | Some(Stage::Accepted | Stage::Gone) => "scheduling",
        Some(Stage::Networking) => "networking",
        Some(Stage::BlockDeviceMapping) => "block_device_mapping",
        Some(Stage::Spawning | Stage::Settled) => "spawning",
    }
}

fn power_state(row: &ServerRow) -> u8 {
    if row.state == VmState::Building {
        return NO_STATE;
    }
    match row.observed.as_ref().map(|seen| seen.power) {
        Some(PowerState::Running) => 1,
        Some(PowerState::Paused) => 3,
        Some(PowerState::Shutdown) => 4,
        Some(PowerState::Crashed) => 6,
        Some(PowerState::Absent) | None => NO_STATE,
    }
}

fn status(row: &ServerRow, task_state: Option<&'static str>) -> &'static str {
    match (row.state, task_state.unwrap_or_default()) {
        (VmState::Building, _) => "BUILD",
        (_, "rebuilding") => "REBUILD",
        (
            VmState::Active | VmState::Stopped,
            "resize_prep" | "resize_migrating" | "resize_finish" | "resize_reverting",
        ) => "RESIZE",
        (VmState::Active, "rebooting") => "REBOOT",
        (VmState::Active, "rebooting_hard") => "HARD_REBOOT",
        (VmState::Active, _) => "ACTIVE",
        (VmState::Stopped, _) => "SHUTOFF",
        (VmState::Resized, "resize_reverting") => "REVERT_RESIZE",
        (VmState::Resized, _) => "VERIFY_RESIZE",
        (VmState::Error, _) => "ERROR",
    }
}

#[cfg(test)]
mod tests;
