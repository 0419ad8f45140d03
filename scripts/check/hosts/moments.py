"""Moments in a server's life at which something breaks, and what must be true again afterwards."""

import time

from .breaks import BREAKS
from .machine import until
from .reality import agree, nothing_left
from .site import COMPUTE, SETTLE_SECS, VOLUME

DISK = "UPDRAFT-DISK vdb"  # what a guest says of a second disk that it sees
PULSES = 2  # how often a guest has to reach its neighbour before it is believed


def pulse(address):
    """A script by which a guest says whenever it reaches a neighbour, on the other machine."""
    return f"while :; do ping -c 1 -W 1 {address} >/dev/null 2>&1 && marker PULSE; sleep 2; done &\n"


class Moment:
    """A server on the host and a volume, and something that is done with them."""

    window_secs = 2.0  # how long it takes on a quiet machine: the break comes within
    is_attached = False

    def __init__(self, site):
        self.site, self.cloud, self.server = site, site.cloud, None
        self.furnish()

    def furnish(self):
        """A server that runs, and a volume of the other machine, which serves it."""
        self.volume = self.site.make_volume()
        self.launch()
        self.site.says(self.server, "UPDRAFT-PULSE")
        if self.is_attached:
            self.site.attach(self.server, self.volume)
            self.site.says(self.server, DISK)

    def launch(self):
        self.server = self.site.launch(self.site.host, pulse(self.site.neighbour_address))

    def begin(self):
        """Asks for it, and does not wait."""
        raise NotImplementedError

    def end(self):
        """Asks again as a user would where it did not come to be, and waits until it is."""
        raise NotImplementedError

    def runs(self):
        """Its user starts it where it does not run, and it reaches its neighbour."""
        server = self.cloud.find_server(self.server)
        if server["status"] == "SHUTOFF":
            self.site.action(self.server, **{"os-start": None})
        elif server["status"] != "ACTIVE":
            self.site.action(self.server, reboot={"type": "HARD"})
        self.cloud.server(self.cloud.token, self.server, "ACTIVE")
        self.site.says(self.server, "UPDRAFT-PULSE", self.site.count(self.server, "UPDRAFT-PULSE") + PULSES)

    def attached(self):
        server = self.cloud.find_server(self.server)
        return [disk["id"] for disk in server["os-extended-volumes:volumes_attached"]] == [self.volume]

    def clean(self):
        """Deletes what there is, and sees it gone from the machine."""
        self.cloud.delete(f"{COMPUTE}/servers/{self.server}")
        until("the server is gone", lambda: self.cloud.find_server(self.server) is None, SETTLE_SECS)
        self.cloud.volume(self.cloud.token, self.volume, "available")
        self.cloud.delete(f"{VOLUME}/volumes/{self.volume}")
        nothing_left([self.site.host])


class Build(Moment):
    window_secs = 4.0

    def furnish(self):
        self.volume = self.site.make_volume()

    def begin(self):
        self.launch()

    def end(self):
        self.runs()


class Attach(Moment):
    def begin(self):
        self.site.attach(self.server, self.volume)

    def end(self):
        self.runs()
        if not self.attached():
            self.site.attach(self.server, self.volume)
        self.site.says(self.server, DISK)


class Detach(Moment):
    is_attached = True

    def begin(self):
        self.site.detach(self.server, self.volume)

    def end(self):
        self.runs()
        if self.attached():
            self.site.detach(self.server, self.volume)
        self.cloud.volume(self.cloud.token, self.volume, "available")


class Migrate(Moment):
    """From the host to the control machine; it may end on either."""

    window_secs = 6.0
    is_attached = True

    def begin(self):
        self.site.choose(*self.site.machines)
        self.site.action(self.server, migrate=None)

    def end(self):
        if self.cloud.find_server(self.server)["status"] == "VERIFY_RESIZE":
            self.site.action(self.server, confirmResize=None)
            self.cloud.server(self.cloud.token, self.server, "ACTIVE")
        self.runs()


class Delete(Moment):
    is_attached = True

    def begin(self):
        self.cloud.delete(f"{COMPUTE}/servers/{self.server}")

    def end(self):
        until("the server is gone", lambda: self.cloud.find_server(self.server) is None, SETTLE_SECS)


MOMENTS = {kind.__name__.lower(): kind for kind in Moment.__subclasses__()}


def cell(site, moment, broken, draw):
    """Breaks this in that moment; how long it took to be whole again."""
    scene = MOMENTS[moment](site)
    scene.begin()
    time.sleep(draw.uniform(0, scene.window_secs))
    begun = time.monotonic()
    BREAKS[broken](site)
    agree(site)
    agreed_secs = time.monotonic() - begun
    scene.end()
    agree(site)
    scene.clean()
    return f"rows and reality agree {agreed_secs:.0f} s after it began"
