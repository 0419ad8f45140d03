//! `GET /servers/{id}/screenshot`: what a server's screen shows, for whoever may open its console.

use axum::{
    Router,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use updraft_compute::consoles::{Consoles, PictureError};
use updraft_edge::{
    policy::Enforcer,
    rest::{Auth, Service, ServiceError},
};
use updraft_runtime::{bulk::FetchError, policy::Target, rpc::FaultKind};
use uuid::Uuid;

use super::SERVERS_SCREENSHOT;

#[derive(Clone)]
struct Screens {
    enforcer: Enforcer,
    consoles: Consoles,
}

pub(super) fn routes(enforcer: Enforcer, consoles: Consoles) -> Router {
    let screens = Screens { enforcer, consoles };
    Router::new().route("/servers/{id}/screenshot", get(screenshot)).with_state(screens)
}

async fn screenshot(
    State(screens): State<Screens>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<Response, ServiceError> {
    let missing = || Service::Cloud.not_found(format!("Server {id} could not be found."));
    let server = Uuid::try_parse(&id).map_err(|_| missing())?;
    let project_id = screens.consoles.project_of(server).await;
    let project_id = project_id.map_err(|error| Service::Cloud.store_error(&error))?;
    let project_id = project_id.ok_or_else(missing)?;
    let target = Target::new().with("project_id", project_id.as_str());
    if let Err(denied) = screens.enforcer.enforce(&auth, SERVERS_SCREENSHOT, &target) {
        // Nobody hears that another project has it.
        let own = auth.principal.project_id() == Some(&project_id);
        return Err(if own { denied } else { missing() });
    }
    let picture = screens.consoles.picture(server).await.map_err(|error| refused(&id, &error))?;
    let headers = [(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, picture).into_response())
}

fn refused(id: &str, error: &PictureError) -> ServiceError {
    let gone = |error: &PictureError| match error {
        PictureError::Host(FetchError::Call(error)) => {
            error.fault().is_some_and(|fault| fault.kind == FaultKind::NotFound)
        }
        _ => false,
    };
    match error {
        PictureError::Store(error) => Service::Cloud.store_error(error),
        PictureError::NotRunning => {
            Service::Cloud.conflict(format!("Server {id} does not run: it shows nothing."))
        }
        error if gone(error) => {
            Service::Cloud.conflict(format!("Server {id} does not run on its host now."))
        }
        error => {
            tracing::warn!(server = id, %error, "there is no picture of a screen");
            let words = format!("The host of server {id} gives no picture of its screen: {error}");
            Service::Cloud.unavailable(words)
        }
    }
}
