//! The cloud's own REST API, asked as its administrator.

use std::{io, path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
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

/// How long an answer may take, from the connection to the last byte: the slowest request of a healthy cloud takes a
/// second, and a person waits.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// The largest answer that is read, in bytes: the trace of a request with some 50,000 steps, or all nodes of the largest
/// cloud several times over.
const ANSWER_MAX_BYTES: usize = 16 << 20;

/// No control process answers here.
#[derive(Debug, thiserror::Error)]
pub enum NoCloud {
    /// None says that it does.
    #[error("no cloud runs in {0}; start it with 'updraft up', or say where it is with --data-dir")]
    Nothing(PathBuf),
    /// Nobody is where one said that it answers.
    #[error("the cloud does not answer at {address}: {source}; start it with 'updraft up'")]
    Gone {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

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
    /// What to look at when nothing answers.
    logs: PathBuf,
    token: String,
}

impl AdminClient {
    /// A client without a token.
    fn anybody(data: &DataDir) -> Result<Self, Failure> {
        let address =
            data.read(ADDRESS_FILE)?.ok_or_else(|| NoCloud::Nothing(data.root().to_owned()))?;
        let (address, logs) = (address.trim().to_owned(), data.path("logs"));
        Ok(Self { env: Env::real(), address, logs, token: String::new() })
    }

    /// Whether anything is answered where the cloud of this folder last said that it answers.
    pub async fn is_answered(data: &DataDir) -> bool {
        let Ok(client) = Self::anybody(data) else { return false };
        client.ask("GET", "/identity/v3", &Value::Null).await.is_ok()
    }

    /// Logs in with what the data directory knows.
    pub async fn log_in(data: &DataDir) -> Result<Self, Failure> {
        let mut client = Self::anybody(data)?;
        let password = data.read("admin-password")?;
        let password = password.ok_or_else(|| NoCloud::Nothing(data.root().to_owned()))?;
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": "admin", "domain": {"id": "default"}, "password": password.trim()}}},
            "scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}});
        let answer = client.ask("POST", "/identity/v3/auth/tokens", &body).await?;
        if answer.status.is_server_error() {
            return Err(format!("the cloud does not serve: {}", answer.said()).into());
        }
        if answer.status != StatusCode::CREATED {
            let said = answer.said();
            return Err(format!(
                "the cloud does not let its administrator in: {said}; if the password was changed, write the new one \
                 into {}",
                data.path("admin-password").display()
            )
            .into());
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
        let request = self.request(method, path, "application/json");
        self.exchange(request.body(Full::new(Bytes::from(body)))?).await
    }

    /// Sends bytes as they are, such as an image's.
    pub async fn upload(&self, path: &str, bytes: impl Into<Bytes>) -> Result<Answer, Failure> {
        let request =
            self.request("PUT", path, "application/octet-stream").body(Full::new(bytes.into()))?;
        self.exchange(request).await
    }

    /// Hands an answer of any length to `take` as it comes; it may stop for no longer than one answer may take.
    pub async fn download(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let stopped = || format!("{path}: the cloud stopped answering");
        let request = self.request("GET", path, "application/json").body(Full::default())?;
        let begun = self.env.timeout(ANSWERED_WITHIN, self.begin(request)).await;
        let response = begun.ok_or_else(stopped)??;
        if !response.status().is_success() {
            return Err(format!("{path} answered: {}", read(response).await?.said()).into());
        }
        let mut body = response.into_body();
        while let Some(frame) =
            self.env.timeout(ANSWERED_WITHIN, body.frame()).await.ok_or_else(stopped)?
        {
            if let Ok(bytes) = frame?.into_data() {
                take(&bytes)?;
            }
        }
        Ok(())
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

    /// Sends a request and reads its answer, within a limit of time and bytes.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let answer = async { read(self.begin(request).await?).await };
        self.env.timeout(ANSWERED_WITHIN, answer).await.unwrap_or_else(|| {
            let (address, logs) = (&self.address, self.logs.display());
            let seconds = ANSWERED_WITHIN.as_secs();
            Err(format!(
                "the cloud at {address} does not answer: nothing came of {asked} within {seconds} s; its logs in \
                 {logs} may say why, and 'updraft down' followed by 'updraft up' starts it anew"
            )
            .into())
        })
    }

    /// Sends a request over a connection of its own.
    async fn begin(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let gone = |source| NoCloud::Gone { address: self.address.clone(), source };
        let stream = TcpStream::connect(&self.address).await.map_err(gone)?;
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
    let body = Limited::new(body, ANSWER_MAX_BYTES).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            format!("the cloud's answer is over the limit of {} MiB", ANSWER_MAX_BYTES >> 20).into()
        } else {
            error
        }
    })?;
    Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// What a client is told by a server that answers with `says`, and then keeps the connection open.
    async fn asked_of(says: &'static str, then_bytes: usize) -> String {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = AdminClient {
            env: Env::real(),
            address: server.local_addr().unwrap().to_string(),
            logs: "/data/logs".into(),
            token: String::new(),
        };
        client.env.spawn("server", async move {
            let (mut connection, _) = server.accept().await.unwrap();
            let asked_bytes = connection.read(&mut [0; 1024]).await.unwrap();
            assert!(asked_bytes > 0, "nothing was asked");
            connection.write_all(says.as_bytes()).await.unwrap();
            // The client may have had enough.
            let _ = connection.write_all(&vec![b' '; then_bytes]).await;
            std::future::pending::<()>().await;
        });
        let answer = client.ask("GET", "/updraft/v1/nodes", &Value::Null).await;
        answer.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn a_cloud_that_accepts_and_says_nothing_is_given_up() {
        let told = asked_of("", 0).await;
        assert!(told.contains("does not answer: nothing came of GET /updraft/v1/nodes"), "{told}");
        assert!(told.contains("/data/logs"), "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_stops_in_its_middle_is_given_up() {
        let told = asked_of("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n[", 0).await;
        assert!(told.contains("does not answer"), "{told}");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_read_whole() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
        let told = asked_of(head, ANSWER_MAX_BYTES + 1).await;
        assert_eq!(told, "the cloud's answer is over the limit of 16 MiB");
    }
}
