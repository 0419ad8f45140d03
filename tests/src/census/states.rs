//! How rows change in the course of a run, for those who look at it afterwards.

use std::time::Duration;

use serde_json::Value;
use updraft_harness::{record::Recorder, world::World};
use updraft_runtime::store::{Store, StoreError};

use super::read::{by_key, look};

/// How often it is looked.
const LOOKS: Duration = Duration::from_millis(10);

/// What the rows of each table are called, and the fields that say what state one is in.
const TABLES: [(&str, &str, &[&str]); 6] = [
    ("server", "compute/server/", &["state", "action", "goal", "placement"]),
    ("volume", "volume/volume/", &["state", "status", "goal", "attachment"]),
    ("snapshot", "volume/snapshot/", &["state", "status", "goal"]),
    ("port", "network/port/", &["status", "state", "goal", "binding_host"]),
    ("network", "network/network/", &["status", "goal"]),
    ("image", "image/image/", &["status", "goal"]),
];

/// Has a world whose record keeps everything tell how the rows of its database change. It takes the world's watch.
pub fn tell_of_rows(world: &mut World, database: impl Fn() -> Option<Store> + 'static) {
    if !world.recorder().keeps_everything() {
        return;
    }
    let mut next = Duration::ZERO;
    world.watch(move |world| {
        let Some(database) = database().filter(|_| world.now() >= next) else { return };
        next = world.now() + LOOKS;
        tell(world.recorder(), &database);
    });
}

fn tell(recorder: &Recorder, database: &Store) {
    let read = look(database, |txn| {
        for (kind, table, fields) in TABLES {
            let rows = by_key::<Value>(txn, table)?;
            recorder.rows(kind, rows.iter().map(|(id, row)| (id.clone(), state(row, fields))));
        }
        Ok(())
    });
    match read {
        // On tier 3 it is away while its node or its disk is.
        Ok(()) | Err(StoreError::Unavailable(_) | StoreError::NoSpace(_)) => {}
        Err(error) => panic!("the database is not read: {error}"),
    }
}

/// What these fields of a row say, as far as it has them.
fn state(row: &Value, fields: &[&str]) -> String {
    let said = fields.iter().filter_map(|field| match &row[*field] {
        Value::Null => None,
        Value::String(text) if text == "Present" => None,
        Value::String(text) if text == "Absent" => Some("shall go".to_owned()),
        Value::String(text) => Some(text.clone()),
        Value::Object(object) => match (object.get("host"), object.get("kind")) {
            (Some(Value::String(host)), _) => Some(format!("on {host}")),
            (_, Some(Value::String(kind))) => Some(kind.clone()),
            _ => None,
        },
        other => Some(other.to_string()),
    });
    let said = said.collect::<Vec<_>>().join(", ");
    if said.is_empty() { "there".to_owned() } else { said }
}
