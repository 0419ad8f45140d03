//! A REST client that keeps its connections.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use updraft_cloud::machine::DataDir;
use updraft_runtime::Env;

use crate::command::Failure;

/// What most bodies are.
const JSON: &str = "application/json";

/// One connection, and a token of the user `admin`.
pub(super) struct Client {
    pub(super) env: Env,
    token: String,
    address: String,
    password: String,
    sender: http1::SendRequest<Full<Bytes>>,
}

/// An answer.
struct Answer {
    status: StatusCode,
    subject_token: Option<String>,
    body: Bytes,
}

impl Client {
    pub(super) async fn log_in(data: &DataDir) -> Result<Self, Failure> {
        let read = |name: &str| -> Result<String, Failure> {
            let text = data.read(name)?.ok_or_else(|| format!("{name} is missing"))?;
            Ok(text.trim().to_owned())
        };
        let (address, password) = (read("run/address")?, read("admin-password")?);
        let env = Env::real();
        let sender = connect(&env, &address).await?;
        let mut client = Self { env, token: String::new(), address, password, sender };
        client.token = client.authenticate().await?;
        Ok(client)
    }

    /// The same user over a connection of its own.
    pub(super) async fn another(&self) -> Result<Self, Failure> {
        Ok(Self {
            env: self.env.clone(),
            token: self.token.clone(),
            address: self.address.clone(),
            password: self.password.clone(),
            sender: connect(&self.env, &self.address).await?,
        })
    }

    /// A fresh token for the password.
    pub(super) async fn authenticate(&mut self) -> Result<String, Failure> {
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": "admin", "domain": {"id": "default"}, "password": self.password}}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}});
        let answer = self.send("POST", "/identity/v3/auth/tokens", JSON, body.to_string()).await?;
        Ok(answer.subject_token.ok_or("no token")?)
    }

    /// Sends a request and reads the whole answer.
    async fn send(
        &mut self,
        method: &str,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("content-type", content_type)
            .header("openstack-api-version", "compute 2.100")
            .header("x-auth-token", &self.token)
            .header("x-subject-token", &self.token)
            .body(Full::new(body.into()))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let header = response.headers().get("x-subject-token");
        let subject_token = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer { status, subject_token, body })
    }

    /// Sends a request that must be taken; the answer as JSON.
    pub(super) async fn must(
        &mut self,
        method: &str,
        path: &str,
        body: Value,
    ) -> Result<Value, Failure> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.send(method, path, JSON, text).await?.taken(method, path)?;
        Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    /// Reads an answer whole without looking into it: what a client makes of it is not what is measured.
    pub(super) async fn fetch(&mut self, path: &str) -> Result<Bytes, Failure> {
        Ok(self.send("GET", path, JSON, "").await?.taken("GET", path)?.body)
    }

    /// Uploads bytes that must be taken.
    pub(super) async fn upload(&mut self, path: &str, bytes: &'static str) -> Result<(), Failure> {
        self.send("PUT", path, "application/octet-stream", bytes).await?.taken("PUT", path)?;
        Ok(())
    }
}

impl Answer {
    fn taken(self, method: &str, path: &str) -> Result<Self, Failure> {
        if self.status.is_success() {
            return Ok(self);
        }
        let said = String::from_utf8_lossy(&self.body);
        Err(format!("{method} {path} answered {}: {said}", self.status).into())
    }
}

async fn connect(env: &Env, address: &str) -> Result<http1::SendRequest<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    env.spawn("bench client", async move {
        // What breaks the connection breaks the request, which says so.
        let _ = connection.await;
    });
    Ok(sender)
}
