//! A user of a simulated cloud: REST requests to whichever control node runs.

use std::{future::Future, time::Duration};

use axum::{
    body::Body,
    http::{Request, Response},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use updraft_harness::{
    quic::fingerprint,
    record::{Fate, Recorder},
};

use super::{PASSWORD, Pending, SimCloud, rest::Door};

/// How long a request may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// How long a build, an attach or a delete may take while nothing goes wrong.
const SETTLES: Duration = Duration::from_secs(60);

/// Where tokens are issued and revoked.
pub const TOKENS: &str = "/identity/v3/auth/tokens";

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The header `X-Subject-Token`.
    pub subject_token: Option<String>,
    /// The header `X-Openstack-Request-Id`.
    pub request_id: Option<String>,
    /// Its body, if it is JSON.
    pub body: Value,
}

impl Answer {
    /// Its status, what it says of an error, the length and a hash of its body, and the request's id: enough to tell two
    /// runs apart.
    fn in_words(&self) -> String {
        let (status, body) = (self.status, self.body.to_string());
        let error = self.body.as_object().and_then(|all| all.values().next()?["message"].as_str());
        let error =
            error.filter(|_| status >= 400).map_or(String::new(), |told| format!("{told}, "));
        let (bytes, hash) = (body.len(), fingerprint(body.as_bytes()));
        let id = self.request_id.as_deref().unwrap_or("without an id");
        format!("{status}, {error}{bytes} bytes, {hash:016x}, {id}")
    }
}

/// A user with a token.
#[derive(Clone, Debug)]
pub struct Client {
    token: String,
}

impl Client {
    /// Logs in as the administrator.
    ///
    /// # Panics
    /// If the cloud does not let its administrator in.
    #[must_use]
    pub fn log_in(cloud: &mut SimCloud) -> Self {
        Self::log_in_as(cloud, "admin", "admin", PASSWORD)
    }

    /// Logs in to a project.
    ///
    /// # Panics
    /// If the cloud does not let the user in.
    #[must_use]
    pub fn log_in_as(cloud: &mut SimCloud, user: &str, project: &str, password: &str) -> Self {
        let answer = Self::nobody().send(cloud, "POST", TOKENS, log_in(user, project, password));
        match answer.and_then(|answer| answer.subject_token) {
            Some(token) => Self { token },
            None => panic!("{user} is not let in"),
        }
    }

    /// Logs in as the administrator; `None` if there is no such answer.
    #[must_use]
    pub fn try_log_in(cloud: &mut SimCloud) -> Option<Self> {
        let body = log_in("admin", "admin", PASSWORD);
        let answer = Self::nobody().send(cloud, "POST", TOKENS, body)?;
        Some(Self { token: answer.subject_token? })
    }

