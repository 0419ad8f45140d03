"""A cloud as its REST clients see it: requests, answers, users, and things made ahead."""

import http.client
import json
import re
import time

TIMEOUT_SECS = 60  # no request takes longer, whatever it is
SETTLE_SECS = 30  # how long something simulated may take to become what was asked for
SERVICES = {
    "/identity": "identity",
    "/compute": "compute",
    "/image": "image",
    "/networking": "network",
    "/volume": "volume",
}


class Answer:
    """What came back, and of what."""

    def __init__(self, method, path, response):
        self.method, self.path, self.status = method, path, response.status
        self.headers, self.body = response.headers, response.read()

    @property
    def service(self):
        return next((name for at, name in SERVICES.items() if self.path.startswith(at)), None)

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.body)

    def __str__(self):
        return f"{self.method} {self.path} -> {self.status} {self.text[:600]}"


class Cloud:
    """A cloud that was started in a data folder."""

    settle_secs = SETTLE_SECS

    def __init__(self, data_dir):
        text = (data_dir / "clouds.yaml").read_text()
        setting = lambda name: re.search(rf"^ *{name}: *(\S+)$", text, re.M).group(1)
        self.netloc = re.match(r"http://([^/]+)/", setting("auth_url")).group(1)
        self.admin_name = setting("username")
        self.admin_password = (data_dir / "admin-password").read_text().strip()
        self.log = data_dir / "logs" / "control.log"
        self._connection = None

    def send(self, method, path, body=None, *, token=None, headers=(), raw=None):
        """One request; `body` goes as JSON, `raw` as it is."""
        head = {"Accept": "application/json"}
        data = raw
        if body is not None:
            head["Content-Type"], data = "application/json", json.dumps(body).encode()
        if token is not None:
            head["X-Auth-Token"] = token
        head.update(headers)
        return self._send(method, path, data, {k: v for k, v in head.items() if v is not None})

    def _send(self, method, path, data, head):
        again = self._connection is not None
        if not again:
            self._connection = self._connect()
        try:
            self._connection.request(method, path, data, head)
            answer = Answer(method, path, self._connection.getresponse())
        except (http.client.HTTPException, ConnectionError):
            # The other end may close a connection that lies idle, or one whose request it did not read.
            self._connection.close()
            self._connection = None
            if again:
                return self._send(method, path, data, head)
            raise
        if answer.headers.get("Connection") == "close":
            self._connection.close()
            self._connection = None
        return answer

    def _connect(self):
        connection = http.client.HTTPConnection(self.netloc, timeout=TIMEOUT_SECS)
        connection.connect()
        return connection

    def ok(self, method, path, body=None, **rest):
        """The same where nothing may go wrong."""
        answer = self.send(method, path, body, **rest)
        if answer.status >= 400:
            raise RuntimeError(f"this should have worked: {answer}")
        return answer

    def make(self, token, path, body, **rest):
        """Creates something; says what was made."""
        made = self.ok("POST", path, body, token=token, **rest).json
        return next(iter(made.values())) if len(made) == 1 else made

    def login(self, name, password, project, **rest):
        """A token."""
        body = password_auth(name, password, project)
        return self.ok("POST", "/identity/v3/auth/tokens", body, **rest).headers["X-Subject-Token"]

    def until(self, what, ready):
        """Asks until it is so."""
        ends = time.monotonic() + self.settle_secs
        while time.monotonic() < ends:
            found = ready()
            if found:
                return found
            time.sleep(0.05)
        raise RuntimeError(f"{what}: not within {self.settle_secs} s")

    def server(self, token, server_id, status):
        """Waits for a server to become this."""
        path = f"/compute/v2.1/servers/{server_id}"

        def ready():
            server = self.ok("GET", path, token=token).json["server"]
            return server if server["status"] == status else None

        return self.until(f"server {server_id} {status}", ready)

    def volume(self, token, volume_id, status):
        """Waits for a volume to become this."""
        path = f"/volume/v3/volumes/{volume_id}"
        ready = lambda: self.ok("GET", path, token=token).json["volume"]["status"] == status
        return self.until(f"volume {volume_id} {status}", ready)

    def gone(self, token, path):
        """Waits for something to be no more."""
        self.until(f"{path} gone", lambda: self.send("GET", path, token=token).status == 404)


def password_auth(name, password, project=None, **identity):
    """The body that asks for a token."""
    domain = {"id": "default"}
    user = {"name": name, "domain": domain, "password": password}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}, **identity}}
    if project is not None:
        auth["scope"] = {"project": {"name": project, "domain": domain}}
    return {"auth": auth}
