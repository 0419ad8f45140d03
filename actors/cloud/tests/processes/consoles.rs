//! Consoles by way of a WebSocket, as a browser opens one.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue},
};
use updraft_cloud::machine::ADDRESS_FILE;

use crate::cloud::{Client, Machine};

/// A cloud with one server that runs.
async fn cloud() -> (Machine, Client, String) {
    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    let client = machine.client().await;
    let made = client.furnish().await;
    let server = client.create(&made, "shown").await.unwrap();
    client.all_run(&machine).await;
    (machine, client, server)
}

async fn ask(client: &Client, server: &str, protocol: &str, kind: &str) -> String {
    let path = format!("/compute/v2.1/servers/{server}/remote-consoles");
    let body = json!({"remote_console": {"protocol": protocol, "type": kind}});
    let answer = client.must("POST", &path, body).await;
    let url = answer["remote_console"]["url"].as_str().unwrap();
    url.replace("%3D", "=").replace("%3F", "?").replace("%2F", "/")
}

/// Opens a WebSocket as a page of this origin does.
async fn open(
    machine: &Machine,
    url: &str,
    origin: Option<&str>,
) -> Result<WebSocketStream<TcpStream>, u16> {
    let address = machine.data().read(ADDRESS_FILE).unwrap().unwrap();
    let address = address.trim();
    let token = url.rsplit_once("token=").unwrap().1;
    let mut request =
        format!("ws://{address}/console/ws?token={token}").into_client_request().unwrap();
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", HeaderValue::from_str(origin).unwrap());
    }
    let stream = TcpStream::connect(address).await.unwrap();
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// The next so many bytes.
async fn hear(
    socket: &mut WebSocketStream<TcpStream>,
    heard: &mut Vec<u8>,
    count: usize,
) -> Vec<u8> {
    while heard.len() < count {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(bytes) => heard.extend(bytes),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
    heard.drain(..count).collect()
}

async fn say(socket: &mut WebSocketStream<TcpStream>, bytes: &[u8]) {
    socket.send(Message::Binary(bytes.to_vec().into())).await.unwrap();
}

/// The colour of the screen's first pixel.
async fn look(socket: &mut WebSocketStream<TcpStream>, heard: &mut Vec<u8>) -> Vec<u8> {
    say(socket, &[3, 0, 0, 0, 0, 0, 0, 64, 0, 48]).await;
    hear(socket, heard, 16).await;
    hear(socket, heard, 64 * 48 * 4).await[..3].to_vec()
}

#[tokio::test]
async fn a_screen_is_seen_and_typed_to_until_the_server_is_stopped() {
    let (machine, client, server) = cloud().await;
    let url = ask(&client, &server, "vnc", "novnc").await;
    let origin = url.split_once("/console").unwrap().0.to_owned();
    let mut socket = open(&machine, &url, Some(&origin)).await.unwrap();
    let mut heard = Vec::new();
    assert_eq!(hear(&mut socket, &mut heard, 12).await, b"RFB 003.008\n");
    say(&mut socket, b"RFB 003.008\n").await;
    assert_eq!(hear(&mut socket, &mut heard, 2).await, [1, 1]);
    say(&mut socket, &[1]).await;
    assert_eq!(hear(&mut socket, &mut heard, 4).await, [0; 4]);
    say(&mut socket, &[1]).await;
    let hello = hear(&mut socket, &mut heard, 24 + 5).await;
    assert_eq!((&hello[..4], &hello[24..]), (&[0, 64, 0, 48][..], &b"shown"[..]));
    let before = look(&mut socket, &mut heard).await;
    say(&mut socket, &[4, 1, 0, 0, 0, 0, 0, 65]).await;
    assert_ne!(look(&mut socket, &mut heard).await, before, "a key was pressed");
    client.act(&server, json!({"os-stop": null})).await;
    // It ends, by a word or without.
    while let Some(Ok(message)) = socket.next().await {
        assert!(!matches!(message, Message::Text(_)), "{message:?}");
    }
    assert_eq!(open(&machine, &url, None).await.err(), Some(403), "its token is of no use");
}

#[tokio::test]
async fn a_serial_line_takes_what_is_typed_and_keeps_it_in_its_log() {
    let (machine, client, server) = cloud().await;
    let url = ask(&client, &server, "serial", "serial").await;
    let mut socket = open(&machine, &url, None).await.unwrap();
    let mut heard = Vec::new();
    assert_eq!(hear(&mut socket, &mut heard, 23).await, b"simulated guest shown\r\n");
    say(&mut socket, b"hello\n").await;
    assert_eq!(hear(&mut socket, &mut heard, 6).await, b"hello\n");
    let path = format!("/compute/v2.1/servers/{server}/action");
    let log = client.must("POST", &path, json!({"os-getConsoleOutput": {"length": 1}})).await;
    assert_eq!(log["output"], "hello\n");
}

#[tokio::test]
async fn who_has_no_token_or_comes_from_another_page_is_sent_away() {
    let (machine, client, server) = cloud().await;
    let url = ask(&client, &server, "vnc", "novnc").await;
    for origin in ["http://elsewhere.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(open(&machine, &url, Some(origin)).await.err(), Some(403), "{origin}");
    }
    let wrong = format!("token={}", "A".repeat(64));
    assert_eq!(open(&machine, &wrong, None).await.err(), Some(403));
    assert_eq!(open(&machine, "token=", None).await.err(), Some(403));
    // More at once than there may be.
    let mut open_ones = Vec::new();
    for _ in 0..4 {
        open_ones.push(open(&machine, &url, None).await.unwrap());
    }
    assert_eq!(open(&machine, &url, None).await.err(), Some(503));
    open_ones.pop();
    let let_in = async || open(&machine, &url, None).await.is_ok();
    machine.until("one that ended makes room", let_in).await;
    assert!(!machine.logs().contains(url.rsplit_once("token=").unwrap().1), "a log has the token");
}

#[tokio::test]
async fn a_picture_of_a_screen_is_given_as_long_as_the_server_runs() {
    let (machine, client, server) = cloud().await;
    let path = format!("/updraft/v1/servers/{server}/screenshot");
    let picture = client.ask("GET", &path, Value::Null).await;
    assert!(picture.status.is_success(), "{}", picture.said());
    assert_eq!(picture.headers["content-type"], "image/png");
    assert_eq!(&picture.body[1..4], b"PNG");
    assert_eq!(&picture.body[16..24], [0, 0, 0, 64, 0, 0, 0, 48], "width and height");
    let unknown = path.replace(&server, "00000000-0000-0000-0000-000000000001");
    assert_eq!(client.ask("GET", &unknown, Value::Null).await.status.as_u16(), 404);
    client.act(&server, json!({"os-stop": null})).await;
    let refused = client.ask("GET", &path, Value::Null).await;
    assert_eq!(refused.status.as_u16(), 409, "{}", refused.said());
    let bare = machine.raw(&format!("GET {path}"), &[], "").unwrap();
    assert!(bare.starts_with("HTTP/1.1 401 "), "{bare}");
}
