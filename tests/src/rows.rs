//! Rows for plans that are looked at without a cloud.

use std::collections::BTreeMap;

use updraft_compute::rows::{Action, ActionKind, Details, ServerRow, VmState};
use updraft_protocol::compute::{FlavorSpec, Goal, Power, Reboots};
use updraft_runtime::{env::UnixMicros, rpc::TraceContext};
use uuid::Uuid;

/// A server that was just asked for, to be built by this time.
#[must_use]
pub fn server(build_deadline: UnixMicros) -> ServerRow {
    let now = UnixMicros(0);
    let flavor = FlavorSpec {
        id: "1".into(),
        name: "m1.tiny".into(),
        vcpus: 1,
        ram_mib: 64,
        disk_gib: 1,
        ephemeral_gib: 0,
        swap_mib: 0,
        extra_specs: BTreeMap::new(),
    };
    ServerRow {
        id: Uuid::from_u128(1),
        name: "s".into(),
        hostname: "s".into(),
        description: None,
        project_id: "p".into(),
        user_id: "u".into(),
        created: now,
        updated: now,
        launched: None,
        reservation_id: "r".into(),
        launch_index: 0,
        flavor,
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
        generation: 0,
        placement: None,
        alternates: Vec::new(),
        tried: Vec::new(),
        observed: None,
        ports: Vec::new(),
        network_released: true,
        build_deadline,
        state: VmState::Building,
        action: Some(Action { kind: ActionKind::Create, request_id: "req-1".into() }),
        fault: None,
        trace: TraceContext::default(),
        auth: None,
        token_trace: [0; 16],
    }
}
