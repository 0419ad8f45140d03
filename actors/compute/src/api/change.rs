//! What every change of a server has in common: may it be, and then one transaction.

use updraft_protocol::compute::Goal;
use updraft_runtime::{
    rpc::TraceContext,
    store::{StoreError, Txn},
};

use super::call::Call;
use crate::{
    actions,
    error::{Error, Outcome, conflict},
    rows::{Action, ActionKind, ServerRow, VmState},
    servers, view,
};

/// A change, as far as it is allowed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Delete,
    Stop,
    Start,
    SoftReboot,
    HardReboot,
    Resize,
    ConfirmResize,
    RevertResize,
    Migrate,
    Evacuate,
    AttachVolume,
    DetachVolume,
    /// Of metadata or tags; the rule of the policy says which, and what.
    Describe(&'static str),
    ConsoleOutput,
    RemoteConsole,
    ResetState,
    Lock,
    Unlock,
}

/// When a change is allowed.
struct Rule {
    /// Nova's name of it.
    name: &'static str,
    /// The rule of the policy.
    policy: &'static str,
    /// The states in which it is allowed; `None` is any.
    states: Option<&'static [VmState]>,
    /// Whether nothing else may be going on, but for these tasks.
    idle: Option<&'static [&'static str]>,
    /// Whether the guest must have run once.
    launched: bool,
    /// Whether there must be a host.
    placed: bool,
    /// Whether a lock stands in the way.
    lockable: bool,
}

impl Rule {
    /// A change of an idle, unlocked server on a host.
    const fn of(name: &'static str, policy: &'static str, states: &'static [VmState]) -> Self {
        Self {
            name,
            policy,
            states: Some(states),
            idle: Some(&[]),
            launched: true,
            placed: true,
            lockable: true,
        }
    }

    /// A change that is allowed at any time.
    const fn any(name: &'static str, policy: &'static str) -> Self {
        Self {
            states: None,
            idle: None,
            launched: false,
            placed: false,
            ..Self::of(name, policy, &[])
        }
    }
}

impl Verb {
    /// Nova's table of what is allowed when.
    fn rule(self) -> Rule {
        use VmState::{Active, Error, Resized, Stopped};
        match self {
            Self::Delete => Rule::any("delete", "servers:delete"),
            Self::Stop => Rule::of("stop", "servers:stop", &[Active, Error]),
            Self::Start => Rule::of("start", "servers:start", &[Stopped]),
            Self::SoftReboot => Rule::of("reboot", "servers:reboot", &[Active]),
            Self::HardReboot => Rule {
                idle: Some(&["rebooting", "rebooting_hard"]),
                ..Rule::of("reboot", "servers:reboot", &[Active, Stopped, Error])
            },
            Self::Resize => Rule::of("resize", "servers:resize", &[Active, Stopped]),
            Self::ConfirmResize => Rule::of("confirmResize", "servers:confirm_resize", &[Resized]),
            Self::RevertResize => Rule::of("revertResize", "servers:revert_resize", &[Resized]),
            Self::Migrate => Rule::of("migrate", "os-migrate-server:migrate", &[Active, Stopped]),
            Self::Evacuate => Rule {
                // What was under way on the host that is down does not end there.
                idle: Some(&[
                    "powering-off",
                    "powering-on",
                    "rebooting",
                    "rebooting_hard",
                    "resize_prep",
                    "resize_finish",
                ]),
                lockable: false,
                ..Rule::of("evacuate", "os-evacuate", &[Active, Stopped, Error])
            },
            Self::AttachVolume => Rule::of(
                "attach_volume",
                "os-volumes-attachments:create",
                &[Active, Stopped, Resized],
            ),
            Self::DetachVolume => Rule::of(
                "detach_volume",
                "os-volumes-attachments:delete",
                &[Active, Stopped, Resized],
            ),
            Self::Describe(policy) => Rule {
                idle: None,
                launched: false,
                placed: false,
                ..Rule::of("update metadata", policy, &[Active, Stopped])
            },
            Self::ConsoleOutput => Rule {
                placed: true,
                lockable: false,
                ..Rule::any("get_console_output", "os-console-output")
            },
            Self::RemoteConsole => Rule {
                launched: true,
                placed: true,
                lockable: false,
                ..Rule::any("get_remote_console", "os-remote-consoles")
            },
            Self::ResetState => Rule {
                placed: true,
                lockable: false,
                ..Rule::any("resetState", "os-admin-actions:reset_state")
            },
            Self::Lock => Rule { lockable: false, ..Rule::any("lock", "os-lock-server:lock") },
            Self::Unlock => {
                Rule { lockable: false, ..Rule::any("unlock", "os-lock-server:unlock") }
            }
        }
    }
}

