//! What browsers reach: pages, and the WebSocket by which bytes pass.
//!
//! No token of identity is asked for here: the console's own token is. A browser sends a page's origin with a
//! WebSocket, and only pages of this cloud may open one.

use axum::{
    Router,
    extract::{Path, Query, State, ws::WebSocketUpgrade},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use updraft_edge::listener::Ending;

use super::{Consoles, Denied, pages, session};

/// Largest message of a viewer, in bytes: what a person pastes.
const MESSAGE_MAX_BYTES: usize = 256 * 1024;

/// What waits for a viewer that does not read, in bytes; then the guest waits.
const WAITING_MAX_BYTES: usize = 1024 * 1024;

impl Consoles {
    /// The routes below `/console`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/ws", get(connect))
            .route("/novnc/{*path}", get(page))
            .with_state(self.clone())
    }

    /// Whether a page of this origin may open a console. Who is no browser has none, and has a token all the same.
    fn is_own_page(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let host = |url: &str| url.split_once("://").map(|(_, host)| host.to_owned());
        let from = origin.to_str().ok().and_then(host);
        let here = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let named = self.config.url.as_deref().and_then(host);
        let is = |known: &str| from.as_deref().is_some_and(|from| from.eq_ignore_ascii_case(known));
        here.is_some_and(is) || named.as_deref().is_some_and(is)
    }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    token: String,
}

async fn page(State(consoles): State<Consoles>, Path(path): Path<String>) -> Response {
    pages::serve(&consoles.env, &consoles.config.novnc_dir, &path).await
}

/// GET /console/ws?token=...
async fn connect(
    State(consoles): State<Consoles>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    ending: Ending,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    if !consoles.is_own_page(&headers) {
        let words = "A console is opened by pages of this cloud only.\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    let admitted = match consoles.admit(&asked.token).await {
        Ok(admitted) => admitted,
        Err(error @ Denied::Token) => return said(StatusCode::FORBIDDEN, &error),
        Err(error) => return said(StatusCode::SERVICE_UNAVAILABLE, &error),
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(refused) => return refused.into_response(),
    };
    let Ok(place) = consoles.sessions.take(&admitted.server) else {
        let words = "As many consoles are open as may be: close one.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, words).into_response();
    };
    let tunnel = match consoles.open(&admitted).await {
        Ok(tunnel) => tunnel,
        Err(error) => {
            tracing::warn!(server = %admitted.server, %error, "a console cannot be opened");
            return said(StatusCode::SERVICE_UNAVAILABLE, &error);
        }
    };
    upgrade
        .protocols(["binary"])
        .max_message_size(MESSAGE_MAX_BYTES)
        .max_frame_size(MESSAGE_MAX_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WAITING_MAX_BYTES)
        .on_upgrade(move |socket| async move {
            session::run(&consoles, &admitted, socket, tunnel, ending).await;
            drop(place);
        })
}

fn said(status: StatusCode, error: &dyn std::fmt::Display) -> Response {
    (status, format!("{error}\n")).into_response()
}
