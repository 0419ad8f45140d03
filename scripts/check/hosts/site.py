"""A cloud on two machines: the control node and a host on one, a host alone on the other; and its users' things."""

import base64
import subprocess
import time
import uuid

from cloud import Cloud

from .machine import until

COMPUTE, VOLUME, NETWORK, IMAGE = "/compute/v2.1", "/volume/v3", "/networking/v2.0", "/image/v2"
QUIC_PORT = 8775
START_SECS = 120  # libvirt's first start takes 8 s on a quiet machine, the trial guest 10
SETTLE_SECS = 150  # translated guests boot in 4 to 13 s, and what died is looked for each few seconds
TOKEN_SECS = 1800  # half of what one lasts
NEWER = {"headers": {"OpenStack-API-Version": "compute 2.53"}}  # from which on services have numbers of their own
FLAVOR = {"name": "small", "ram": 128, "vcpus": 1, "disk": 1}


class SiteCloud(Cloud):
    """Asks from the control machine, since REST listens there alone."""

    settle_secs = SETTLE_SECS

    def __init__(self, machine):
        self.machine = machine
        super().__init__(machine.data)
        self._token = None

    def _connect(self):
        with self.machine.network():
            return super()._connect()

    @property
    def token(self):
        """The administrator's, renewed in time."""
        if self._token is None or time.monotonic() > self._token_ends:
            self._token = self.login(self.admin_name, self.admin_password, "admin")
            self._token_ends = time.monotonic() + TOKEN_SECS
        return self._token

    def get(self, path, **rest):
        return self.ok("GET", path, token=self.token, **rest).json

    def post(self, path, body):
        return self.ok("POST", path, body, token=self.token)

    def put(self, path, body):
        return self.ok("PUT", path, body, token=self.token, **NEWER)

    def new(self, path, body):
        return self.make(self.token, path, body)

    def delete(self, path):
        """Asks for something to be deleted; it may be gone."""
        answer = self.send("DELETE", path, token=self.token)
        if answer.status >= 400 and answer.status != 404:
            raise RuntimeError(f"this should have worked: {answer}")

    def find_server(self, server):
        """A server as it stands; `None` if it is gone."""
        answer = self.send("GET", f"{COMPUTE}/servers/{server}", token=self.token)
        return None if answer.status == 404 else answer.json["server"]

    def find_volume(self, volume):
        return self.get(f"{VOLUME}/volumes/{volume}")["volume"]