    /// Another token of the same user in the same project, got by this one; `None` if there is no such answer.
    #[must_use]
    pub fn rescoped(&self, cloud: &mut SimCloud) -> Option<Self> {
        let body = json!({"auth": {
            "identity": {"methods": ["token"], "token": {"id": self.token}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}});
        let answer = Self::nobody().send(cloud, "POST", TOKENS, body)?;
        Some(Self { token: answer.subject_token? })
    }

    /// Revokes this token by itself, and says with which status; `None` if there is no answer.
    pub fn revoke_itself(&self, cloud: &mut SimCloud) -> Option<u16> {
        Some(self.send(cloud, "DELETE", TOKENS, Value::Null)?.status)
    }

    /// Somebody with this token.
    #[must_use]
    pub fn with(token: String) -> Self {
        Self { token }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Somebody whose token is none.
    #[must_use]
    pub fn nobody() -> Self {
        Self { token: String::new() }
    }

    /// Sends a request; `None` if there was no answer.
    #[allow(clippy::needless_pass_by_value, reason = "callers write the body where they send it")]
    pub fn send(
        &self,
        cloud: &mut SimCloud,
        method: &str,
        path: &str,
        body: Value,
    ) -> Option<Answer> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send_bytes(cloud, method, path, "application/json", bytes)
    }

    /// Sends bytes.
    pub fn send_bytes(
        &self,
        cloud: &mut SimCloud,
        method: &str,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Option<Answer> {
        let door = cloud.door(0)?;
        let (node, from) = (door.node().clone(), door.from().clone());
        let words = in_words(method, path, &body);
        let request = self.request(method, path, content_type, body)?;
        let asking = ask(cloud.world.recorder(), door, request, words);
        let answer = cloud.world.on(&from, PATIENCE, asking).flatten();
        // What a node says in the instant of its crash is not heard.
        answer.filter(|_| cloud.world.is_up(&node))
    }

    /// Sends a request to this control node, or to the next that runs, and does not wait; `None` if none runs.
    pub fn begin(
        &self,
        cloud: &mut SimCloud,
        control: u8,
        (method, path): (&str, &str),
        content_type: &str,
        body: Vec<u8>,
    ) -> Option<Pending> {
        let door = cloud.door(control.into())?;
        let (node, from) = (door.node().clone(), door.from().clone());
        let words = in_words(method, path, &body);
        let request = self.request(method, path, content_type, body)?;
        let asking = ask(cloud.world.recorder(), door, request, words);
        let answer = cloud.world.begin(&from, asking)?;
        Some(Pending::new(node, cloud.world.now(), answer))
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Option<Request<Body>> {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", "cloud.example")
            .header("content-type", content_type)
            .header("x-auth-token", &self.token)
            // Who speaks of tokens speaks of its own.
            .header("x-subject-token", &self.token)
            .header("openstack-api-version", "compute 2.100")
            .body(Body::from(body))
            .ok()
    }

    /// Sends a request that is expected to be taken, and returns the body.
    ///
    /// # Panics
    /// If it is not.
    pub fn must(&self, cloud: &mut SimCloud, method: &str, path: &str, body: Value) -> Value {
        let answer = self.send(cloud, method, path, body);
        match answer {
            Some(answer) if (200..300).contains(&answer.status) => answer.body,
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    /// Uploads an image of these bytes and returns its id.
    pub fn image(&self, cloud: &mut SimCloud, bytes: &[u8]) -> String {
        let body = json!({"name": "tiny", "disk_format": "raw", "container_format": "bare"});
        let id = text(&self.must(cloud, "POST", "/image/v2/images", body)["id"]);
        let path = format!("/image/v2/images/{id}/file");
        let sent = self.send_bytes(cloud, "PUT", &path, "application/octet-stream", bytes.to_vec());
        assert_eq!(sent.map(|answer| answer.status), Some(204), "the upload was not taken");
        id
    }

    /// Makes a network with one subnet and returns the network's id.
    pub fn network(&self, cloud: &mut SimCloud, cidr: &str) -> String {
        let body = json!({"network": {"name": "net"}});
        let made = self.must(cloud, "POST", "/networking/v2.0/networks", body);
        let id = text(&made["network"]["id"]);
        let body = json!({"subnet": {"network_id": id, "ip_version": 4, "cidr": cidr}});
        self.must(cloud, "POST", "/networking/v2.0/subnets", body);
        id
    }

    /// Makes a flavor and returns its id.
    pub fn flavor(&self, cloud: &mut SimCloud, ram_mib: u64) -> String {
        let body = json!({"flavor": {
            "name": format!("f{ram_mib}"), "ram": ram_mib, "vcpus": 1, "disk": 1, "id": null}});
        text(&self.must(cloud, "POST", "/compute/v2.1/flavors", body)["flavor"]["id"])
    }

    /// Asks for a server and returns its id.
    pub fn server(
        &self,
        cloud: &mut SimCloud,
        image: &str,
        flavor: &str,
        network: Option<&str>,
    ) -> String {
        let networks = network.map_or(json!("none"), |network| json!([{"uuid": network}]));
        let body = json!({"server": {
            "name": "vm", "imageRef": image, "flavorRef": flavor, "networks": networks}});
        text(&self.must(cloud, "POST", "/compute/v2.1/servers", body)["server"]["id"])
    }

    /// The server as the API shows it; `None` if it is gone.
    pub fn show(&self, cloud: &mut SimCloud, server: &str) -> Option<Value> {
        let path = format!("/compute/v2.1/servers/{server}");
        let answer = self.send(cloud, "GET", &path, Value::Null)?;
        (answer.status == 200).then(|| answer.body["server"].clone())
    }

    /// Waits until the server has this status, or is gone if it is `None`.
    pub fn wait_for(&self, cloud: &mut SimCloud, server: &str, status: Option<&str>) -> bool {
        let end = cloud.world.now() + SETTLES;
        while cloud.world.now() < end {
            let shown = self.show(cloud, server);
            if shown.as_ref().map(|shown| text(&shown["status"])).as_deref() == status {
                return true;
            }
            cloud.world.run_for(Duration::from_millis(50));
        }
        false
    }
}

/// What a user asks for a token with, to be sent to [`TOKENS`].
#[must_use]
pub fn log_in(user: &str, project: &str, password: &str) -> Value {
    json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": user, "domain": {"id": "default"}, "password": password}}},
        "scope": {"project": {"name": project, "domain": {"id": "default"}}}}})
}

fn header<B>(response: &Response<B>, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// The longest body of a request that is told in full, in bytes.
const TOLD_MAX_BYTES: usize = 400;

/// A request in words. Whoever asks for a token has a password in it.
fn in_words(method: &str, path: &str, body: &[u8]) -> String {
    let told = path != TOKENS && !body.is_empty() && body.len() <= TOLD_MAX_BYTES;
    match std::str::from_utf8(body) {
        Ok(body) if told => format!("{method} {path} {body}"),
        _ => format!("{method} {path}"),
    }
}

/// Sends a request; the record tells of both ways.
fn ask(
    recorder: &Recorder,
    door: Door,
    request: Request<Body>,
    words: String,
) -> impl Future<Output = Option<Answer>> + Send + use<> {
    let (recorder, node) = (recorder.clone(), door.node().clone());
    let number = recorder.asked(&node, || words);
    async move {
        let answer = exchange(door, request).await;
        match &answer {
            Some(told) if told.status < 400 => {
                recorder.answered(&node, number, Fate::Taken, || told.in_words());
            }
            Some(told) => recorder.answered(&node, number, Fate::Refused, || told.in_words()),
            None => recorder.answered(&node, number, Fate::Refused, || "nothing".to_owned()),
        }
        answer
    }
}

async fn exchange(door: Door, request: Request<Body>) -> Option<Answer> {
    let response = door.pass(request).await?;
    let status = response.status().as_u16();
    let subject_token = header(&response, "x-subject-token");
    let request_id = header(&response, "x-openstack-request-id");
    let bytes = response.into_body().collect().await.ok()?.to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Some(Answer { status, subject_token, request_id, body })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
