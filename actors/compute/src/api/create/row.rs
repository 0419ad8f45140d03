//! A server's first row.

use updraft_protocol::compute::{Goal, Power, Reboots};
use updraft_runtime::env::UnixMicros;

use super::Order;
use crate::{
    api::call::Call,
    plan::BUILD_MAX,
    rows::{Action, ActionKind, Details, ServerRow, VmState},
};

/// Longest host name of a guest, in characters: one label of a domain name.
const HOSTNAME_MAX_CHARS: usize = 63;

/// The server at this place among `made` of the request.
pub(super) fn of(
    call: &Call,
    order: &Order,
    index: usize,
    made: usize,
    now: UnixMicros,
) -> ServerRow {
    let server = &order.body.server;
    let id = order.ids.get(index).copied().unwrap_or_default();
    let numbered = |name: &str| match made {
        1 => name.to_owned(),
        _ => format!("{name}-{}", index + 1),
    };
    let name = numbered(&server.name.0);
    let hostname = match &server.hostname {
        Some(hostname) => numbered(&hostname.0),
        None => hostname_of(&name, || format!("server-{id}")),
    };
    let mut tags: Vec<String> = server.tags.iter().flatten().map(|tag| tag.0.clone()).collect();
    tags.sort();
    tags.dedup();
    ServerRow {
        id,
        name,
        hostname,
        description: server.description.as_ref().map(|text| text.0.clone()),
        project_id: call.auth.principal.project_id().unwrap_or_default().to_owned(),
        user_id: call.user_id().to_owned(),
        created: now,
        updated: now,
        launched: None,
        reservation_id: order.reservation_id.clone(),
        launch_index: u32::try_from(index).unwrap_or(u32::MAX),
        flavor: order.found.flavor.spec.clone(),
        image: order.image.as_ref().map(|image| image.image),
        key: order.found.key.clone(),
        user_data: server.user_data.as_ref().map(|data| data.0.clone()),
        metadata: server.metadata.0.clone(),
        tags,
        config_drive: server.config_drive.is_some_and(|flag| flag.0),
        volume_host: order.blocks.host().map(str::to_owned),
        availability_zone: server.availability_zone.as_ref().map(|zone| zone.0.clone()),
        group: order.found.group,
        scheduler_hints: order.body.hints.clone().unwrap_or_default(),
        security_groups: server.security_groups.iter().map(|g| g.name.0.clone()).collect(),
        security_group_names: order.network.security_groups.clone(),
        nics: order.network.nics.clone(),
        locked: None,
        details: details(order),
        goal: Goal::Present,
        power: Power::On,
        reboots: Reboots::default(),
        volumes: order.blocks.volumes(),
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
        build_deadline: now.plus(BUILD_MAX),
        state: VmState::Building,
        action: Some(Action {
            kind: ActionKind::Create,
            request_id: call.auth.request_id.to_string(),
        }),
        fault: None,
        trace: order.trace,
        auth: Some(call.auth_context()),
        token_trace: call.token_trace(),
    }
}

fn details(order: &Order) -> Details {
    let server = &order.body.server;
    let image = order.image.as_ref();
    let text = |address: Option<std::net::IpAddr>| address.map(|address| address.to_string());
    Details {
        disk_config: server.disk_config.map(|config| config.as_str().to_owned()),
        access_ip_v4: text(server.access_ip_v4.and_then(|address| address.0)),
        access_ip_v6: text(server.access_ip_v6.and_then(|address| address.0)),
        image_properties: image.map(|image| image.properties.clone()).unwrap_or_default(),
        kernel: image.and_then(|image| image.kernel),
        ramdisk: image.and_then(|image| image.ramdisk),
        held_in_error: false,
    }
}

/// A name as a host name: lower-case letters, digits and dashes, as nova makes it.
fn hostname_of(name: &str, otherwise: impl Fn() -> String) -> String {
    let mut hostname = String::new();
    for c in name.chars() {
        match c {
            ' ' | '_' | '.' => hostname.push('-'),
            c if c.is_ascii_alphanumeric() || c == '-' => hostname.push(c.to_ascii_lowercase()),
            _ => {}
        }
    }
    let hostname: String = hostname.trim_matches('-').chars().take(HOSTNAME_MAX_CHARS).collect();
    let hostname = hostname.trim_end_matches('-');
    if hostname.is_empty() { otherwise() } else { hostname.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_made_of_a_name() {
        let table =
            [("Web_1", "web-1"), ("-a b.c-", "a-b-c"), ("Ärger", "rger"), ("日本", "server-x")];
        for (name, hostname) in table {
            assert_eq!(hostname_of(name, || "server-x".to_owned()), hostname, "{name}");
        }
        assert_eq!(hostname_of(&"x".repeat(80), String::new).len(), HOSTNAME_MAX_CHARS);
    }
}
