//! Volumes, their files and attachments, and the bytes of images.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::census::{Census, File, Image, Object, Server, serial};

pub(super) fn one_guest_per_volume(census: &Census) -> Vec<String> {
    let mut guests: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (guest, serials) in census.machines.values().flat_map(|found| &found.guests) {
        for serial in &serials.serials {
            guests.entry(serial).or_default().push(guest.to_string());
        }
    }
    guests.retain(|_, guests| guests.len() > 1);
    let words = |(serial, guests): (&str, Vec<String>)| {
        format!("volume {serial} is in guests {}", guests.join(" and "))
    };
    guests.into_iter().map(words).collect()
}

pub(super) fn one_server_per_volume(census: &Census) -> Vec<String> {
    let mut servers: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    for (id, server) in &census.servers {
        for attached in server.volumes.iter().filter(|attached| attached.goal == "Present") {
            servers.entry(attached.volume).or_default().push(id.to_string());
        }
    }
    servers.retain(|_, servers| servers.len() > 1);
    let words = |(volume, servers): (Uuid, Vec<String>)| {
        format!("volume {volume} is given to servers {}", servers.join(" and "))
    };
    servers.into_iter().map(words).collect()
}

/// A volume is another's only when the guest has let go of it.
pub(super) fn held(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    for (host, machine) in &census.machines {
        for (guest, seen) in &machine.guests {
            let holders =
                census.volumes.iter().filter(|(id, _)| seen.serials.contains(&serial(**id)));
            let foreign = holders.filter(|(_, volume)| {
                volume.attachment.as_ref().is_none_or(|held| held.server != *guest)
            });
            broken.extend(foreign.map(|(id, _)| {
                format!("guest {guest} on {host} has volume {id}, which is not its server's")
            }));
        }
    }
    broken
}

/// A host that lost a volume can write to it no more: from the moment on that the volume's host has said so.
pub(super) fn served(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    let mut seen = BTreeSet::new();
    let exports = census.machines.iter().flat_map(|(host, machine)| {
        machine.exports.iter().map(move |(volume, to)| (host, volume, to))
    });
    for (host, id, (attachment, to)) in exports {
        if !seen.insert(id) {
            broken.push(format!("volume {id} is served by {host} and by another host"));
        }
        let Some(volume) = census.volumes.get(id) else { continue };
        let held = volume.attachment.as_ref();
        let is_its =
            held.is_some_and(|held| held.id == *attachment && held.host.as_ref() == Some(to));
        if volume.file.served == volume.file.generation && !is_its {
            broken.push(format!("{host} serves volume {id} to {to}, which does not have it"));
        }
    }
    broken
}

/// Whether there is a file to be served is [`files`]'s.
pub(super) fn remote_disks(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    for (host, machine) in &census.machines {
        let disks = machine.guests.iter().flat_map(|(guest, seen)| {
            seen.remote.iter().map(move |(disk, export)| (guest, disk, export))
        });
        for (guest, disk, export) in disks {
            let volume = census.volumes.iter().find(|(id, _)| serial(**id) == *disk);
            let Some((id, volume)) = volume else { continue };
            let there = volume.file.host.as_ref().and_then(|host| census.machines.get(host));
            let Some(there) = there.filter(|there| there.files.contains(id)) else { continue };
            let served = there.exports.get(id);
            if served.is_none_or(|(to, at)| to.to_string() != *export || at != host) {
                broken.push(format!(
                    "guest {guest} on {host} has volume {id} by {export}, and it is served as \
                     {served:?}"
                ));
            }
        }
    }
    broken
}

pub(super) fn attachments(census: &Census) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, volume) in &census.volumes {
        let Some(held) = &volume.attachment else { continue };
        let server = census.servers.get(&held.server);
        let has = server.is_some_and(|server| {
            server.volumes.iter().any(|attached| attached.attachment == held.id)
        });
        if !has {
            broken.push(format!("volume {id} leaked: server {} does not have it", held.server));
        } else if held.state != "attached" && server.is_some_and(Server::is_built) {
            broken.push(format!("volume {id} is still {}", held.state));
        }
    }
    for (id, server) in &census.servers {
        broken.extend(of_server(census, *id, server));
    }
    broken
}

fn of_server(census: &Census, id: Uuid, server: &Server) -> Vec<String> {
    let mut broken = Vec::new();
    for attached in &server.volumes {
        let volume = census.volumes.get(&attached.volume);
        let held = volume.and_then(|volume| volume.attachment.as_ref());
        if held.is_none_or(|held| held.id != attached.attachment) {
            broken.push(format!("server {id} has volume {}, which is not its", attached.volume));
        }
        if attached.goal != "Present" {
            broken.push(format!("volume {} is still being detached", attached.volume));
        }
    }
    if !server.is_built() {
        return broken;
    }
    let machine = server.host().and_then(|host| census.machines.get(host));
    let Some(guest) = machine.and_then(|machine| machine.guests.get(&id)) else { return broken };
    let expected: BTreeSet<String> =
        server.volumes.iter().map(|attached| serial(attached.volume)).collect();
    if expected != guest.serials {
        broken.push(format!("the guest of {id} has {:?}, not {expected:?}", guest.serials));
    }
    broken
}

