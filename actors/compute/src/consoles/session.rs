//! One viewer that talks to one console.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use updraft_edge::listener::Ending;
use updraft_runtime::{
    Env,
    tunnel::{Reader, STALL, Tunnel, Writer},
};

use super::{Admitted, Consoles};

/// How often a viewer is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long nothing may come of a viewer, not even the answer to that.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long a console stays open at most: who still wants it asks for another token.
const SESSION_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// Longest reason that a WebSocket closes with, in bytes.
const REASON_MAX_BYTES: usize = 120;

/// Moves bytes both ways until the viewer, the guest, or who may end it has had enough.
pub(super) async fn run(
    consoles: &Consoles,
    admitted: &Admitted,
    socket: WebSocket,
    tunnel: Tunnel,
    ending: Ending,
) {
    let Admitted { server, kind, user_id, .. } = admitted;
    tracing::info!(%server, ?kind, user_id, "a console is open");
    let (to, from) = socket.split();
    let env = &consoles.env;
    let why = tokio::select! {
        biased;
        () = ending.begun() => "this control node ends",
        () = consoles.ended(admitted) => "the server is stopped, moved or gone",
        () = env.sleep(SESSION_MAX) => "it was open for too long",
        why = to_viewer(env, to, tunnel.reader) => why,
        why = from_viewer(env, from, tunnel.writer) => why,
    };
    tracing::info!(%server, ?kind, user_id, why, "a console is closed");
}

async fn to_viewer(
    env: &Env,
    mut viewer: SplitSink<WebSocket, Message>,
    mut from: Reader,
) -> &'static str {
    let gone = "the viewer is gone";
    loop {
        let (message, last) = match env.timeout(PING_EVERY, from.next()).await {
            None => (Message::Ping(Bytes::new()), None),
            Some(Ok(Some(bytes))) => (Message::Binary(bytes), None),
            Some(Ok(None)) => (
                close(close_code::NORMAL, "the guest's console has ended"),
                Some("the guest ended it"),
            ),
            Some(Err(error)) => {
                (close(close_code::AWAY, &error.to_string()), Some("its host is lost"))
            }
        };
        match (env.timeout(STALL, viewer.send(message)).await, last) {
            (Some(Ok(())), None) => {}
            (Some(Ok(())), Some(why)) => return why,
            (Some(Err(_)) | None, _) => return gone,
        }
    }
}

fn close(code: u16, reason: &str) -> Message {
    let fits = (0..=reason.len().min(REASON_MAX_BYTES)).rev();
    let end = fits.into_iter().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
    Message::Close(Some(CloseFrame { code, reason: reason[..end].into() }))
}

async fn from_viewer(
    env: &Env,
    mut viewer: SplitStream<WebSocket>,
    mut to: Writer,
) -> &'static str {
    loop {
        let bytes = match env.timeout(SILENCE_MAX, viewer.next()).await {
            None => return "the viewer is silent",
            Some(None | Some(Err(_) | Ok(Message::Close(_)))) => return "the viewer closed it",
            Some(Some(Ok(Message::Binary(bytes)))) => bytes,
            // Viewers of text send it so; a serial line carries bytes.
            Some(Some(Ok(Message::Text(text)))) => text.into(),
            Some(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
        };
        if to.send(bytes).await.is_err() {
            return "its host is lost";
        }
    }
}
