"""What cannot be done as things are: wrong states, things in use, nothing left to give."""

from .missing import new
from .scene import COMPUTE, IMAGE, NETWORK, VOLUME
from .table import filled

SERVER, STOPPED = f"POST {COMPUTE}/servers/$server/action", f"POST {COMPUTE}/servers/$stopped/action"
CANNOT = "Cannot '{}' instance {} while it is in {}"

CONFLICTS = [
    ("start what runs", "member", SERVER, {"os-start": None}, 409, CANNOT.format("start", "$server", "vm_state active")),
    ("stop what is stopped", "member", STOPPED, {"os-stop": None}, 409, CANNOT.format("stop", "$stopped", "vm_state stopped")),
    ("soft reboot of what is stopped", "member", STOPPED, {"reboot": {"type": "SOFT"}}, 409,
     CANNOT.format("reboot", "$stopped", "vm_state stopped")),
    ("confirm no resize", "member", SERVER, {"confirmResize": None}, 409, CANNOT.format("confirmResize", "$server", "vm_state active")),
    ("revert no resize", "member", SERVER, {"revertResize": None}, 409, CANNOT.format("revertResize", "$server", "vm_state active")),
    ("resize to what no host has", "admin", SERVER, {"resize": {"flavorRef": "$huge"}}, 403, "Quota exceeded"),
    ("attach twice", "member", f"POST {COMPUTE}/servers/$server/os-volume_attachments", {"volumeAttachment": {"volumeId": "$used"}}, 400,
     "Invalid volume", "$used", "current status is in-use"),
    ("attach to another server too", "member", f"POST {COMPUTE}/servers/$stopped/os-volume_attachments",
     {"volumeAttachment": {"volumeId": "$used"}}, 400, "Invalid volume", "$used"),
    ("detach from another server", "member", f"DELETE {COMPUTE}/servers/$stopped/os-volume_attachments/$used", None, 404,
     "is not attached to volume $used"),
    ("delete a volume in use", "member", f"DELETE {VOLUME}/volumes/$used", None, 400, "Invalid volume: Volume status must be available or error"),
    ("delete a volume with snapshots", "member", f"DELETE {VOLUME}/volumes/$volume", None, 400, "Invalid volume:", "have snapshots"),
    ("extend a volume in use", "member", f"POST {VOLUME}/volumes/$used/action", {"os-extend": {"new_size": 2}}, 400,
     "Volume $used status must be 'available' to extend, currently in-use."),
    ("snapshot of a volume in use", "member", f"POST {VOLUME}/snapshots", {"snapshot": {"volume_id": "$used"}}, 400,
     "Volume $used status must be available", "but current status is: in-use."),
    ("delete a network in use", "member", f"DELETE {NETWORK}/networks/$net", None, 409, "NetworkInUse",
     "Unable to complete operation on network $net. There are one or more ports still in use on the network, id for these ports is: "),
    ("delete a subnet in use", "member", f"DELETE {NETWORK}/subnets/$subnet", None, 409, "SubnetInUse",
     "Unable to complete operation on subnet $subnet: One or more ports have an IP allocation from this subnet."),
    ("delete a security group in use", "member", f"DELETE {NETWORK}/security-groups/$sg", None, 409, "SecurityGroupInUse", "Security Group $sg in use."),
    ("delete the default security group", "stranger", f"DELETE {NETWORK}/security-groups/$spare_group", None, 409,
     "SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group."),
    ("delete a router's port", "member", f"DELETE {NETWORK}/ports/$interface", None, 409, "ServicePortInUse",
     "Port $interface cannot be deleted directly via the port API: has device owner network:router_interface."),
    ("delete a router in use", "member", f"DELETE {NETWORK}/routers/$router", None, 409, "RouterInUse", "Router $router"),
    ("take a gateway that floating IPs need", "member", f"PUT {NETWORK}/routers/$router", {"router": {"external_gateway_info": None}}, 409,
     "RouterExternalGatewayInUseByFloatingIp", "Gateway cannot be updated for router $router, since a gateway to external network $public is required by one or more floating IPs."),
    ("take an interface that floating IPs need", "member", f"PUT {NETWORK}/routers/$router/remove_router_interface", {"subnet_id": "$subnet"}, 409,
     "RouterInterfaceInUseByFloatingIP", "Router interface for subnet $subnet on router $router cannot be deleted, as it is required by one or more floating IPs."),
    ("interface twice", "member", f"PUT {NETWORK}/routers/$router/add_router_interface", {"subnet_id": "$subnet"}, 400,
     "Router already has a port on subnet $subnet"),
    ("interface that is not there", "member", f"PUT {NETWORK}/routers/$lone_router/remove_router_interface", {"subnet_id": "$subnet"}, 404,
     "RouterInterfaceNotFoundForSubnet", "Router $lone_router has no interface on subnet $subnet"),
    ("gateway on an inner network", "member", f"PUT {NETWORK}/routers/$lone_router", {"router": {"external_gateway_info": {"network_id": "$net"}}}, 400, "$net"),
    ("floating IP for a port that has one", "member", f"POST {NETWORK}/floatingips",
     {"floatingip": {"floating_network_id": "$public", "port_id": "$port"}}, 409, "FloatingIPPortAlreadyAssociated",
     "Cannot associate floating IP", "$port", "10.9.0.77", "already has a floating IP on external network $public."),
    ("floating IP for a port of none", "member", f"POST {NETWORK}/floatingips",
     {"floatingip": {"floating_network_id": "$public", "port_id": "$bare_port"}}, 400, "$bare_port"),
    ("no address left", "member", f"POST {NETWORK}/ports", {"port": {"network_id": "$narrow"}}, 409, "IpAddressGenerationFailure",
     "No more IP addresses available on network $narrow."),
    ("no address left in the subnet", "member", f"POST {NETWORK}/ports",
     {"port": {"network_id": "$narrow", "fixed_ips": [{"subnet_id": "$narrow_subnet"}]}}, 409, "IpAddressGenerationFailure"),
    ("port on a subnet of another network", "member", f"POST {NETWORK}/ports", {"port": {"network_id": "$narrow", "fixed_ips": [{"subnet_id": "$subnet"}]}}, 400,
     "fixed_ips", "$subnet"),
    ("delete a flavor twice", "admin", f"DELETE {COMPUTE}/flavors/none", None, 404, "none"),
]  # fmt: skip

