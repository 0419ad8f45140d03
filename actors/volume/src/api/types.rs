//! Volume types: there is one.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Value, json};
use updraft_edge::{policy::own, rest::Auth};

use crate::{Shared, error::Error};

/// Its name, as in the real service.
pub(super) const NAME: &str = "__DEFAULT__";
/// Its id.
pub(super) const ID: &str = "5b6c5f5e-7d5c-4c1e-9c80-1f4d2f9f0a01";

fn view(shared: &Shared, auth: &Auth) -> Value {
    let target = own(&auth.principal);
    let admin = shared.is_admin(auth);
    let mut view = json!({
        "id": ID,
        "name": NAME,
        "is_public": true,
        "description": "Default Volume Type",
    });
    if shared.enforcer.allows(auth, "volume_extension:access_types_extra_specs", &target) {
        view["extra_specs"] = json!({});
    }
    if shared.enforcer.allows(auth, "volume_extension:access_types_qos_specs_id", &target) {
        view["qos_specs_id"] = Value::Null;
    }
    if admin {
        view["os-volume-type-access:is_public"] = json!(true);
    }
    view
}

pub(super) async fn index(State(shared): State<Arc<Shared>>, auth: Auth) -> Json<Value> {
    Json(json!({"volume_types": [view(&shared, &auth)]}))
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
) -> Result<Json<Value>, Error> {
    if id == ID || id == "default" {
        return Ok(Json(json!({"volume_type": view(&shared, &auth)})));
    }
    Err(Error::TypeNotFound(id))
}

/// There is no type that a new volume names, in the words for a name or for an id.
pub(super) fn unknown(type_: &str) -> Error {
    match type_.parse::<uuid::Uuid>() {
        Ok(_) => Error::TypeNotFound(type_.to_owned()),
        Err(_) => Error::TypeNotFoundByName(type_.to_owned()),
    }
}
