//! Alarms in the store, each beside the rows of its kind.

use serde_json::json;

use super::{Alarm, SETTLED, UNSETTLED};
use crate::{
    notify::Notice,
    store::{Record, StoreError, Txn, key_under},
};

/// The prefix of the alarms of this kind of rows.
fn alarms_of<R: Record>() -> String {
    let (service, kind) = R::TABLE.split_once('/').unwrap_or((R::TABLE, ""));
    format!("{service}/~alarm/{kind}/")
}

/// Keeps an alarm; says whether there was none. Subscribers are told of a new one.
pub(in crate::rows) fn keep<R: Record>(txn: &mut Txn, alarm: &Alarm) -> Result<bool, StoreError> {
    let stored_under = key_under(&alarms_of::<R>(), &alarm.key);
    let known = txn.get_raw(&stored_under)?;
    let value = serde_json::to_vec(alarm).unwrap_or_default();
    if known.as_ref().is_none_or(|entry| *entry.value != *value) {
        txn.put_raw(&stored_under, value.into())?;
    }
    if known.is_none() {
        txn.tell::<R>(vec![notice::<R>(UNSETTLED, alarm)])?;
    }
    Ok(known.is_none())
}

/// Takes an alarm back; says whether there was one.
pub(in crate::rows) fn take_back<R: Record>(txn: &mut Txn, key: &str) -> Result<bool, StoreError> {
    let stored_under = key_under(&alarms_of::<R>(), key);
    let Some(entry) = txn.get_raw(&stored_under)? else { return Ok(false) };
    txn.delete_raw(&stored_under)?;
    if let Ok(alarm) = serde_json::from_slice::<Alarm>(&entry.value) {
        txn.tell::<R>(vec![notice::<R>(SETTLED, &alarm)])?;
    }
    Ok(true)
}

/// The alarms that are kept. One that cannot be read is as good as none.
pub(in crate::rows) fn all<R: Record>(txn: &Txn) -> Result<Vec<Alarm>, StoreError> {
    let found = txn.scan_raw(&alarms_of::<R>(), None, usize::MAX)?;
    Ok(found.iter().filter_map(|(_, entry)| serde_json::from_slice(&entry.value).ok()).collect())
}

fn notice<R: Record>(event: &str, alarm: &Alarm) -> Notice {
    Notice {
        event: event.to_owned(),
        object: alarm.key.clone(),
        // It is the operator's business why a row does not settle.
        project: None,
        publisher: "rows".to_owned(),
        payload: json!({
            "table": R::TABLE,
            "key": alarm.key,
            "since_us": alarm.since,
            "waits_for": alarm.waits_for,
        }),
    }
}