# (title, service's path of quotas, limits, request, body, status, words)
QUOTAS = [
    ("instances", COMPUTE, {"instances": 2}, f"POST {COMPUTE}/servers", new(networks="none"), 403,
     "Quota exceeded for instances: Requested 1, but already used 2 of 2 instances"),
    ("cores", COMPUTE, {"cores": 2}, f"POST {COMPUTE}/servers", new(networks="none"), 403,
     "Quota exceeded for cores: Requested 1, but already used 2 of 2 cores"),
    ("ram", COMPUTE, {"ram": 140}, f"POST {COMPUTE}/servers", new(networks="none"), 403,
     "Quota exceeded for ram: Requested 64, but already used 128 of 140 ram"),
    ("cores and ram", COMPUTE, {"cores": 2, "ram": 128}, f"POST {COMPUTE}/servers", new(networks="none"), 403,
     "Quota exceeded for cores, ram: Requested 1, 64, but already used 2, 128 of 2, 128 cores, ram"),
    ("several instances", COMPUTE, {"instances": 5}, f"POST {COMPUTE}/servers", new(networks="none", min_count=4), 403,
     "Quota exceeded for instances: Requested 4, but already used 2 of 5 instances"),
    ("growing", COMPUTE, {"ram": 130}, f"POST {COMPUTE}/servers/$server/action", {"resize": {"flavorRef": "$bigger"}}, 403, "Quota exceeded for ram"),
    ("metadata", COMPUTE, {"metadata_items": 1}, f"POST {COMPUTE}/servers/$server/metadata", {"metadata": {"a": "b", "c": "d"}}, 403,
     "Maximum number of metadata items exceeds 1"),
    ("key pairs", COMPUTE, {"key_pairs": 1}, f"POST {COMPUTE}/os-keypairs",
     {"keypair": {"name": "y", "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me"}}, 403,
     "Quota exceeded, too many key pairs."),
    ("server groups", COMPUTE, {"server_groups": 1}, f"POST {COMPUTE}/os-server-groups", {"server_group": {"name": "y", "policy": "affinity"}}, 403,
     "Quota exceeded, too many server groups."),
    ("networks", NETWORK, {"network": 3}, f"POST {NETWORK}/networks", {"network": {"name": "y"}}, 409, "OverQuota", "Quota exceeded for resources: ['network']."),
    ("several networks", NETWORK, {"network": 5}, f"POST {NETWORK}/networks", {"networks": [{"name": "y"}, {"name": "y"}, {"name": "y"}]}, 409, "OverQuota"),
    ("subnets", NETWORK, {"subnet": 2}, f"POST {NETWORK}/subnets",
     {"subnet": {"network_id": "$bare", "ip_version": 4, "cidr": "10.7.0.0/24"}}, 409, "Quota exceeded for resources: ['subnet']."),
    ("ports", NETWORK, {"port": 1}, f"POST {NETWORK}/ports", {"port": {"network_id": "$net"}}, 409, "Quota exceeded for resources: ['port']."),
    ("ports for a server", NETWORK, {"port": 1}, f"POST {COMPUTE}/servers", new(), 403, "Maximum number of ports exceeded"),
    ("routers", NETWORK, {"router": 2}, f"POST {NETWORK}/routers", {"router": {"name": "y"}}, 409, "Quota exceeded for resources: ['router']."),
    ("floating IPs", NETWORK, {"floatingip": 1}, f"POST {NETWORK}/floatingips", {"floatingip": {"floating_network_id": "$public"}}, 409,
     "Quota exceeded for resources: ['floatingip']."),
    ("security groups", NETWORK, {"security_group": 2}, f"POST {NETWORK}/security-groups", {"security_group": {"name": "y"}}, 409,
     "Quota exceeded for resources: ['security_group']."),
    ("security group rules", NETWORK, {"security_group_rule": 2}, f"POST {NETWORK}/security-group-rules",
     {"security_group_rule": {"security_group_id": "$sg", "direction": "egress", "protocol": "udp"}}, 409, "Quota exceeded for resources: ['security_group_rule']."),
    ("volumes", VOLUME, {"volumes": 2}, f"POST {VOLUME}/volumes", {"volume": {"size": 1}}, 413,
     "VolumeLimitExceeded: Maximum number of volumes allowed (2) exceeded for quota 'volumes'."),
    ("gigabytes", VOLUME, {"gigabytes": 3}, f"POST {VOLUME}/volumes", {"volume": {"size": 1}}, 413,
     "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. Requested 1G, quota is 3G and 3G has been consumed."),
    ("gigabytes by growing", VOLUME, {"gigabytes": 3}, f"POST {VOLUME}/volumes/$volume/action", {"os-extend": {"new_size": 9}}, 413,
     "Requested 8G, quota is 3G and 3G has been consumed."),
    ("size of a volume", VOLUME, {"per_volume_gigabytes": 3}, f"POST {VOLUME}/volumes", {"volume": {"size": 4}}, 413,
     "VolumeSizeExceedsLimit: Requested volume size 4G is larger than maximum allowed limit 3G."),
    ("snapshots", VOLUME, {"snapshots": 1}, f"POST {VOLUME}/snapshots", {"snapshot": {"volume_id": "$volume"}}, 413,
     "SnapshotLimitExceeded: Maximum number of snapshots allowed (1) exceeded"),
]  # fmt: skip


