//! Says of rows that do not settle that they do not, and takes it back.

use super::{Engine, Halt, Outcome};
use crate::{
    rows::{
        Kind,
        alarms::{self, Alarm, Verdict},
    },
    store::{Record, StoreError},
};

/// What may be said of a row whose plan never comes to an end.
const RESTLESS: &str = "its plan to keep it: it rewrites the row again and again";

impl<K: Kind> Engine<K> {
    /// Looks after a plan whether the row has settled, and raises its alarm or takes it back.
    pub(super) async fn watch_over(&self, key: &str, outcome: &Outcome<K>) {
        let settled = match outcome {
            Ok(planned) => planned.as_ref().is_none_or(|planned| !planned.is_waiting()),
            Err(Halt::Unsettled | Halt::Store(StoreError::Corrupt { .. })) => false,
            // Nothing is known of the row.
            Err(Halt::Store(_)) => return,
        };
        let env = &self.shared.env;
        match self.shared.unsettled.look(key, settled, env.now(), env.wall()) {
            Verdict::Quiet => {}
            Verdict::LookAt(at) => self.schedule(key, at),
            Verdict::Tell { since, again } => {
                let waits_for = alarms::shortened(words(outcome));
                self.raise(Alarm { key: key.to_owned(), since, waits_for }).await;
                self.schedule(key, again);
            }
            Verdict::Over => self.take_back(key).await,
        }
    }

    async fn raise(&self, alarm: Alarm) {
        let Alarm { key, since, waits_for } = &alarm;
        let for_s = self.shared.env.wall().since(*since).as_secs();
        tracing::warn!(
            table = K::Row::TABLE,
            key,
            since_us = since.0,
            for_s,
            waits_for,
            "a row does not settle"
        );
        let kept = self.shared.store.transact(|txn| alarms::keep::<K::Row>(txn, &alarm)).await;
        if let Err(error) = &kept {
            tracing::warn!(table = K::Row::TABLE, key, %error, "its alarm is kept later");
        }
        self.shared.unsettled.show(&alarm, kept.unwrap_or_default());
    }

    async fn take_back(&self, key: &str) {
        tracing::info!(table = K::Row::TABLE, key, "the row has settled, or is gone");
        self.shared.unsettled.hide(key);
        let done = self.shared.store.transact(|txn| alarms::take_back::<K::Row>(txn, key)).await;
        if let Err(error) = done {
            // A rescan finds it again.
            tracing::warn!(table = K::Row::TABLE, key, %error, "its alarm is taken back later");
        }
    }

    /// Takes up the alarms that former lives and other nodes have left, and looks at every row that has not settled:
    /// it may be gone, or another node's by now.
    pub(super) async fn take_up_alarms(&self) -> Result<(), StoreError> {
        if !self.shared.unsettled.is_watched() {
            return Ok(());
        }
        let kept = self.shared.store.read(alarms::all::<K::Row>).await?;
        let now = self.shared.env.now();
        for alarm in kept.iter().filter(|alarm| (self.shared.owns)(&alarm.key)) {
            self.shared.unsettled.take_up(alarm, now);
        }
        for key in self.shared.unsettled.keep(|key| (self.shared.owns)(key)) {
            self.wake(&key);
        }
        Ok(())
    }
}

fn words<K: Kind>(outcome: &Outcome<K>) -> String {
    match outcome {
        Ok(planned) => planned.as_ref().map(super::Planned::words).unwrap_or_default(),
        Err(Halt::Unsettled) => RESTLESS.to_owned(),
        Err(Halt::Store(error)) => error.to_string(),
    }
}
