//! Nova's tables of states, row by row.

use updraft_protocol::compute::{Observation, Reboots};

use super::*;
use crate::{
    fixture::{flavor, server},
    rows::{Action, Placement, Resize},
};

fn seen(generation: u64, stage: Stage, power: PowerState) -> Option<Observation> {
    Some(Observation {
        generation,
        counter: 1,
        stage,
        power,
        reboots: Reboots::default(),
        ports: Vec::new(),
        attached: Vec::new(),
        fault: None,
    })
}

/// A server of this state on a host that sees this power, with this action under way.
fn settled(state: VmState, power: PowerState, action: Option<ActionKind>) -> ServerRow {
    ServerRow {
        placement: Some(Placement { host: "h".to_owned(), goal: Goal::Present }),
        observed: seen(1, Stage::Settled, power),
        state,
        action: action.map(|kind| Action { kind, request_id: "req-2".to_owned() }),
        ..server()
    }
}

fn resizing(mut row: ServerRow, phase: ResizePhase) -> ServerRow {
    row.resize = Some(Resize { old_flavor: flavor(), old_state: VmState::Active, phase });
    row
}

fn building(stage: Option<Stage>) -> ServerRow {
    let placement = stage.map(|_| Placement { host: "h".to_owned(), goal: Goal::Present });
    let observed = stage.and_then(|stage| seen(1, stage, PowerState::Absent));
    ServerRow { placement, observed, ..server() }
}

#[test]
fn a_build_shows_how_far_it_is() {
    let table = [
        (None, "scheduling"),
        (Some(Stage::Accepted), "scheduling"),
        (Some(Stage::Networking), "networking"),
        (Some(Stage::BlockDeviceMapping), "block_device_mapping"),
        (Some(Stage::Spawning), "spawning"),
        (Some(Stage::Settled), "spawning"),
    ];
    for (stage, task_state) in table {
        let expected = State {
            vm_state: "building",
            task_state: Some(task_state),
            power_state: 0,
            status: "BUILD",
        };
        assert_eq!(state(&building(stage)), expected, "{stage:?}");
    }
}

#[test]
fn a_host_that_is_cleared_of_a_failed_build_is_not_at_work() {
    let mut row = building(Some(Stage::Spawning));
    row.placement = Some(Placement { host: "h".to_owned(), goal: Goal::Absent });
    assert_eq!(state(&row).task_state, Some("scheduling"));
}

#[test]
fn every_action_shows_its_task_and_status() {
    use ActionKind::{AttachVolume, DetachVolume, HardReboot, SoftReboot, Start, Stop};
    use PowerState::{Running, Shutdown};
    use VmState::{Active, Error, Resized, Stopped};
    let table = [
        (Active, Running, None, None, "ACTIVE"),
        (Active, Running, Some(Stop), Some("powering-off"), "ACTIVE"),
        (Active, Running, Some(SoftReboot), Some("rebooting"), "REBOOT"),
        (Active, Running, Some(HardReboot), Some("rebooting_hard"), "HARD_REBOOT"),
        (Active, Running, Some(AttachVolume), None, "ACTIVE"),
        (Active, Running, Some(DetachVolume), None, "ACTIVE"),
        (Stopped, Shutdown, None, None, "SHUTOFF"),
        (Stopped, Shutdown, Some(Start), Some("powering-on"), "SHUTOFF"),
        (Stopped, Shutdown, Some(HardReboot), Some("rebooting_hard"), "SHUTOFF"),
        (Resized, Running, None, None, "VERIFY_RESIZE"),
        (Error, Shutdown, None, None, "ERROR"),
        (Error, Shutdown, Some(Stop), Some("powering-off"), "ERROR"),
    ];
    for (vm_state, power, action, task_state, status) in table {
        let found = state(&settled(vm_state, power, action));
        assert_eq!(
            (found.task_state, found.status),
            (task_state, status),
            "{vm_state:?} {action:?}"
        );
    }
}

#[test]
fn a_resize_shows_its_phases() {
    use PowerState::Running;
    let resize = Some(ActionKind::Resize);
    let begun = ServerRow {
        generation: 2,
        ..resizing(settled(VmState::Active, Running, resize), ResizePhase::Resizing)
    };
    let table = [
        (begun, Some("resize_prep"), "RESIZE"),
        (
            resizing(settled(VmState::Active, Running, resize), ResizePhase::Resizing),
            Some("resize_finish"),
            "RESIZE",
        ),
        (
            resizing(settled(VmState::Stopped, Running, resize), ResizePhase::Resizing),
            Some("resize_finish"),
            "RESIZE",
        ),
        (
            resizing(settled(VmState::Resized, Running, None), ResizePhase::Verify),
            None,
            "VERIFY_RESIZE",
        ),
        (
            resizing(
                settled(VmState::Resized, Running, Some(ActionKind::RevertResize)),
                ResizePhase::Reverting,
            ),
            Some("resize_reverting"),
            "REVERT_RESIZE",
        ),
    ];
    for (row, task_state, status) in table {
        let found = state(&row);
        assert_eq!((found.task_state, found.status), (task_state, status));
    }
}

#[test]
fn a_deletion_shows_in_every_state() {
    let table = [
        (VmState::Building, "BUILD"),
        (VmState::Active, "ACTIVE"),
        (VmState::Stopped, "SHUTOFF"),
        (VmState::Resized, "VERIFY_RESIZE"),
        (VmState::Error, "ERROR"),
    ];
    for (vm_state, status) in table {
        let mut row = settled(vm_state, PowerState::Running, Some(ActionKind::Delete));
        row.goal = Goal::Absent;
        let found = state(&row);
        assert_eq!((found.task_state, found.status), (Some("deleting"), status));
    }
}

#[test]
fn power_is_novas_number_of_what_the_host_sees() {
    let table = [
        (PowerState::Running, 1),
        (PowerState::Paused, 3),
        (PowerState::Shutdown, 4),
        (PowerState::Crashed, 6),
        (PowerState::Absent, 0),
    ];
    for (power, number) in table {
        assert_eq!(state(&settled(VmState::Active, power, None)).power_state, number, "{power:?}");
    }
}
