//! What answers show of every resource.

use serde_json::{Value, json};
use updraft_edge::rest::time::iso_secs_z;

use super::listing::View;
use crate::rows::Standard;

/// A view of these values, with what every resource has. Tags are always none.
pub(crate) fn of(value: Value, project_id: &str, standard: &Standard) -> View {
    let Value::Object(mut view) = value else { return View::new() };
    let common = json!({
        "tenant_id": project_id,
        "project_id": project_id,
        "description": standard.description,
        "created_at": iso_secs_z(standard.created_at),
        "updated_at": iso_secs_z(standard.updated_at),
        "revision_number": standard.revision,
        "tags": [],
    });
    if let Value::Object(common) = common {
        view.extend(common);
    }
    view
}
