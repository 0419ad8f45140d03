//! The cloud's own REST API, asked as its administrator.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::TcpStream;
use updraft_runtime::Env;

use super::{data_dir::DataDir, link::Failure};

/// A client with a token of the user `admin`.
pub struct AdminClient {
    env: Env,
    address: String,
    token: String,
}

impl AdminClient {
    /// Logs in with what the data directory knows.
    pub async fn log_in(data: &DataDir) -> Result<Self, Failure> {
        let none = || format!("no cloud has run in {}", data.root().display());
        let address = data.read("run/address")?.ok_or_else(none)?.trim().to_owned();
        let password = data.read("admin-password")?.ok_or_else(none)?;
        let mut client = Self { env: Env::real(), address, token: String::new() };
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": "admin", "domain": {"id": "default"}, "password": password.trim()}}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}});
        let response = client.send("POST", "/identity/v3/auth/tokens", body.to_string()).await?;
        if response.status() != StatusCode::CREATED {
            return Err(format!(
                "the cloud does not let its administrator in: {}",
                response.status()
            )
            .into());
        }
        let token = response.headers().get("x-subject-token").and_then(|v| v.to_str().ok());
        client.token = token.ok_or("the cloud answered without a token")?.to_owned();
        Ok(client)
    }

    /// What a path answers, as JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.send("GET", path, String::new()).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("{path} answered {status}").into());
        }
        Ok(serde_json::from_slice(&body)?)
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: String,
    ) -> Result<Response<Incoming>, Failure> {
        let stream = TcpStream::connect(&self.address).await.map_err(|error| {
            format!(
                "the cloud does not answer at {}: {error}. Start it with 'updraft up'",
                self.address
            )
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        self.env.spawn("admin client", async move {
            // What breaks the connection breaks the request, which says so.
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("content-type", "application/json")
            .header("x-auth-token", &self.token)
            .body(Full::new(Bytes::from(body)))?;
        Ok(sender.send_request(request).await?)
    }
}
