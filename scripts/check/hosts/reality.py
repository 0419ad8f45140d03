"""What the rows of a cloud say of its machines, beside what is there."""

import re

from .machine import until_none
from .site import COMPUTE, SETTLE_SECS, VOLUME

RUNNING = ("ACTIVE", "PAUSED", "VERIFY_RESIZE")
SETTLED_SERVER = (*RUNNING, "SHUTOFF", "ERROR", "SUSPENDED")
SETTLED_VOLUME = ("available", "in-use")
UUID = re.compile(r" -uuid ([0-9a-f-]{36})")


def guests(machine):
    """The servers whose guests run on a machine, each as often as it runs."""
    found = []
    for number in machine.processes("qemu-system", str(machine.data), " -uuid "):
        match = UUID.search(command_line(number))
        found += [match.group(1)] if match else []
    return sorted(found)


def command_line(number):
    """Of a process that may end at any time."""
    try:
        with open(f"/proc/{number}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def differences(site):
    """Where rows and reality disagree, or something is still under way; in words."""
    servers = site.cloud.get(f"{COMPUTE}/servers/detail?all_tenants=1")["servers"]
    volumes = site.cloud.get(f"{VOLUME}/volumes/detail?all_tenants=1")["volumes"]
    return [*of_hosts(site), *of_servers(site, servers), *of_volumes(site, servers, volumes)]


def of_hosts(site):
    for machine in site.machines:
        host = site.figures(machine)
        # Without a reason where only new servers are to go elsewhere.
        if host["state"] != "up" or host["service"]["disabled_reason"]:
            yield f"host {machine.name} is {host['state']}, {host['service']['disabled_reason']}"


def of_servers(site, servers):
    for server in servers:
        status, task = server["status"], server["OS-EXT-STS:task_state"]
        if task is not None or status not in SETTLED_SERVER:
            yield f"server {server['id']} is {status}, {task}"
    for machine in site.machines:
        here = [one for one in servers if one["OS-EXT-SRV-ATTR:host"] == machine.name]
        wanted = sorted(one["id"] for one in here if one["status"] in RUNNING)
        found = guests(machine)
        if found != wanted:
            yield f"{machine.name} runs the guests {found} where {wanted} belong"


def of_volumes(site, servers, volumes):
    homes = {one["id"]: one["OS-EXT-SRV-ATTR:host"] for one in servers}
    held = {
        (one["id"], disk["id"]) for one in servers for disk in one["os-extended-volumes:volumes_attached"]
    }
    told = set()
    exports = {machine.name: set() for machine in site.machines}
    for volume in volumes:
        if volume["status"] not in SETTLED_VOLUME:
            yield f"volume {volume['id']} is {volume['status']}"
        for attachment in volume["attachments"]:
            server = attachment["server_id"]
            told.add((server, volume["id"]))
            home = volume["os-vol-host-attr:host"].partition("@")[0]
            if homes.get(server) != home:
                exports[home].add(volume["id"])
    if told != held:
        yield f"volumes say that they are attached {sorted(told)}, servers {sorted(held)}"
    for machine in site.machines:
        if served(machine) != exports[machine.name]:
            yield f"{machine.name} serves {served(machine)} where {exports[machine.name]} belong"


def served(machine):
    """The volumes that a machine serves to others."""
    numbers = machine.processes("qemu-storage-daemon", str(machine.data))
    found = (re.search(r"processes/([0-9a-f-]{36})\.pid", command_line(number)) for number in numbers)
    return {match.group(1) for match in found if match}


def agree(site):
    """Waits until rows and reality agree."""
    until_none("rows and reality agree", lambda: differences(site), SETTLE_SECS)


def leftovers(machine):
    """Devices, packet filters, namespaces, processes and files on a machine that came with servers and volumes."""
    tag = (machine.data / "tag").read_text().strip()
    alias = f"updraft:{tag}:"
    lines = [line for line in machine.call("ip", "-o", "link", "show").splitlines() if alias in line]
    for line in machine.call("ip", "netns", "list").splitlines():
        lines.append(f"namespace {line}")
    for kind, of in (("table", "bridge"), ("map", "inet")):
        lines += packet_filters(machine, kind, of, tag)
    for words in ("qemu-system", "dnsmasq", "qemu-storage-daemon"):
        lines += [f"process {number} {words}" for number in machine.processes(words, str(machine.data))]
    return lines + files(machine)


def packet_filters(machine, kind, of, tag):
    name = f"updraft_{tag}" + (" zones" if kind == "map" else "")
    script = f"nft list {kind} {of} {name} 2>/dev/null || true"
    ours = re.compile(r"chain (in|out|tap)-?|brq")
    return [f"packet filter {line}" for line in machine.call("sh", "-c", script).splitlines() if ours.search(line)]


def files(machine):
    """Those of guests and volumes; that something was asked of a volume which is gone is remembered for a day."""
    data = machine.data
    found = [path for path in (data / "volumes").rglob("*") if path.is_file()]
    found = [path for path in found if "generations" not in path.parts]
    for folder in ("instances/servers", "network/dhcp"):
        found += (data / folder).rglob("*")
    for folder in ("libvirt/run/qemu", "libvirt/etc/qemu"):
        found += (data / folder).rglob("*.xml")
    return [f"file {path}" for path in found]


def nothing_left(machines):
    """Waits until none of these machines has anything of servers and volumes any more."""

    def left():
        return [f"{machine.name}: {line}" for machine in machines for line in leftovers(machine)]

    until_none("nothing is left", left, SETTLE_SECS)