def quotas(cloud, score, things, tokens, after):
    """Every line under the quota that it meets, which is lifted again."""
    score.begin("quotas")
    for title, at, limits, request, body, status, *words in QUOTAS:
        path = f"{at}/quotas" if at == NETWORK else f"{at}/os-quota-sets"
        path, key = f"{path}/{things['home_project']}", "quota" if at == NETWORK else "quota_set"
        cloud.ok("PUT", path, {key: {**limits, "force": True} if key == "quota" else limits}, token=tokens["admin"])
        method, to = filled(request, things).split(" ", 1)
        version = {"OpenStack-API-Version": "compute 2.100"} if to.startswith("/compute") else {}
        answer = cloud.send(method, to, filled(body, things), token=tokens["member"], headers=version)
        score.expect(title, answer, status, *filled(words, things))
        cloud.ok("DELETE", path, token=tokens["admin"])
        after(title)


def faults(cloud, score, scene, after):
    """Servers that are taken and cannot be built: what they say of it, and that they go without a trace."""
    score.begin("faults")
    admin, member, things = scene.tokens["admin"], scene.tokens["member"], scene.things
    path = f"{COMPUTE}/os-quota-sets/{things['home_project']}"
    cloud.ok("PUT", path, {"quota_set": {"cores": -1, "ram": -1, "instances": -1}}, token=admin)
    version = {"OpenStack-API-Version": "compute 2.100"}

    def refused(title, server, *words):
        body = {"server": {"name": "x", "flavorRef": things["flavor"], "imageRef": things["image"], **server}}
        made = cloud.make(member, f"{COMPUTE}/servers", body, headers=version)["id"]
        shown = cloud.server(member, made, "ERROR")
        fault = shown["fault"]
        missing = [word for word in words if word not in fault["message"]]
        missing += [] if fault["code"] == 500 and "created" in fault else ["code and time"]
        score.must(f"{title}: its fault says why", not missing, f"no {missing} in {fault}")
        start = cloud.send("POST", f"{COMPUTE}/servers/{made}/action", {"os-start": None}, token=member)
        score.expect(f"{title}: start", start, 409, made)
        console = cloud.send("POST", f"{COMPUTE}/servers/{made}/action", {"os-getConsoleOutput": {}}, token=member)
        # One that has a host still is told that there is no guest, one that has none that it is not ready.
        score.expect(f"{title}: console", console, 404 if console.status == 404 else 409)
        cloud.ok("DELETE", f"{COMPUTE}/servers/{made}", token=member)
        cloud.gone(member, f"{COMPUTE}/servers/{made}")
        again = cloud.send("DELETE", f"{COMPUTE}/servers/{made}", token=member)
        score.expect(f"{title}: delete twice", again, 404, f"Instance {made} could not be found.")
        after(title)

    refused("too large for every host", {"flavorRef": things["huge"], "networks": "none"},
            "No valid host was found", "compute-1", "VcpuFilter", "needs 900 VCPUs", " free of ")  # fmt: skip
    refused("no address for it", {"networks": [{"uuid": things["narrow"]}]},
            f"No more IP addresses available on network {things['narrow']}")  # fmt: skip
    held = {"source_type": "volume", "destination_type": "volume", "uuid": things["volume"], "boot_index": 1}
    refused("a volume for what is too large", {"flavorRef": things["huge"], "networks": [{"uuid": things["net"]}],
            "block_device_mapping_v2": [held]}, "No valid host was found")  # fmt: skip
    cloud.ok("DELETE", path, token=admin)


