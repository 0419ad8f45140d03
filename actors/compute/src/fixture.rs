//! Rows for tests of this crate to begin with.

use std::collections::BTreeMap;

use updraft_protocol::{
    compute::{FlavorSpec, Goal, Power, Reboots},
    hypervisor::HostReport,
};
use updraft_runtime::{env::UnixMicros, rpc::TraceContext};
use uuid::Uuid;

use crate::rows::{Action, ActionKind, Details, HostRow, ServerRow, VmState};

/// A small flavor.
pub(crate) fn flavor() -> FlavorSpec {
    FlavorSpec {
        id: "1".to_owned(),
        name: "m1.tiny".to_owned(),
        vcpus: 1,
        ram_mib: 64,
        disk_gib: 1,
        ephemeral_gib: 0,
        swap_mib: 0,
        extra_specs: BTreeMap::new(),
    }
}

/// A server that was just asked for.
pub(crate) fn server() -> ServerRow {
    let now = UnixMicros(0);
    ServerRow {
        id: Uuid::from_u128(1),
        name: "s".to_owned(),
        hostname: "s".to_owned(),
        description: None,
        project_id: "p".to_owned(),
        user_id: "u".to_owned(),
        created: now,
        updated: now,
        launched: None,
        reservation_id: "r".to_owned(),
        launch_index: 0,
        flavor: flavor(),
        image: None,
        key: None,
        user_data: None,
        metadata: BTreeMap::new(),
        tags: Vec::new(),
        config_drive: false,
        volume_host: None,
        availability_zone: None,
        group: None,
        scheduler_hints: BTreeMap::new(),
        security_groups: Vec::new(),
        security_group_names: Vec::new(),
        nics: Vec::new(),
        locked: None,
        details: Details::default(),
        goal: Goal::Present,
        power: Power::On,
        reboots: Reboots::default(),
        volumes: Vec::new(),
        resize: None,
        evacuation: None,
        migration: None,
        generation: 1,
        placement: None,
        alternates: Vec::new(),
        tried: Vec::new(),
        observed: None,
        ports: Vec::new(),
        network_released: true,
        build_deadline: now,
        state: VmState::Building,
        action: Some(Action { kind: ActionKind::Create, request_id: "req-1".to_owned() }),
        fault: None,
        trace: TraceContext::default(),
        auth: None,
        token_trace: [0; 16],
    }
}

/// A host that has all that a server of [`flavor`] needs, and more.
pub(crate) fn host(name: &str) -> HostRow {
    HostRow {
        name: name.to_owned(),
        id: Uuid::from_u128(2),
        service_id: Uuid::from_u128(3),
        report: HostReport {
            vcpus: 16,
            memory_mib: 65_536,
            disk_gib: 1_000,
            ..HostReport::default()
        },
        unavailable: None,
        starting: false,
        disabled: None,
        forced_down: false,
        zone: crate::conductor::ZONE.to_owned(),
        reported: UnixMicros(0),
        claims: BTreeMap::new(),
    }
}
