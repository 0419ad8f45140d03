"""Bodies, headers and queries that make no sense, to every service in its own way."""

import json

from .missing import new
from .scene import COMPUTE, IDENTITY, IMAGE, NETWORK, VOLUME
from .table import filled

# Of each service: a route that takes a body, who may use it, a body that is right, and where a name stands in it.
TAKES_BODY = {
    "compute": ("member", f"{COMPUTE}/servers", {"server": {"name": "x", "flavorRef": "$flavor", "imageRef": "$image",
                                                            "networks": "none"}}),
    "flavor": ("admin", f"{COMPUTE}/flavors", {"flavor": {"name": "x", "ram": 64, "vcpus": 1, "disk": 1}}),
    "keypair": ("member", f"{COMPUTE}/os-keypairs", {"keypair": {"name": "x"}}),
    "action": ("member", f"{COMPUTE}/servers/$server/action", {"reboot": {"type": "SOFT"}}),
    "project": ("admin", f"{IDENTITY}/projects", {"project": {"name": "x"}}),
    "user": ("admin", f"{IDENTITY}/users", {"user": {"name": "x"}}),
    "token": ("nobody", f"{IDENTITY}/auth/tokens", {"auth": {"identity": {"methods": ["password"]}}}),
    "image": ("member", f"{IMAGE}/images", {"name": "x"}),
    "network": ("member", f"{NETWORK}/networks", {"network": {"name": "x"}}),
    "subnet": ("member", f"{NETWORK}/subnets", {"subnet": {"network_id": "$bare", "ip_version": 4, "cidr": "10.7.0.0/24"}}),
    "port": ("member", f"{NETWORK}/ports", {"port": {"network_id": "$net"}}),
    "rule": ("member", f"{NETWORK}/security-group-rules",
             {"security_group_rule": {"security_group_id": "$sg", "direction": "ingress"}}),
    "volume": ("member", f"{VOLUME}/volumes", {"volume": {"size": 1}}),
    "snapshot": ("member", f"{VOLUME}/snapshots", {"snapshot": {"volume_id": "$volume"}}),
    "volume action": ("member", f"{VOLUME}/volumes/$volume/action", {"os-extend": {"new_size": 2}}),
}  # fmt: skip

JSON = {"Content-Type": "application/json"}
DEEP = 100_000
LARGE_BYTES = 200_000

# An image needs no attribute, its name may be null, and any other attribute may be text: these make one.
ANY_IMAGE = ("an empty object", "null in it", "a text in it", "another key")


