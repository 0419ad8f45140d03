"""What the tables lean on: users of every right, one thing of every kind, and a count of all there is."""

import uuid

COMPUTE, VOLUME, NETWORK, IMAGE, IDENTITY = (
    "/compute/v2.1", "/volume/v3", "/networking/v2.0", "/image/v2", "/identity/v3",
)  # fmt: skip
PASSWORD = "a-password-of-the-test"
IMAGE_BYTES = b"no guest boots from this, and a simulated one need not" * 20
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me"


class Scene:
    """Two projects; in the first a member and a reader, in the second a stranger."""

    def __init__(self, cloud, prefix=""):
        self.cloud, self.prefix = cloud, prefix
        admin = cloud.login(cloud.admin_name, cloud.admin_password, "admin")
        self.tokens = {"admin": admin, "nobody": None}
        self.things = {"nothing": str(uuid.UUID(int=7, version=4)), "no_id": "0" * 31 + "7"}
        self.roles = {
            role["name"]: role["id"]
            for role in cloud.ok("GET", f"{IDENTITY}/roles", token=admin).json["roles"]
        }
        for name in ("home", "away", "shut"):
            self.project(name)
        for name, project, role in (
            ("member", "home", "member"),
            ("reader", "home", "reader"),
            ("stranger", "away", "member"),
            ("doomed", "home", "member"),
            ("locked", "shut", "member"),
        ):
            self.user(name, project, role)
        self.things.update({f"{name}_role": role for name, role in self.roles.items()})
        self.make_things()

    def project(self, name):
        body = {"project": {"name": self.prefix + name, "domain_id": "default"}}
        made = self.cloud.make(self.tokens["admin"], f"{IDENTITY}/projects", body)
        self.things[f"{name}_project"] = made["id"]

    def user(self, name, project, role):
        admin = self.tokens["admin"]
        body = {"user": {"name": self.prefix + name, "domain_id": "default", "password": PASSWORD}}
        made = self.cloud.make(admin, f"{IDENTITY}/users", body)
        self.things[f"{name}_user"] = made["id"]
        at = f"{IDENTITY}/projects/{self.things[project + '_project']}/users/{made['id']}"
        self.cloud.ok("PUT", f"{at}/roles/{self.roles[role]}", token=admin)
        self.tokens[name] = self.cloud.login(self.prefix + name, PASSWORD, self.prefix + project)

    def make(self, name, path, body, who="member", **rest):
        """Makes a thing that tables name as `$name`."""
        made = self.cloud.make(self.tokens[who], path, body, **rest)
        self.things[name] = made["id"]
        return made

    def make_things(self):
        cloud, member, things = self.cloud, self.tokens["member"], self.things
        formats = {"disk_format": "raw", "container_format": "bare"}
        self.make("image", f"{IMAGE}/images", {"name": "image", **formats})
        upload = {"Content-Type": "application/octet-stream"}
        at = f"{IMAGE}/images/{things['image']}/file"
        cloud.ok("PUT", at, raw=IMAGE_BYTES, token=member, headers=upload)
        self.make("queued", f"{IMAGE}/images", {"name": "queued", **formats})
        self.make("guarded", f"{IMAGE}/images", {"name": "guarded", "protected": True, **formats})
        self.make("large", f"{IMAGE}/images", {"name": "large", "min_disk": 500, "min_ram": 9000, **formats})
        cloud.ok("PUT", f"{IMAGE}/images/{things['large']}/file", raw=IMAGE_BYTES, token=member, headers=upload)
        flavor = {"name": self.prefix + "small", "ram": 64, "vcpus": 1, "disk": 1}
        self.make("flavor", f"{COMPUTE}/flavors", {"flavor": flavor}, "admin")
        self.make("bigger", f"{COMPUTE}/flavors", {"flavor": {**flavor, "name": self.prefix + "bigger", "ram": 128}}, "admin")
        huge = {**flavor, "name": self.prefix + "huge", "ram": 600_000, "vcpus": 900}
        self.make("huge", f"{COMPUTE}/flavors", {"flavor": huge}, "admin")
        secret = {**flavor, "name": self.prefix + "secret", "os-flavor-access:is_public": False}
        self.make("secret", f"{COMPUTE}/flavors", {"flavor": secret}, "admin")
        key = {"keypair": {"name": "key", "public_key": KEY}}
        cloud.make(member, f"{COMPUTE}/os-keypairs", key)
        group = {"server_group": {"name": "group", "policies": ["anti-affinity"]}}
        self.make("group", f"{COMPUTE}/os-server-groups", group)
        self.make_networks()
        self.make("volume", f"{VOLUME}/volumes", {"volume": {"name": "volume", "size": 1}})
        self.make("used", f"{VOLUME}/volumes", {"volume": {"name": "used", "size": 1}})
        cloud.volume(member, things["volume"], "available")
        cloud.volume(member, things["used"], "available")
        self.make("snapshot", f"{VOLUME}/snapshots", {"snapshot": {"volume_id": things["volume"], "name": "s"}})
        at = f"{VOLUME}/snapshots/{things['snapshot']}"
        cloud.until("snapshot", lambda: cloud.ok("GET", at, token=member).json["snapshot"]["status"] == "available")
        self.make_servers()

    def make_networks(self):
        things = self.things
        network = lambda name, **rest: {"network": {"name": name, **rest}}
        subnet = lambda net, cidr, **rest: {
            "subnet": {"network_id": things[net], "ip_version": 4, "cidr": cidr, **rest}
        }
        self.make("net", f"{NETWORK}/networks", network("net"))
        self.make("subnet", f"{NETWORK}/subnets", subnet("net", "10.9.0.0/24"))
        self.make("narrow", f"{NETWORK}/networks", network("narrow"))
        self.make("narrow_subnet", f"{NETWORK}/subnets", subnet("narrow", "10.8.0.0/30", enable_dhcp=False))
        self.make("bare", f"{NETWORK}/networks", network("bare"))
        self.make("other", f"{NETWORK}/networks", network("other"), "stranger")
        self.make("public", f"{NETWORK}/networks", network("outside", **{"router:external": True}), "admin")
        self.make("public_subnet", f"{NETWORK}/subnets", subnet("public", "172.25.0.0/24", enable_dhcp=False), "admin")
        port = lambda net, **rest: {"port": {"network_id": things[net], **rest}}
        self.make("only_port", f"{NETWORK}/ports", port("narrow"))
        taken = self.make("port", f"{NETWORK}/ports", port("net", fixed_ips=[{"ip_address": "10.9.0.77"}]))
        things["mac"] = taken["mac_address"]
        groups = self.cloud.ok("GET", f"{NETWORK}/security-groups?name=default", token=self.tokens["stranger"])
        things["spare_group"] = groups.json["security_groups"][0]["id"]
        self.make("bare_port", f"{NETWORK}/ports", port("bare"))
        group = {"security_group": {"name": "sg"}}
        self.make("sg", f"{NETWORK}/security-groups", group)
        self.make("sg_port", f"{NETWORK}/ports", port("net", security_groups=[things["sg"]]))
        rule = {"security_group_id": things["sg"], "direction": "ingress", "protocol": "tcp",
                "port_range_min": 22, "port_range_max": 22}  # fmt: skip
        self.make("rule", f"{NETWORK}/security-group-rules", {"security_group_rule": rule})
        gateway = {"network_id": things["public"]}
        router = {"router": {"name": "router", "external_gateway_info": gateway}}
        self.make("router", f"{NETWORK}/routers", router)
        self.make("lone_router", f"{NETWORK}/routers", {"router": {"name": "lone"}})
        at = f"{NETWORK}/routers/{things['router']}/add_router_interface"
        interface = self.cloud.ok("PUT", at, {"subnet_id": things["subnet"]}, token=self.tokens["member"]).json
        things["interface"] = interface["port_id"]
        ip = {"floatingip": {"floating_network_id": things["public"], "port_id": things["port"]}}
        self.make("fip", f"{NETWORK}/floatingips", ip)

    def make_servers(self):
        cloud, member, things = self.cloud, self.tokens["member"], self.things
        version = {"OpenStack-API-Version": "compute 2.100"}
        server = {"name": "server", "flavorRef": things["flavor"], "imageRef": things["image"],
                  "networks": [{"uuid": things["net"]}]}  # fmt: skip
        self.make("server", f"{COMPUTE}/servers", {"server": server}, headers=version)
        self.make("stopped", f"{COMPUTE}/servers", {"server": {**server, "networks": "none"}}, headers=version)
        cloud.server(member, things["server"], "ACTIVE")
        cloud.server(member, things["stopped"], "ACTIVE")
        attach = {"volumeAttachment": {"volumeId": things["used"]}}
        cloud.ok("POST", f"{COMPUTE}/servers/{things['server']}/os-volume_attachments", attach, token=member)
        cloud.volume(member, things["used"], "in-use")
        cloud.ok("POST", f"{COMPUTE}/servers/{things['stopped']}/action", {"os-stop": None}, token=member)
        cloud.server(member, things["stopped"], "SHUTOFF")
        ports = cloud.ok("GET", f"{NETWORK}/ports?device_id={things['server']}", token=member).json["ports"]
        things["server_port"] = ports[0]["id"]
        things["server_ip"] = ports[0]["fixed_ips"][0]["ip_address"]


