//! What other services say of what a server is to be made from, and what that means for the request.

use updraft_edge::rest::Service;
use updraft_protocol::{
    image::{self, ImageLocation, Locate},
    network::{self, NicRequest, Validate, Validated},
};
use updraft_runtime::rpc::{CallError, Cx, Fault, FaultKind};
use uuid::Uuid;

use super::super::{Api, call::Call};
use crate::{
    disks::{GIB, check_fits},
    error::{Error, Outcome, bad_request, conflict, forbidden},
    rows::FlavorRow,
};

/// Containers that add nothing: the image's bytes are those of the disk itself.
const PLAIN_CONTAINERS: [&str; 4] = ["bare", "ami", "aki", "ari"];

/// What hosts can make a root disk of; an image of an optical disc is one as it is.
const ROOT_DISKS: [&str; 4] = ["qcow2", "raw", "ami", "iso"];

/// The image, if a server of this flavor can be made from it.
pub(super) async fn image(
    api: &Api,
    cx: &Cx,
    image: Uuid,
    flavor: &FlavorRow,
) -> Outcome<ImageLocation> {
    let answer = api.context.rpc.client::<image::Api>().call(&Locate { image }, cx).await;
    let location = answer.map_err(|error| image_refused(image, &error))?;
    if location.status != "active" {
        return Err(bad_request(format!("Image {image} is not active.")));
    }
    boots(&location)?;
    fits(&location, flavor)?;
    Ok(location)
}

fn image_refused(image: Uuid, error: &CallError) -> Error {
    match error.fault() {
        Some(fault) if fault.kind == FaultKind::NotFound => {
            bad_request(format!("Can not find requested image: Image {image} could not be found."))
        }
        Some(fault) if fault.kind == FaultKind::Conflict => {
            bad_request(format!("Image {image} is not active."))
        }
        Some(fault) if fault.kind == FaultKind::Forbidden => {
            bad_request(format!("Not authorized for image {image}."))
        }
        Some(fault) if fault.kind == FaultKind::Invalid => {
            bad_request(format!("Image {image} is unacceptable: {}", fault.message))
        }
        _ => unreachable_service("image", error),
    }
}

/// Whether hosts can make a root disk of the image; they take its bytes for those of the disk.
fn boots(image: &ImageLocation) -> Outcome<()> {
    let (container, disk) = (image.container_format.as_str(), image.disk_format.as_str());
    let reason = if !PLAIN_CONTAINERS.contains(&container) {
        format!("no server boots from a container of format {container}")
    } else if !ROOT_DISKS.contains(&disk) {
        format!("no server boots from a disk of format {disk}")
    } else {
        return Ok(());
    };
    Err(bad_request(format!("Image {} is unacceptable: {reason}", image.image)))
}

/// Whether a guest of the flavor can hold the image. A root disk of 0 takes the image's own size.
fn fits(image: &ImageLocation, flavor: &FlavorRow) -> Outcome<()> {
    let spec = &flavor.spec;
    if spec.ram_mib < image.min_ram_mib {
        return Err(bad_request("Flavor's memory is too small for requested image."));
    }
    check_fits(image.disk_bytes(), spec.disk_gib)
        .map_err(|error| bad_request(error.to_string()))?;
    if spec.disk_gib > 0 && image.min_disk_gib > spec.disk_gib {
        return Err(bad_request(format!(
            "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is {} \
             bytes, minimum size is {} bytes.",
            spec.disk_gib.saturating_mul(GIB),
            image.min_disk_gib.saturating_mul(GIB)
        )));
    }
    Ok(())
}

/// The interfaces as the network service will make them, and what it calls their security groups.
pub(super) async fn networks(
    api: &Api,
    cx: &Cx,
    nics: Vec<NicRequest>,
    security_groups: Vec<String>,
) -> Outcome<Validated> {
    if nics.is_empty() {
        return Ok(Validated { nics, security_groups });
    }
    let message = Validate { nics, security_groups };
    let answer = api.context.rpc.client::<network::Server>().call(&message, cx).await;
    answer.map_err(|error| match error.fault() {
        Some(fault) => network_refused(fault, &message.nics),
        None => unreachable_service("network", &error),
    })
}

/// Neutron's no as nova passes it on: what is not there is the request's mistake, and some words are nova's.
fn network_refused(fault: &Fault, nics: &[NicRequest]) -> Error {
    let message = &fault.message;
    let named = || {
        let mut ports = nics.iter().filter_map(|nic| nic.port);
        ports.find(|port| message.contains(&port.to_string()))
    };
    match (fault.code.as_str(), named()) {
        ("PortNotFound", Some(port)) => {
            return bad_request(format!("Port id {port} could not be found."));
        }
        ("PortInUse", Some(port)) => return conflict(format!("Port {port} is still in use.")),
        ("SecurityGroupNotFound", _) => {
            return bad_request(message.replace(" does not exist", " not found."));
        }
        _ => {}
    }
    match fault.kind {
        FaultKind::Forbidden => forbidden(message),
        FaultKind::NotFound | FaultKind::Invalid => bad_request(message),
        FaultKind::OverLimit => forbidden("Maximum number of ports exceeded"),
        FaultKind::Conflict => conflict(message),
        _ => {
            tracing::warn!(%fault, "the network service did not answer as it should");
            Service::Compute.unavailable("The network service is not available.").into()
        }
    }
}

/// A service that gave no answer: the request changed nothing and may be repeated.
pub(crate) fn unreachable_service(name: &str, error: &CallError) -> Error {
    tracing::warn!(service = name, %error, "no answer");
    Service::Compute.unavailable(format!("The {name} service is not available.")).into()
}

impl Call {
    /// Refuses a flavor without a root disk for a server that boots from an image, unless the rule allows it.
    pub(super) fn check_zero_disk(&self, flavor: &FlavorRow, from_image: bool) -> Outcome<()> {
        if !from_image || flavor.spec.disk_gib > 0 || self.may("servers:create:zero_disk_flavor") {
            return Ok(());
        }
        Err(forbidden("Only volume-backed servers are allowed for flavors with zero disk."))
    }
}
