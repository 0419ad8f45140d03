//! Has one server leave a host that is emptied.

use updraft_runtime::{
    env::UnixMicros,
    store::{StoreError, Txn},
};
use uuid::Uuid;

use super::{DrainRow, Drains, Learned, State, here};
use crate::{
    actions,
    plan::{self, why_not_anew},
    rows::{Action, ActionKind, HostRow, Resize, ResizePhase, ServerRow},
    scheduler::reasons,
    servers,
};

impl Drains {
    pub(super) async fn begin(&self, drain: &DrainRow, server: Uuid) -> Option<Learned> {
        let now = self.store.env().wall();
        let begun = self.store.transact(|txn| self.leave(txn, drain, server, now)).await;
        match begun {
            Ok(learned) => learned,
            Err(error) => {
                tracing::info!(%server, host = drain.host, %error, "moved away later");
                None
            }
        }
    }

    /// What was learnt; nothing if there is nothing to do any more.
    fn leave(
        &self,
        txn: &mut Txn,
        drain: &DrainRow,
        server: Uuid,
        now: UnixMicros,
    ) -> Result<Option<Learned>, StoreError> {
        let Some(old) = txn.get::<ServerRow>(&server.to_string())? else { return Ok(None) };
        let host = txn.get::<HostRow>(&drain.host)?;
        let is_here = old.placement.as_ref().is_some_and(|placed| placed.host == drain.host);
        let wanted = txn.get::<DrainRow>(&drain.host)?.is_some();
        if !wanted || !is_here || here(&old, &drain.host).state != State::Movable {
            return Ok(None);
        }
        let (kind, next) = match host.is_some_and(|host| host.forced_down) {
            true => (ActionKind::Evacuate, made_anew(&old)),
            false => (ActionKind::Migrate, moved(&old)),
        };
        let stuck = |why: String| Ok(Some(Learned::Stuck(server, why)));
        let Some(auth) = drain.auth.clone() else {
            return stuck("it came after the host was empty: drain the host again".to_owned());
        };
        let next = match next {
            Ok(next) => next,
            Err(why) => return stuck(why),
        };
        if let Some(refusals) = self.judge.refusals(txn, &next)? {
            return stuck(format!("No valid host was found. {}", reasons(&refusals)));
        }
        let action = Action { kind, request_id: auth.request_id.clone() };
        let next = ServerRow {
            action: Some(action.clone()),
            auth: Some(auth.clone()),
            trace: drain.trace,
            generation: next.generation + 1,
            fault: None,
            updated: now,
            ..next
        };
        servers::rewrite(txn, &old, &next, now)?;
        actions::begin(txn, &next, &action, &auth.principal.user.id, now)?;
        Ok(Some(Learned::Begun(server)))
    }
}

/// The server as it leaves with its disk, and stays where it is then though nobody confirms it.
fn moved(row: &ServerRow) -> Result<ServerRow, String> {
    let (old_flavor, old_state) = (row.flavor.clone(), row.state);
    let resize = Some(Resize { old_flavor, old_state, phase: ResizePhase::Resizing });
    let sized = ServerRow { resize, ..row.clone() };
    let mut next = plan::leaving(&sized, None).ok_or("it has no host")?;
    if let Some(migration) = &mut next.migration {
        migration.unasked = true;
    }
    Ok(next)
}

/// The server as it is taken from a host that is down.
fn made_anew(row: &ServerRow) -> Result<ServerRow, String> {
    match why_not_anew(row) {
        Some(why) => Err(why),
        None => Ok(plan::taken_from(row, None)),
    }
}