def census(cloud, tokens, things):
    """How much there is of everything, and what quotas say of it."""
    admin = tokens["admin"]
    home = things["home_project"]
    newest = {"OpenStack-API-Version": "volume 3.65"}
    ask = lambda path: cloud.ok("GET", path, token=admin, headers=newest).json
    lists = {
        "servers": f"{COMPUTE}/servers/detail?all_tenants=1",
        "flavors": f"{COMPUTE}/flavors?is_public=None",
        "server_groups": f"{COMPUTE}/os-server-groups?all_projects=1",
        "volumes": f"{VOLUME}/volumes/detail?all_tenants=1",
        "attachments": f"{VOLUME}/attachments?all_tenants=1",
        "snapshots": f"{VOLUME}/snapshots?all_tenants=1",
        "images": f"{IMAGE}/images?limit=1000",
        "users": f"{IDENTITY}/users",
        "projects": f"{IDENTITY}/projects",
        "role_assignments": f"{IDENTITY}/role_assignments",
        **{
            name: f"{NETWORK}/{name.replace('_', '-')}"
            for name in ("networks", "subnets", "ports", "routers", "floatingips", "security_groups",
                         "security_group_rules")
        },
    }  # fmt: skip
    counts = {name: sorted(map(about, ask(path)[name])) for name, path in lists.items()}
    own = cloud.ok("GET", f"{COMPUTE}/os-keypairs", token=tokens["member"]).json["keypairs"]
    counts["keypairs"] = sorted(pair["keypair"]["name"] for pair in own)
    counts["compute quota"] = used(ask(f"{COMPUTE}/os-quota-sets/{home}/detail")["quota_set"], "in_use")
    counts["volume quota"] = used(ask(f"{VOLUME}/os-quota-sets/{home}?usage=True")["quota_set"], "in_use")
    counts["network quota"] = used(ask(f"{NETWORK}/quotas/{home}/details.json")["quota"], "used")
    return counts


def about(thing):
    """What of a thing must not change by a refused request."""
    name = thing.get("id") or str(sorted(map(str, thing.items())))
    # What a server is doing may change by itself; whether a volume is taken may not.
    status = thing["status"] if "size" in thing and "bootable" in thing else ""
    return f"{name} {status}".strip()


def used(quota, key):
    return {
        name: (figures[key], figures.get("reserved", 0))
        for name, figures in quota.items()
        if isinstance(figures, dict)
    }


def difference(before, after):
    """What differs between two counts, in words."""
    return [
        f"{name}: {before[name]} before, {after[name]} after" for name in before if before[name] != after[name]
    ]