def locks(cloud, score, scene):
    """A locked server is left alone, and only who may takes the lock off."""
    score.begin("locks")
    server = scene.things["server"]
    at = f"{COMPUTE}/servers/{server}"
    act = lambda who, body: cloud.send("POST", f"{at}/action", body, token=scene.tokens[who])
    cloud.ok("POST", f"{at}/action", {"lock": None}, token=scene.tokens["admin"])
    locked = f"Instance {server} is locked"
    score.expect("stop", act("member", {"os-stop": None}), 409, locked)
    score.expect("reboot", act("member", {"reboot": {"type": "HARD"}}), 409, locked)
    score.expect("delete", cloud.send("DELETE", at, token=scene.tokens["member"]), 409, locked)
    resize = {"resize": {"flavorRef": scene.things["bigger"]}}
    score.expect("resize", act("member", resize), 409, locked)
    unlock = act("member", {"unlock": None})
    score.expect("unlock", unlock, 403, "os_compute_api:os-lock-server:unlock:unlock_override")
    score.expect("unlock by whom it may", act("admin", {"unlock": None}), 202)


def deletions(cloud, score, scene):
    """What may be deleted although it was used: servers keep what they were made from."""
    score.begin("deletions")
    things, version = scene.things, {"OpenStack-API-Version": "compute 2.100"}
    flavor = cloud.send("DELETE", f"{COMPUTE}/flavors/{things['flavor']}", token=scene.tokens["admin"])
    score.expect("a flavor in use", flavor, 202)
    image = cloud.send("DELETE", f"{IMAGE}/images/{things['image']}", token=scene.tokens["member"])
    score.expect("an image in use", image, 204)
    at = f"{COMPUTE}/servers/{things['server']}"
    server = cloud.send("GET", at, token=scene.tokens["member"], headers=version)
    score.expect("the server is still shown", server, 200)
    kept = server.json["server"]
    score.must("and what it is made from", kept["flavor"]["original_name"] == scene.prefix + "small", kept["flavor"])
    gone = cloud.send("GET", f"{COMPUTE}/flavors/{things['flavor']}", token=scene.tokens["member"])
    score.expect("the flavor is gone", gone, 404, things["flavor"])