/// The server, if the caller may do this with it now.
pub(crate) fn allowed(call: &Call, txn: &Txn, id: &str, verb: Verb) -> Outcome<ServerRow> {
    let rule = verb.rule();
    let row = call.server(txn, id, rule.policy)?;
    check(&row, &rule, call.is_admin())?;
    Ok(row)
}

/// Nova's checks in nova's order: the lock, the host, the states.
fn check(row: &ServerRow, rule: &Rule, admin: bool) -> Outcome<()> {
    if rule.lockable && row.locked.is_some() && !admin {
        return Err(conflict(format!("Instance {} is locked", row.id)));
    }
    if rule.placed && row.placement.is_none() && row.state != VmState::Building {
        return Err(not_ready(row));
    }
    let state = view::state(row);
    if rule.states.is_some_and(|states| !states.contains(&row.state)) {
        return Err(wrong_state(row, rule, "vm_state", state.vm_state));
    }
    if let (Some(allowed), Some(task)) = (rule.idle, state.task_state)
        && !allowed.contains(&task)
    {
        return Err(wrong_state(row, rule, "task_state", task));
    }
    if rule.launched && row.launched.is_none() {
        return Err(conflict(format!(
            "Instance {} is in an invalid state for '{}'",
            row.id, rule.name
        )));
    }
    if rule.placed && row.placement.is_none() {
        return Err(not_ready(row));
    }
    Ok(())
}

fn not_ready(row: &ServerRow) -> Error {
    conflict(format!("Instance {} is not ready", row.id))
}

fn wrong_state(row: &ServerRow, rule: &Rule, attribute: &str, state: &str) -> Error {
    conflict(format!(
        "Cannot '{}' instance {} while it is in {attribute} {state}",
        rule.name, row.id
    ))
}

/// Begins something that takes time: checks, changes the want and notes the action in one transaction.
/// Returns the row as it then is.
pub(crate) async fn begin(
    call: &Call,
    id: &str,
    verb: Verb,
    kind: ActionKind,
    trace: TraceContext,
    act: impl Fn(&mut Txn, &mut ServerRow) -> Outcome<()>,
) -> Outcome<ServerRow> {
    let store = &call.api.context.store;
    let now = call.api.context.env.wall();
    let action = Action { kind, request_id: call.auth.request_id.to_string() };
    let begun: Outcome<ServerRow> = store
        .transact(|txn| {
            let old = allowed(call, txn, id, verb)?;
            if old.goal == Goal::Absent {
                // Only a deletion comes here, and one is under way.
                return Ok(old);
            }
            let mut new = old.clone();
            act(txn, &mut new)?;
            want(&mut new, call, &action, trace);
            new.updated = now;
            servers::rewrite(txn, &old, &new, now)?;
            actions::begin(txn, &new, &action, call.user_id(), now)?;
            Ok(new)
        })
        .await;
    let begun = match begun {
        Err(error) if error.is_unknown() => begun_after_all(call, id, &action).await.ok_or(error),
        begun => begun,
    }?;
    call.stored(trace, "compute/server_changed");
    Ok(begun)
}

/// What every action leaves in the row. A deletion's generation is the plan's to raise.
fn want(row: &mut ServerRow, call: &Call, action: &Action, trace: TraceContext) {
    row.action = Some(action.clone());
    row.auth = Some(call.auth_context());
    row.trace = trace;
    row.details.held_in_error = false;
    if action.kind != ActionKind::Delete && row.placement.is_some() {
        row.generation += 1;
        row.fault = None;
    }
}

/// The row, if the action is noted though nobody could say so.
async fn begun_after_all(call: &Call, id: &str, action: &Action) -> Option<ServerRow> {
    let look = |txn: &Txn| {
        let row = txn.get::<ServerRow>(id)?;
        let Some(row) = row else { return Ok(None) };
        let begun = actions::of_request(txn, row.id, &action.request_id)?.is_some();
        Ok::<_, StoreError>(begun.then_some(row))
    };
    call.api.context.store.read(look).await.ok().flatten()
}

/// Changes what takes no time and notes nothing.
pub(crate) async fn at_once<T>(
    call: &Call,
    id: &str,
    verb: Verb,
    act: impl Fn(&mut Txn, &mut ServerRow) -> Outcome<T>,
) -> Outcome<T> {
    let now = call.api.context.env.wall();
    call.api
        .context
        .store
        .transact(|txn| {
            let old = allowed(call, txn, id, verb)?;
            let mut new = old.clone();
            let value = act(txn, &mut new)?;
            if new != old {
                new.updated = now;
                servers::rewrite(txn, &old, &new, now)?;
            }
            Ok(value)
        })
        .await
}
