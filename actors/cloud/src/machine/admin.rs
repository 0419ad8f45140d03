//! The cloud's own REST API, asked as its administrator.

use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response, StatusCode, body::Incoming, client::conn::http1,
    http::request::Builder,
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use updraft_runtime::Env;

use super::{control::ADDRESS_FILE, data_dir::DataDir, link::Failure};

/// No control process answers here.
#[derive(Debug, thiserror::Error)]
#[error("no cloud runs in {0}; start it with 'updraft up', or say where it is with --data-dir")]
pub struct NoCloud(PathBuf);

/// An answer, read whole.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The status and, of an error in any service's format, its message.
    #[must_use]
    pub fn said(&self) -> String {
        let json = self.json();
        let inner = json.as_object().and_then(|object| object.values().next());
        let message = inner.and_then(|error| error["message"].as_str());
        format!("{}: {}", self.status, message.map_or_else(|| self.text(), str::to_owned))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

/// A client with a token of the user `admin`.
pub struct AdminClient {
    env: Env,
    address: String,
    token: String,
}

impl AdminClient {
    /// Logs in with what the data directory knows.
    pub async fn log_in(data: &DataDir) -> Result<Self, Failure> {
        let none = || NoCloud(data.root().to_owned());
        let address = data.read(ADDRESS_FILE)?.ok_or_else(none)?.trim().to_owned();
        let password = data.read("admin-password")?.ok_or_else(none)?;
        let mut client = Self { env: Env::real(), address, token: String::new() };
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": "admin", "domain": {"id": "default"}, "password": password.trim()}}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}});
        let answer = client.ask("POST", "/identity/v3/auth/tokens", &body).await?;
        if answer.status != StatusCode::CREATED {
            let said = answer.said();
            return Err(format!("the cloud does not let its administrator in: {said}").into());
        }
        let token = answer.headers.get("x-subject-token").and_then(|v| v.to_str().ok());
        client.token = token.ok_or("the cloud answered without a token")?.to_owned();
        Ok(client)
    }

    /// What a path answers, as JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let answer = self.ask("GET", path, &Value::Null).await?;
        if !answer.status.is_success() {
            return Err(format!("{path} answered: {}", answer.said()).into());
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// What a request is answered, whatever it is.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Answer, Failure> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        read(self.send(method, path, body).await?).await
    }

    /// Sends bytes as they are, such as an image's.
    pub async fn upload(&self, path: &str, bytes: impl Into<Bytes>) -> Result<Answer, Failure> {
        let request =
            self.request("PUT", path, "application/octet-stream").body(Full::new(bytes.into()))?;
        read(self.exchange(request).await?).await
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: String,
    ) -> Result<Response<Incoming>, Failure> {
        let request = self.request(method, path, "application/json");
        self.exchange(request.body(Full::new(Bytes::from(body)))?).await
    }

    fn request(&self, method: &str, path: &str, content: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("content-type", content)
            .header("openstack-api-version", "compute 2.100")
            .header("x-auth-token", &self.token)
    }

    /// Sends a request over a connection of its own.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let stream = TcpStream::connect(&self.address).await.map_err(|error| {
            format!(
                "the cloud does not answer at {}: {error}; start it with 'updraft up'",
                self.address
            )
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        self.env.spawn("admin client", async move {
            // What breaks the connection breaks the request, which says so.
            let _ = connection.await;
        });
        Ok(sender.send_request(request).await?)
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
    })
}
