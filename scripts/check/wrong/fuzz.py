"""Nonsense to every route that the routers know: never a 5xx, never a panic, always in the service's form.

The routes are read from the sources, so that a new one is found without being written down here.
"""

import json
import random
import re
import string

from .scene import COMPUTE, IDENTITY, IMAGE, NETWORK, VOLUME

SEED = 20_260_801
REQUESTS = 6_000
BASES = {"compute": COMPUTE, "identity": IDENTITY, "image": IMAGE, "network": NETWORK, "volume": VOLUME}
METHODS = ("GET", "GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW")
# Network's resources get their routes from their names.
RESOURCES = ("networks", "subnets", "ports", "routers", "floatingips", "security-groups", "security-group-rules")
ODD = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**40, 1.5, -0.0, 1e308, "", " ", "x", "x" * 300, "\0", "\u202e",
    "\U0001f4a9", "../..", "%s%n", "'; --", "<b>", "0.0.0.0/0", "::/0", "10.9.0.0/33", "255.255.255.255", "fa:16:3e:00:00:00",
    "null", "true", "-1", "1e9", "9" * 40, "2026-13-45T99:99:99Z", "in:", "in:a,,b", "$", [], {}, [[]], [{}], [None], {"": None},
    {"x": {"x": {"x": []}}}, ["x"] * 300,
)  # fmt: skip
WORDS = (
    "name", "id", "size", "status", "limit", "marker", "sort_key", "sort_dir", "sort", "offset", "fields", "all_tenants",
    "changes-since", "created_at", "detailed", "user_id", "project_id", "tenant_id", "reserved", "usage", "include_subtree",
    "effective", "scope.project.id", "page_reverse", "with_count", "visibility", "is_public", "minRam", "deleted", "ip", "tags",
    "fixed_ips", "network_id", "force", "cascade", "description", "enabled", "metadata", "type", "links", "host", "flavor",
    "image", "volume_id", "admin_state_up", "nocatalog", "allow_expired", "key", "value",
)  # fmt: skip
HEADERS = (
    {}, {}, {}, {"OpenStack-API-Version": "compute 2.100"}, {"OpenStack-API-Version": "compute latest"},
    {"OpenStack-API-Version": "volume latest"}, {"OpenStack-API-Version": "volume 3.50"}, {"X-OpenStack-Nova-API-Version": "2.60"},
    {"Accept": "text/html"}, {"Accept": "*/*;q=x"}, {"Content-Type": "text/plain"}, {"Content-Type": "application/octet-stream"},
    {"Content-Type": "application/openstack-images-v2.1-json-patch"}, {"If-Match": "revision_number=x"}, {"Range": "bytes=5-1"},
    {"X-Openstack-Request-Id": "req-x"}, {"Host": "x.example:80"}, {"Expect": "something"}, {"X-Forwarded-Proto": "gopher"},
    {"X-Subject-Token": "x"}, {"Content-Range": "bytes 5-1/0"}, {"Cookie": "x" * 5000},
)  # fmt: skip

# Any other byte is no part of an HTTP request: it gets an empty 400 from below the services.
LEGAL = set(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@/?%")


def routes(root):
    """Every route of every service: the service and its path, with `{...}` where a name belongs."""
    found = [("network", f"/{name}{rest}") for name in RESOURCES for rest in ("", "/{id}")]
    for service in BASES:
        for source in sorted((root / "actors" / service / "src").rglob("*.rs")):
            text = source.read_text()
            if ".route(" in text:
                found += [(service, path) for path in re.findall(r'"(/[a-z][\w/{}.-]*)"', text)]
    return sorted(set(found))


class Nonsense:
    """A source of requests, the same for the same seed."""

    def __init__(self, seed, things, bodies):
        self.random, self.bodies = random.Random(seed), bodies
        self.names = [str(name) for name in things.values()] + ["x", "detail", "0", "-", "%00", "%ff", "a%2fb", "默", "x" * 300]

    def path(self, service, pattern):
        name = lambda _: self.random.choice(self.names)
        path = BASES[service] + re.sub(r"\{[^}]*\}", name, pattern)
        if self.random.random() < 0.1:
            path += self.random.choice(("/", "/x", "//", "/../..", "?", ";x"))
        query = [f"{self.random.choice(WORDS)}={self.text()}" for _ in range(self.random.choice((0, 0, 0, 1, 1, 2, 4)))]
        path += "?" + "&".join(query) if query else ""
        return "".join(char if char in LEGAL else "%{:02x}".format(ord(char) & 255) for char in path)

    def text(self):
        value = self.random.choice(ODD)
        return value if isinstance(value, str) else json.dumps(value)

    def body(self, pattern):
        if self.random.random() < 0.25:
            return None
        if self.random.random() < 0.1:
            return self.random.randbytes(self.random.randrange(200))
        # Mostly one that fits to the route, or little of it is ever reached.
        stem = re.sub(r"\{[^}]*\}", "", pattern).rstrip("/").rsplit("/", 1)[-1]
        fitting = [body for path, body in self.bodies if stem in path]
        if not fitting or self.random.random() < 0.3:
            fitting = [body for _, body in self.bodies]
        value = json.loads(json.dumps(self.random.choice(fitting)))
        for _ in range(self.random.randrange(4)):
            value = self.mutated(value)
        text = json.dumps(value).encode()
        return text if self.random.random() < 0.9 else text[: self.random.randrange(len(text) + 1)]

    def mutated(self, value):
        """The value with something in it replaced, renamed, taken out or put in."""
        if not isinstance(value, (dict, list)) or not value or self.random.random() < 0.15:
            return self.random.choice(ODD)
        if isinstance(value, list):
            at = self.random.randrange(len(value))
            return [*value[:at], self.mutated(value[at]), *value[at + 1 :]]
        key = self.random.choice(sorted(value))
        kind = self.random.random()
        if kind < 0.6:
            return {**value, key: self.mutated(value[key])}
        if kind < 0.75:
            return {name: part for name, part in value.items() if name != key}
        return {**value, self.random.choice(WORDS): self.random.choice(ODD)}


def fuzz(cloud, score, scene, root, bodies, form, count=REQUESTS, seed=SEED):
    """Sends so many of them, by whoever; every answer must be one that a client can read."""
    score.begin(f"nonsense (seed {seed})")
    known = routes(root)
    score.must("routes are found", len(known) > 140, f"{len(known)} only")
    source = Nonsense(seed, scene.things, bodies)
    pick = source.random
    tokens = [token for name, token in sorted(scene.tokens.items()) if name in ("admin", "member", "reader", "nobody")]
    for index in range(count):
        service, pattern = pick.choice(known)
        method, path, raw = pick.choice(METHODS), source.path(service, pattern), source.body(pattern)
        token, headers = pick.choice(tokens), dict(pick.choice(HEADERS))
        if raw is not None:
            headers.setdefault("Content-Type", "application/json")
        answer = cloud.send(method, path, raw=raw, token=token, headers=headers)
        wrong = [] if answer.status < 500 or answer.status == 501 else [f"{answer.status}"]
        other_form = service == "image" and answer.headers.get("Content-Type", "").startswith("text/")
        if answer.status >= 400 and method != "HEAD" and not other_form:
            wrong += form(answer)
        if wrong:
            score.note(f"number {index}, {headers}, {raw!r:.600}", wrong, answer)
    score.must("all were answered", True)