pub(super) fn reservations(census: &Census) -> Vec<String> {
    let words = |kept: &crate::census::Reservation| {
        format!("volume {} is kept for attachment {}", kept.volume, kept.attachment)
    };
    census.reservations.iter().map(words).collect()
}

pub(super) fn files(census: &Census) -> Vec<String> {
    let volumes = census.volumes.iter().map(|(id, row)| (id, ("volume", &row.file)));
    let snapshots = census.snapshots.iter().map(|(id, row)| (id, ("snapshot", &row.file)));
    let rows: BTreeMap<&Uuid, (&str, &File)> = volumes.chain(snapshots).collect();
    let mut broken = Vec::new();
    for (host, machine) in &census.machines {
        for id in &machine.files {
            let here = rows.get(id).is_some_and(|(_, file)| file.host.as_ref() == Some(host));
            if !here {
                broken.push(format!("host {host} has a file of {id}, which is not there"));
            }
        }
    }
    for (id, (kind, file)) in rows {
        let there = file.host.as_ref().and_then(|host| census.machines.get(host));
        let there = there.is_some_and(|machine| machine.files.contains(id));
        let words = match (&file.failure, file.served == file.generation) {
            _ if !file.present => "is to be deleted and still there",
            (Some(reason), _) if reason.is_empty() => "is in error without a reason",
            (Some(_), _) => continue,
            (None, false) => "is still being made",
            (None, true) if !there => "has no file",
            (None, true) => continue,
        };
        broken.push(format!("{kind} {id} {words}"));
    }
    broken
}

/// Whether there are files by now is [`files`]'s; this is what a host would go on to make.
pub(super) fn ledgers(census: &Census) -> Vec<String> {
    let volumes = census.volumes.iter().map(|(id, row)| (id, &row.file));
    let snapshots = census.snapshots.iter().map(|(id, row)| (id, &row.file));
    let rows: BTreeMap<&Uuid, &File> = volumes.chain(snapshots).collect();
    let mut broken = Vec::new();
    for (host, machine) in &census.machines {
        let here = |id: &&Uuid| rows.get(*id).is_some_and(|file| file.host.as_ref() == Some(host));
        let foreign = machine.to_be_made.iter().filter(|id| !here(id));
        broken.extend(foreign.map(|id| format!("host {host} wants a file of {id}, which is gone")));
    }
    broken
}

pub(super) fn sources(census: &Census) -> Vec<String> {
    let volumes = census.volumes.iter().map(|(id, row)| (id, &row.file));
    let files = volumes.chain(census.snapshots.iter().map(|(id, row)| (id, &row.file)));
    let there = |id: &Uuid| census.volumes.contains_key(id) || census.snapshots.contains_key(id);
    let lost = files.filter_map(|(id, file)| Some((id, file.copies().filter(|of| !there(of))?)));
    lost.map(|(id, of)| format!("{id} is being copied from {of}, which is gone")).collect()
}

/// From the moment on that a user is told so.
pub(super) fn stored(census: &Census) -> Vec<String> {
    let active = census.images.iter().filter(|(_, row)| row.deleted_at.is_none());
    let active = active.filter(|(_, row)| row.status == "active");
    let lost = active.filter_map(|(id, row)| {
        let content = row.content.as_ref()?;
        let path = format!("images/{id}/{}", content.upload);
        let there =
            |object: &Object| object.path == path && object.size_bytes == content.size_bytes;
        (!census.objects.iter().any(there)).then(|| format!("image {id} is active without {path}"))
    });
    lost.collect()
}

pub(super) fn images(census: &Census) -> Vec<String> {
    let path = |image: &Uuid, upload: &Uuid| format!("images/{image}/{upload}");
    let live = |row: &&Image| row.deleted_at.is_none();
    let mut named = BTreeMap::new();
    let mut broken = Vec::new();
    for (id, row) in &census.images {
        if let Some(content) = row.content.as_ref().filter(|_| live(&row)) {
            named.insert(path(id, &content.upload), content.size_bytes);
        }
        if row.deleted_at.is_some() {
            broken.push(format!("image {id} is to be deleted and still there"));
        } else if row.upload.is_some() {
            broken.push(format!("image {id} is still {}", row.status));
        } else if row.status == "active" && row.content.is_none() {
            broken.push(format!("image {id} is active and has no bytes"));
        }
    }
    for object in &census.objects {
        if !named.contains_key(&object.path) {
            broken.push(format!("{} leaked: no image has it", object.path));
        }
    }
    for (path, size_bytes) in named {
        let there = census.objects.iter().find(|object| object.path == path);
        if there.is_none_or(|object| object.size_bytes != size_bytes) {
            broken.push(format!("{path} should have {size_bytes} bytes: {there:?}"));
        }
    }
    broken
}