class Site:
    """Two machines with a cloud."""

    def __init__(self, updraft, control, host):
        self.updraft, self.control, self.host = updraft, control, host
        self.machines = [control, host]
        self.cloud = None
        self.nonce = uuid.uuid4().hex

    def start(self):
        """Starts the cloud and has the other machine join it; how long until it was listed, and took servers."""
        for machine in self.machines:
            machine.power_on()
        self.control_up("127.0.0.1:0")
        self.cloud = SiteCloud(self.control)
        until("the first host takes servers", lambda: self.is_ready(self.control), START_SECS)
        token = self.control.call(self.updraft, "invite", "--data-dir", self.control.data)
        begun = time.monotonic()
        join = [self.updraft, "node", "--detach", "--join-file", "-", "--data-dir", self.host.data]
        subprocess.run(self.host.inside(*join), input=token, text=True, check=True, stdout=subprocess.DEVNULL)
        until("the other host is listed", lambda: self.figures(self.host), START_SECS)
        listed = time.monotonic()
        until("the other host takes servers", lambda: self.is_ready(self.host), START_SECS)
        ready = time.monotonic()
        return f"{listed - begun:.1f} s after it began, and takes servers {ready - begun:.1f} s after"

    def control_up(self, listen):
        """Starts the control node, where it listened before or anywhere."""
        quic = f"{self.control.address}:{QUIC_PORT}"
        up = ["up", "--detach", "--data-dir", self.control.data, "--listen", listen, "--quic-listen", quic]
        self.control.call(self.updraft, *up)

    def control_up_again(self):
        self.control_up(self.cloud.netloc)

    def host_up(self):
        """Starts the node of the other machine, which has joined."""
        self.host.call(self.updraft, "node", "--detach", "--data-dir", self.host.data)

    def stop(self):
        """Stops all of it as an operator does."""
        for machine in reversed(self.machines):
            machine.call(self.updraft, "down", "--data-dir", machine.data)

    def is_ready(self, machine):
        """Whether it takes servers, if its operator lets it."""
        host = self.figures(machine)
        return host and host["state"] == "up" and host["memory_mb"] and not host["service"]["disabled_reason"]

    def figures(self, machine):
        """What the cloud says of a machine as a host, once it does."""
        listed = self.cloud.get(f"{COMPUTE}/os-hypervisors/detail")["hypervisors"]
        return next((one for one in listed if one["hypervisor_hostname"] == machine.name), None)

    def choose(self, *machines):
        """Has servers placed on these machines: the others take none."""
        names = [machine.name for machine in machines]
        for service in self.cloud.get(f"{COMPUTE}/os-services?binary=nova-compute", **NEWER)["services"]:
            status = "enabled" if service["host"] in names else "disabled"
            if service["status"] != status:
                self.cloud.put(f"{COMPUTE}/os-services/{service['id']}", {"status": status})

    def furnish(self, guest):
        """What servers need: an image by kernel and ramdisk, a flavor, a network."""
        blank = self.control.folder / "blank.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", blank, "64M"], check=True)
        kernel = self.upload("aki", guest / "vmlinuz")
        ramdisk = self.upload("ari", guest / "initrd.gz")
        self.image = self.upload("qcow2", blank, kernel_id=kernel, ramdisk_id=ramdisk)
        self.flavor = self.cloud.new(f"{COMPUTE}/flavors", {"flavor": FLAVOR})["id"]
        self.network = self.cloud.new(f"{NETWORK}/networks", {"network": {"name": "net"}})["id"]
        subnet = {"network_id": self.network, "ip_version": 4, "cidr": "10.77.0.0/24"}
        self.cloud.new(f"{NETWORK}/subnets", {"subnet": subnet})

    def upload(self, form, file, **properties):
        container = form if form in ("aki", "ari") else "bare"
        body = {"name": file.name, "disk_format": form, "container_format": container, **properties}
        image = self.cloud.new(f"{IMAGE}/images", body)["id"]
        head = {"Content-Type": "application/octet-stream"}
        at = f"{IMAGE}/images/{image}/file"
        self.cloud.ok("PUT", at, raw=file.read_bytes(), token=self.cloud.token, headers=head)
        return image

    def make_volume(self):
        """A volume of the control machine, which has more room for it than the other."""
        volume = self.cloud.new(f"{VOLUME}/volumes", {"volume": {"size": 1}})["id"]
        self.cloud.volume(self.cloud.token, volume, "available")
        home = self.cloud.find_volume(volume)["os-vol-host-attr:host"]
        if home.partition("@")[0] != self.control.name:
            raise RuntimeError(f"the volume is on {home}, where less is free")
        return volume

    def launch(self, machine, script=""):
        """Asks for a server on this machine whose guest runs a script; its number."""
        self.choose(machine)
        server = {
            "name": f"on-{machine.name}", "imageRef": self.image, "flavorRef": self.flavor,
            "networks": [{"uuid": self.network}], "metadata": {"nonce": self.nonce},
        }  # fmt: skip
        if script:
            text = f"#!/bin/sh\n. /etc/marker\n{script}"
            server["user_data"] = base64.b64encode(text.encode()).decode()
        return self.cloud.new(f"{COMPUTE}/servers", {"server": server})["id"]

    def action(self, server, **action):
        return self.cloud.post(f"{COMPUTE}/servers/{server}/action", action)

    def attach(self, server, volume):
        body = {"volumeAttachment": {"volumeId": volume}}
        self.cloud.post(f"{COMPUTE}/servers/{server}/os-volume_attachments", body)

    def detach(self, server, volume):
        self.cloud.delete(f"{COMPUTE}/servers/{server}/os-volume_attachments/{volume}")

    def address(self, server):
        (addresses,) = self.cloud.find_server(server)["addresses"].values()
        return addresses[0]["addr"]

    def console(self, server):
        """What its guest has printed; nothing while nobody can say."""
        action = {"os-getConsoleOutput": {}}
        answer = self.cloud.send(
            "POST", f"{COMPUTE}/servers/{server}/action", action, token=self.cloud.token
        )
        return answer.json["output"].replace("\r", "") if answer.status == 200 else ""

    def count(self, server, words):
        """How often the guest has said a line that begins so."""
        return sum(line.startswith(words) for line in self.console(server).splitlines())

    def says(self, server, words, times=1):
        """Waits until the guest has said that so often."""
        what = f"the guest of {server} says {words!r} {times} times"
        try:
            until(what, lambda: self.count(server, words) >= times, SETTLE_SECS)
        except RuntimeError as error:
            found = self.cloud.find_server(server) or {}
            said = " | ".join(self.console(server).splitlines()[-12:])
            raise RuntimeError(f"{error}: {found.get('status')}, {found.get('fault')}, said {said}") from None