def spoilt(body):
    """What is sent in the place of a body: title, bytes, headers, and the status it must get."""
    good = json.dumps(body).encode()
    (outer,) = body if len(body) == 1 else ("name",)
    return [
        ("no JSON", b"{this is no JSON", JSON, 400),
        ("half of it", good[: len(good) // 2], JSON, 400),
        ("nothing", b"", JSON, 400),
        ("white space", b"  \r\n ", JSON, 400),
        ("bad UTF-8", good.replace(b":", b':"\xff\xfe",', 1), JSON, 400),
        ("a bad escape", b'{"%s": "\\ud800"}' % outer.encode(), JSON, 400),
        ("a zero byte", good[:-1] + b"\0}", JSON, 400),
        ("null", b"null", JSON, 400),
        ("a number", b"17", JSON, 400),
        ("a text", b'"text"', JSON, 400),
        ("an array", b"[1, 2]", JSON, 400),
        ("an empty object", b"{}", JSON, 400),
        ("null in it", json.dumps({outer: None}).encode(), JSON, 400),
        ("a number in it", json.dumps({outer: 5}).encode(), JSON, 400),
        ("a text in it", json.dumps({outer: "text"}).encode(), JSON, 400),
        ("an array in it", json.dumps({outer: [[]]}).encode(), JSON, 400),
        ("another key", json.dumps({"sevrer": body.get(outer)}).encode(), JSON, 400),
        ("deep nesting", b'{"%s":' % outer.encode() + b"[" * (DEEP // 2) + b"]" * (DEEP // 2) + b"}", JSON, 400),
        ("too much", good[:-1] + b" " * LARGE_BYTES + b"}", JSON, 413),
        ("a huge number", json.dumps({outer: {"name": "x"}}).encode().replace(b'"x"', b"9" * 5000), JSON, 400),
        ("not a number", json.dumps({outer: {"name": "x"}}).encode().replace(b'"x"', b"NaN"), JSON, 400),
    ]  # fmt: skip


def bodies(cloud, score, things, tokens, after):
    """Every spoilt body to every route that takes one."""
    score.begin("bodies")
    for name, (who, path, body) in TAKES_BODY.items():
        path, body = filled(path, things), filled(body, things)
        for title, raw, headers, status in spoilt(body):
            if name == "image" and title in ANY_IMAGE:
                continue
            answer = cloud.send("POST", path, raw=raw, token=tokens[who], headers=headers)
            score.expect(f"{name}: {title}", answer, status)
        if name == "image":
            continue  # It does not look at the type, as nothing but JSON goes there.
        kind = cloud.send("POST", path, raw=json.dumps(body).encode(), token=tokens[who],
                          headers={"Content-Type": "application/xml"})  # fmt: skip
        score.expect(f"{name}: wrong type of content", kind, {"identity": 400}.get(kind.service, 415))
        after(name)


def of(key, right, field, value, *words):
    """A line's body and words: something right but for one field, which must be named."""
    return {key: {**right, field: value}}, 400, field.split(":")[-1], *words


FLAVOR = {"name": "x", "ram": 64, "vcpus": 1, "disk": 1}
SUBNET = {"network_id": "$bare", "ip_version": 4, "cidr": "10.7.0.0/24"}
RULE = {"security_group_id": "$sg", "direction": "ingress"}
BIG = 10**30
SERVERS = f"POST {COMPUTE}/servers"

FIELDS = [
    ("server name missing", "member", SERVERS, {"server": {"flavorRef": "$flavor", "imageRef": "$image", "networks": "none"}}, 400,
     "Invalid input for field/attribute server", "'name' is a required property"),
    ("server networks missing", "member", SERVERS, {"server": {"name": "x", "flavorRef": "$flavor", "imageRef": "$image"}}, 400, "networks", "required"),
    ("server flavor missing", "member", SERVERS, {"server": {"name": "x", "networks": "none"}}, 400, "flavorRef", "required"),
    ("server name a number", "member", SERVERS, new(name=5), 400, "Invalid input for field/attribute", "name", "5"),
    ("server name empty", "member", SERVERS, new(name=""), 400, "name"),
    ("server name of blanks", "member", SERVERS, new(name="   "), 400, "name"),
    ("server name too long", "member", SERVERS, new(name="x" * 256), 400, "name", "is too long"),
    ("server name with a zero", "member", SERVERS, new(name="a\0b"), 400, "name"),
    ("server unknown key", "member", SERVERS, new(flavour="x"), 400, "Additional properties are not allowed ('flavour' was unexpected)"),
    ("server min_count text", "member", SERVERS, new(min_count="many"), 400, "min_count", "many"),
    ("server min_count zero", "member", SERVERS, new(min_count=0), 400, "min_count", "0"),
    ("server min_count huge", "member", SERVERS, new(min_count=BIG), 400, "min_count"),
    ("server min over max", "member", SERVERS, new(min_count=3, max_count=2), 400, "min_count must be <= max_count"),
    ("server networks word", "member", SERVERS, new(networks="some"), 400, "networks", "some"),
    ("server networks number", "member", SERVERS, new(networks=5), 400, "networks"),
    ("server network without id", "member", SERVERS, new(networks=[{}]), 400, "Bad networks format"),
    ("server network no id", "member", SERVERS, new(networks=[{"uuid": "x"}]), 400, "networks", "uuid", "x"),
    ("server fixed_ip", "member", SERVERS, new(networks=[{"uuid": "$net", "fixed_ip": "10.9.0.300"}]), 400, "fixed_ip", "10.9.0.300"),
    ("server user_data", "member", SERVERS, new(user_data="no base64!"), 400, "user_data"),
    ("server user_data long", "member", SERVERS, new(user_data="QUJD" * 16_500), 400, "user_data"),
    ("server metadata list", "member", SERVERS, new(metadata=["a"]), 400, "metadata"),
    ("server metadata value", "member", SERVERS, new(metadata={"a": 5}), 400, "metadata", "5"),
    ("server metadata key", "member", SERVERS, new(metadata={"": "x"}), 400, "metadata"),
    ("server metadata long", "member", SERVERS, new(metadata={"a": "x" * 256}), 400, "metadata"),
    ("server metadata many", "member", SERVERS, new(metadata={f"k{i}": "v" for i in range(129)}), 403, "128"),
    ("server tags", "member", SERVERS, new(tags=["a/b"]), 400, "tags", "a/b"),
    ("server config_drive", "member", SERVERS, new(config_drive="perhaps"), 400, "config_drive", "perhaps"),
    ("server diskConfig", "member", SERVERS, new(**{"OS-DCF:diskConfig": "SOME"}), 400, "diskConfig", "SOME"),
    ("server accessIPv4", "member", SERVERS, new(accessIPv4="::1"), 400, "accessIPv4"),
    ("server group hint", "member", SERVERS, {**new(), "os:scheduler_hints": {"group": "x"}}, 400, "group", "x"),
    ("server hints list", "member", SERVERS, {**new(), "os:scheduler_hints": []}, 400, "os:scheduler_hints"),
    ("server block device", "member", SERVERS, new(block_device_mapping_v2=[{"source_type": "disk"}]), 400, "source_type", "disk"),
    ("server block device id", "member", SERVERS, new(block_device_mapping_v2=[{"source_type": "volume", "uuid": "x"}]), 400, "uuid"),
    ("server security groups", "member", SERVERS, new(security_groups=["default"]), 400, "security_groups"),
    ("server rename empty", "member", f"PUT {COMPUTE}/servers/$server", {"server": {"name": ""}}, 400, "name"),
    ("server rename nothing", "member", f"PUT {COMPUTE}/servers/$server", {"server": {"colour": "x"}}, 400, "colour"),
    ("action of two", "member", f"POST {COMPUTE}/servers/$server/action", {"os-stop": None, "os-start": None}, 400),
    ("action unknown", "member", f"POST {COMPUTE}/servers/$server/action", {"os-fly": None}, 400, "There is no such action: os-fly"),
    ("reboot of what kind", "member", f"POST {COMPUTE}/servers/$server/action", {"reboot": {"type": "WARM"}}, 400, "type", "WARM"),
    ("reboot of no kind", "member", f"POST {COMPUTE}/servers/$server/action", {"reboot": {}}, 400, "type"),
    ("resize to no flavor", "member", f"POST {COMPUTE}/servers/$server/action", {"resize": {"flavorRef": "none"}}, 400, "Flavor none could not be found."),
    ("resize to itself", "member", f"POST {COMPUTE}/servers/$server/action", {"resize": {"flavorRef": "$flavor"}}, 400, "When resizing, instances must change flavor!"),
    ("console length", "member", f"POST {COMPUTE}/servers/$server/action", {"os-getConsoleOutput": {"length": "all"}}, 400, "length", "all"),
    ("state reset to what", "admin", f"POST {COMPUTE}/servers/$server/action", {"os-resetState": {"state": "happy"}}, 400, "state", "happy"),
    ("remote console", "member", f"POST {COMPUTE}/servers/$server/remote-consoles", {"remote_console": {"protocol": "vnc", "type": "xvpvnc"}}, 400, "Unavailable console type xvpvnc."),
    ("remote console protocol", "member", f"POST {COMPUTE}/servers/$server/remote-consoles", {"remote_console": {"protocol": "smoke", "type": "novnc"}}, 400, "protocol", "smoke"),
    ("attach no id", "member", f"POST {COMPUTE}/servers/$server/os-volume_attachments", {"volumeAttachment": {"volumeId": "x"}}, 400, "volumeId", "x"),
    ("flavor ram", "admin", f"POST {COMPUTE}/flavors", *of("flavor", FLAVOR, "ram", "much", "much")),
    ("flavor ram zero", "admin", f"POST {COMPUTE}/flavors", *of("flavor", FLAVOR, "ram", 0, "0")),
    ("flavor ram huge", "admin", f"POST {COMPUTE}/flavors", *of("flavor", FLAVOR, "ram", BIG)),
    ("flavor vcpus", "admin", f"POST {COMPUTE}/flavors", *of("flavor", FLAVOR, "vcpus", -1, "-1")),
    ("flavor disk", "admin", f"POST {COMPUTE}/flavors", *of("flavor", FLAVOR, "disk", 1.5, "1.5")),
    ("flavor id", "admin", f"POST {COMPUTE}/flavors", *of("flavor", FLAVOR, "id", " x ")),
    ("flavor public", "admin", f"POST {COMPUTE}/flavors", *of("flavor", FLAVOR, "os-flavor-access:is_public", "perhaps", "perhaps")),
    ("flavor of that name", "admin", f"POST {COMPUTE}/flavors", {"flavor": {**FLAVOR, "name": "small"}}, 409, "Flavor with name small already exists."),
    ("flavor of that id", "admin", f"POST {COMPUTE}/flavors", {"flavor": {**FLAVOR, "id": "$flavor"}}, 409, "Flavor with ID $flavor already exists."),
    ("flavor extra spec", "admin", f"POST {COMPUTE}/flavors/$flavor/os-extra_specs", {"extra_specs": {"a/b": "c"}}, 400, "a/b"),
    ("key pair name", "member", f"POST {COMPUTE}/os-keypairs", {"keypair": {"name": "a/b", "public_key": "ssh-rsa AAAA"}}, 400, "a/b"),
    ("key pair key", "member", f"POST {COMPUTE}/os-keypairs", {"keypair": {"name": "x", "public_key": "my key"}}, 400, "Keypair data is invalid"),
    ("key pair made here", "member", f"POST {COMPUTE}/os-keypairs", {"keypair": {"name": "x"}}, 400, "public_key"),
    ("key pair of that name", "member", f"POST {COMPUTE}/os-keypairs",
     {"keypair": {"name": "key", "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me"}},
     409, "Key pair 'key' already exists."),
    ("server group policy", "member", f"POST {COMPUTE}/os-server-groups", {"server_group": {"name": "x", "policy": "near"}}, 400, "policy", "near"),
    ("server group policies", "member", f"POST {COMPUTE}/os-server-groups", {"server_group": {"name": "x", "policies": ["affinity"]}}, 400, "polic"),
    ("quota of what", "admin", f"PUT {COMPUTE}/os-quota-sets/$home_project", {"quota_set": {"wishes": 3}}, 400, "wishes"),
    ("quota how much", "admin", f"PUT {COMPUTE}/os-quota-sets/$home_project", {"quota_set": {"cores": "all"}}, 400, "cores", "all"),
    ("quota below nothing", "admin", f"PUT {COMPUTE}/os-quota-sets/$home_project", {"quota_set": {"cores": -2}}, 400, "cores", "-2"),
    ("quota below use", "admin", f"PUT {COMPUTE}/os-quota-sets/$home_project", {"quota_set": {"instances": 1}}, 400,
     "Quota limit 1 for instances must be greater than or equal to already used and reserved"),
    ("project name missing", "admin", f"POST {IDENTITY}/projects", {"project": {}}, 400, "name", "required property"),
    ("project name number", "admin", f"POST {IDENTITY}/projects", {"project": {"name": 5}}, 400, "name"),
    ("project name empty", "admin", f"POST {IDENTITY}/projects", {"project": {"name": ""}}, 400, "name"),
    ("project name long", "admin", f"POST {IDENTITY}/projects", {"project": {"name": "x" * 65}}, 400, "name"),
    ("project enabled", "admin", f"POST {IDENTITY}/projects", {"project": {"name": "x", "enabled": "perhaps"}}, 400, "enabled"),
    ("project of that name", "admin", f"POST {IDENTITY}/projects", {"project": {"name": "home"}}, 409,
     "Conflict occurred attempting to store project", "home"),
    ("user name missing", "admin", f"POST {IDENTITY}/users", {"user": {"password": "x"}}, 400, "name", "required property"),
    ("user of that name", "admin", f"POST {IDENTITY}/users", {"user": {"name": "member"}}, 409,
     "Conflict occurred attempting to store user - Duplicate entry found with name member at domain ID default."),
    ("user password number", "admin", f"POST {IDENTITY}/users", {"user": {"name": "x", "password": 5}}, 400, "password"),
    ("user enabled", "admin", f"PATCH {IDENTITY}/users/$member_user", {"user": {"enabled": "perhaps"}}, 400, "enabled"),
    ("role name", "admin", f"POST {IDENTITY}/roles", {"role": {"name": []}}, 400, "name"),
    ("role of that name", "admin", f"POST {IDENTITY}/roles", {"role": {"name": "member"}}, 409, "Conflict occurred attempting to store role"),
    ("domain delete enabled", "admin", f"DELETE {IDENTITY}/domains/default", None, 403, "enabled"),
    ("endpoint interface", "admin", f"POST {IDENTITY}/endpoints", {"endpoint": {"service_id": "$no_id", "interface": "hidden", "url": "http://x"}}, 400, "interface", "hidden"),
    ("password change with wrong one", "member", f"POST {IDENTITY}/users/$member_user/password",
     {"user": {"password": "new", "original_password": "wrong"}}, 401, "requires authentication"),
    ("image format", "member", f"POST {IMAGE}/images", {"disk_format": "floppy"}, 400, "disk_format", "floppy"),
    ("image container", "member", f"POST {IMAGE}/images", {"container_format": "box"}, 400, "container_format", "box"),
    ("image id", "member", f"POST {IMAGE}/images", {"id": "x"}, 400, "id"),
    ("image of that id", "member", f"POST {IMAGE}/images", {"id": "$image"}, 409, "Image ID $image already exists!"),
    ("image min_disk", "member", f"POST {IMAGE}/images", {"min_disk": -1}, 400, "min_disk", "-1"),
    ("image min_ram", "member", f"POST {IMAGE}/images", {"min_ram": "much"}, 400, "min_ram", "much"),
    ("image visibility", "member", f"POST {IMAGE}/images", {"visibility": "hidden"}, 400, "visibility", "hidden"),
    ("image protected", "member", f"POST {IMAGE}/images", {"protected": "yes"}, 400, "protected", "yes"),
    ("image status", "member", f"POST {IMAGE}/images", {"status": "active"}, 403, "Attribute 'status' is read-only."),
    ("image owner", "member", f"POST {IMAGE}/images", {"owner": "$away_project"}, 403),
    ("image property", "member", f"POST {IMAGE}/images", {"colour": 5}, 400, "colour", "5"),
    ("image tags", "member", f"POST {IMAGE}/images", {"tags": "x"}, 400, "tags"),
    ("network name", "member", f"POST {NETWORK}/networks", {"network": {"name": 5}}, 400, "Invalid input for name", "5"),
    ("network name long", "member", f"POST {NETWORK}/networks", {"network": {"name": "x" * 256}}, 400, "name", "exceeds maximum length of 255"),
    ("network key", "member", f"POST {NETWORK}/networks", {"network": {"colour": "x"}}, 400, "Unrecognized attribute(s) 'colour'"),
    ("network status", "member", f"POST {NETWORK}/networks", {"network": {"status": "ACTIVE"}}, 400, "Attribute 'status' not allowed in POST"),
    ("network up", "member", f"POST {NETWORK}/networks", {"network": {"admin_state_up": "perhaps"}}, 400, "admin_state_up", "perhaps"),
    ("network mtu", "member", f"POST {NETWORK}/networks", {"network": {"mtu": -5}}, 400, "mtu", "-5"),
    ("networks none", "member", f"POST {NETWORK}/networks", {"networks": []}, 400, "Resources required"),
    ("networks, one wrong", "member", f"POST {NETWORK}/networks", {"networks": [{"name": "x"}, {"name": 5}]}, 400, "name"),
    ("segment type", "admin", f"POST {NETWORK}/networks", {"network": {"provider:network_type": "pigeon"}}, 400, "pigeon"),
    ("segment vlan", "admin", f"POST {NETWORK}/networks",
     {"network": {"provider:network_type": "vlan", "provider:physical_network": "p", "provider:segmentation_id": 9999}}, 400, "segmentation_id"),
    ("subnet cidr missing", "member", f"POST {NETWORK}/subnets", {"subnet": {"network_id": "$bare", "ip_version": 4}}, 400, "cidr"),
    ("subnet network missing", "member", f"POST {NETWORK}/subnets", {"subnet": {"ip_version": 4, "cidr": "10.7.0.0/24"}}, 400, "network_id"),
    ("subnet cidr", "member", f"POST {NETWORK}/subnets", *of("subnet", SUBNET, "cidr", "10.7/xx", "10.7/xx")),
    ("subnet cidr address", "member", f"POST {NETWORK}/subnets", *of("subnet", SUBNET, "cidr", "10.7.0.300/24", "10.7.0.300/24")),
    ("subnet version", "member", f"POST {NETWORK}/subnets", *of("subnet", SUBNET, "ip_version", 5, "5")),
    ("subnet version against cidr", "member", f"POST {NETWORK}/subnets", {"subnet": {**SUBNET, "ip_version": 6}}, 400, "10.7.0.0/24", "ip_version"),
    ("subnet gateway", "member", f"POST {NETWORK}/subnets", *of("subnet", SUBNET, "gateway_ip", "here", "here")),
    ("subnet gateway elsewhere", "member", f"POST {NETWORK}/subnets", {"subnet": {**SUBNET, "gateway_ip": "10.7.0.255"}}, 400, "Gateway is not valid on subnet"),
    ("subnet gateway in pool", "member", f"POST {NETWORK}/subnets",
     {"subnet": {**SUBNET, "gateway_ip": "10.7.0.9", "allocation_pools": [{"start": "10.7.0.5", "end": "10.7.0.20"}]}}, 409,
     "GatewayConflictWithAllocationPools", "Gateway ip 10.7.0.9 conflicts with allocation pool 10.7.0.5-10.7.0.20."),
    ("subnet pool outside", "member", f"POST {NETWORK}/subnets", {"subnet": {**SUBNET, "allocation_pools": [{"start": "10.6.0.5", "end": "10.6.0.20"}]}}, 400,
     "OutOfBoundsAllocationPool"),
    ("subnet pool backwards", "member", f"POST {NETWORK}/subnets", {"subnet": {**SUBNET, "allocation_pools": [{"start": "10.7.0.9", "end": "10.7.0.5"}]}}, 400, "InvalidAllocationPool"),
    ("subnet pools overlap", "member", f"POST {NETWORK}/subnets",
     {"subnet": {**SUBNET, "allocation_pools": [{"start": "10.7.0.5", "end": "10.7.0.9"}, {"start": "10.7.0.8", "end": "10.7.0.20"}]}}, 409, "OverlappingAllocationPools"),
    ("subnet name servers", "member", f"POST {NETWORK}/subnets", *of("subnet", SUBNET, "dns_nameservers", ["8.8.8"], "8.8.8")),
    ("subnet overlapping", "member", f"POST {NETWORK}/subnets", {"subnet": {"network_id": "$net", "ip_version": 4, "cidr": "10.9.0.128/25"}}, 400,
     "overlaps with another subnet"),
    ("subnet ipv6 mode", "member", f"POST {NETWORK}/subnets", *of("subnet", SUBNET, "ipv6_ra_mode", "slaac")),
    ("port network missing", "member", f"POST {NETWORK}/ports", {"port": {"name": "x"}}, 400, "network_id"),
    ("port address", "member", f"POST {NETWORK}/ports", {"port": {"network_id": "$net", "fixed_ips": [{"ip_address": "here"}]}}, 400, "fixed_ips", "here"),
    ("port address outside", "member", f"POST {NETWORK}/ports", {"port": {"network_id": "$net", "fixed_ips": [{"ip_address": "10.1.0.1"}]}}, 400,
     "InvalidIpForNetwork", "IP address 10.1.0.1 is not a valid IP for any of the subnets on the specified network."),
    ("port address outside its subnet", "member", f"POST {NETWORK}/ports",
     {"port": {"network_id": "$net", "fixed_ips": [{"subnet_id": "$subnet", "ip_address": "10.1.0.1"}]}}, 400, "InvalidIpForSubnet", "10.1.0.1"),
    ("port address taken", "member", f"POST {NETWORK}/ports", {"port": {"network_id": "$net", "fixed_ips": [{"ip_address": "10.9.0.77"}]}}, 409,
     "IpAddressAlreadyAllocated", "IP address 10.9.0.77 already allocated in subnet $subnet"),
    ("port address of the gateway", "member", f"POST {NETWORK}/ports", {"port": {"network_id": "$net", "fixed_ips": [{"ip_address": "10.9.0.1"}]}}, 409, "10.9.0.1"),
    ("port mac", "admin", f"POST {NETWORK}/ports", {"port": {"network_id": "$net", "mac_address": "aa:bb"}}, 400, "mac_address", "aa:bb"),
    ("port mac taken", "admin", f"POST {NETWORK}/ports", {"port": {"network_id": "$net", "mac_address": "$mac"}}, 409, "MacAddressInUse", "$mac"),
    ("port groups", "member", f"POST {NETWORK}/ports", {"port": {"network_id": "$net", "security_groups": "default"}}, 400, "security_groups"),
    ("rule direction", "member", f"POST {NETWORK}/security-group-rules", *of("security_group_rule", RULE, "direction", "up", "up")),
    ("rule direction missing", "member", f"POST {NETWORK}/security-group-rules", {"security_group_rule": {"security_group_id": "$sg"}}, 400, "direction"),
    ("rule protocol", "member", f"POST {NETWORK}/security-group-rules", {"security_group_rule": {**RULE, "protocol": "pigeon"}}, 400, "SecurityGroupRuleInvalidProtocol", "pigeon"),
    ("rule ports", "member", f"POST {NETWORK}/security-group-rules",
     {"security_group_rule": {**RULE, "protocol": "tcp", "port_range_min": 90, "port_range_max": 80}}, 400, "SecurityGroupInvalidPortRange"),
    ("rule port", "member", f"POST {NETWORK}/security-group-rules",
     {"security_group_rule": {**RULE, "protocol": "tcp", "port_range_min": 1, "port_range_max": 70000}}, 400, "70000"),
    ("rule ports without protocol", "member", f"POST {NETWORK}/security-group-rules",
     {"security_group_rule": {**RULE, "port_range_min": 80, "port_range_max": 80}}, 400, "protocol"),
    ("rule prefix", "member", f"POST {NETWORK}/security-group-rules", {"security_group_rule": {**RULE, "remote_ip_prefix": "everywhere"}}, 400, "InvalidCIDR", "everywhere"),
    ("rule of two remotes", "member", f"POST {NETWORK}/security-group-rules",
     {"security_group_rule": {**RULE, "remote_ip_prefix": "10.0.0.0/8", "remote_group_id": "$sg"}}, 400, "SecurityGroupMultipleRemoteEntites"),
    ("rule twice", "member", f"POST {NETWORK}/security-group-rules",
     {"security_group_rule": {**RULE, "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}}, 409, "SecurityGroupRuleExists", "$rule"),
    ("group default twice", "member", f"POST {NETWORK}/security-groups", {"security_group": {"name": "default"}}, 409, "SecurityGroupDefaultAlreadyExists"),
    ("floating IP without network", "member", f"POST {NETWORK}/floatingips", {"floatingip": {}}, 400, "floating_network_id"),
    ("router gateway", "member", f"POST {NETWORK}/routers", {"router": {"external_gateway_info": {"network": "x"}}}, 400, "external_gateway_info"),
    ("network quota", "admin", f"PUT {NETWORK}/quotas/$home_project", {"quota": {"port": -7}}, 400, "-7"),
    ("network quota of what", "admin", f"PUT {NETWORK}/quotas/$home_project", {"quota": {"wishes": 7}}, 400, "wishes"),
    ("volume size missing", "member", f"POST {VOLUME}/volumes", {"volume": {"name": "x"}}, 400, "size"),
    ("volume size zero", "member", f"POST {VOLUME}/volumes", {"volume": {"size": 0}}, 400, "size", "0"),
    ("volume size below zero", "member", f"POST {VOLUME}/volumes", {"volume": {"size": -1}}, 400, "size", "-1"),
    ("volume size text", "member", f"POST {VOLUME}/volumes", {"volume": {"size": "big"}}, 400, "size", "big"),
    ("volume size half", "member", f"POST {VOLUME}/volumes", {"volume": {"size": 1.5}}, 400, "size"),
    ("volume size huge", "member", f"POST {VOLUME}/volumes", {"volume": {"size": BIG}}, 400, "size"),
    ("volume name", "member", f"POST {VOLUME}/volumes", {"volume": {"size": 1, "name": "x" * 256}}, 400, "name"),
    ("volume metadata", "member", f"POST {VOLUME}/volumes", {"volume": {"size": 1, "metadata": {"a": "x" * 256}}}, 400, "metadata"),
    ("volume below its snapshot", "member", f"POST {VOLUME}/volumes", {"volume": {"size": 0, "snapshot_id": "$snapshot"}}, 400, "size"),
    ("volume of two sources", "member", f"POST {VOLUME}/volumes", {"volume": {"size": 1, "snapshot_id": "$snapshot", "source_volid": "$volume"}}, 400),
    ("volume below image's disk", "member", f"POST {VOLUME}/volumes", {"volume": {"size": 1, "imageRef": "$large"}}, 400, "500"),
    ("volume extend to less", "member", f"POST {VOLUME}/volumes/$volume/action", {"os-extend": {"new_size": 1}}, 400,
     "New size for extend must be greater than current size. (current: 1, extended: 1)."),
    ("volume extend to what", "member", f"POST {VOLUME}/volumes/$volume/action", {"os-extend": {"new_size": "big"}}, 400, "new_size", "big"),
    ("volume action unknown", "member", f"POST {VOLUME}/volumes/$volume/action", {"os-fly": {}}, 400, "os-fly"),
    ("volume action of two", "member", f"POST {VOLUME}/volumes/$volume/action", {"os-extend": {}, "os-fly": {}}, 400),
    ("snapshot without volume", "member", f"POST {VOLUME}/snapshots", {"snapshot": {"name": "x"}}, 400, "volume_id"),
    ("snapshot force", "member", f"POST {VOLUME}/snapshots", {"snapshot": {"volume_id": "$volume", "force": "perhaps"}}, 400, "force", "perhaps"),
    ("volume quota", "admin", f"PUT {VOLUME}/os-quota-sets/$home_project", {"quota_set": {"volumes": -2}}, 400, "volumes"),
    ("volume quota of what", "admin", f"PUT {VOLUME}/os-quota-sets/$home_project", {"quota_set": {"wishes": 2}}, 400, "wishes"),
]  # fmt: skip
