//! Agents on hosts: noted when the directory names them, and whether they live.

use std::collections::BTreeMap;

use updraft_runtime::{
    Env,
    directory::{DEAD_AFTER, Member, News},
    env::UnixMicros,
    rpc::{Rpc, Topic},
    transport::NodeId,
};

use crate::{
    error::Outcome,
    rows::{AgentKind, AgentRow},
    work::{Core, Work},
};

/// What the directory says of an agent now.
pub(crate) struct Pulse {
    pub(crate) alive: bool,
    /// When it was last heard of; for one that the directory has forgotten, when its node started.
    pub(crate) heard: UnixMicros,
}

/// What the directory says of this agent.
pub(crate) fn pulse(rpc: &Rpc, env: &Env, row: &AgentRow) -> Pulse {
    let topic = Topic::new(row.kind.topic());
    let found = NodeId::new(&row.host).ok().and_then(|host| rpc.directory().member(&host));
    let Some(heard) = found.filter(|heard| heard.member.topics.contains(&topic)) else {
        return Pulse { alive: false, heard: row.started_at };
    };
    let here = heard.member.node == *rpc.local();
    let age_ms = if here { 0 } else { heard.age_ms };
    let at = UnixMicros(env.wall().0.saturating_sub(age_ms.saturating_mul(1_000)));
    Pulse { alive: here || u128::from(age_ms) < DEAD_AFTER.as_millis(), heard: at }
}

/// Notes every agent that the directory names, now and whenever somebody joins or starts anew.
pub(crate) async fn note_forever(core: Core, rpc: Rpc) {
    let mut changes = rpc.directory().changes();
    let mut noted = News::default();
    loop {
        changes.mark_unchanged();
        let (members, until) = rpc.directory().news(noted);
        if let Err(error) = note(&core, &members).await {
            tracing::warn!(%error, "agents were not noted");
            core.env.sleep(std::time::Duration::from_secs(1)).await;
            continue;
        }
        noted = until;
        if members.is_empty() && changes.changed().await.is_err() {
            return;
        }
    }
}

async fn note(core: &Core, members: &[Member]) -> Outcome<()> {
    let mut named: BTreeMap<(AgentKind, String), u64> = BTreeMap::new();
    for member in members {
        for kind in AgentKind::ALL {
            if member.topics.contains(&Topic::new(kind.topic())) {
                named.insert((kind, member.node.to_string()), member.incarnation.0);
            }
        }
    }
    if named.is_empty() {
        return Ok(());
    }
    core.transact(Default::default(), |work| {
        named
            .iter()
            .try_for_each(|((kind, host), incarnation)| note_one(work, *kind, host, *incarnation))
    })
    .await
}

fn note_one(work: &mut Work<'_>, kind: AgentKind, host: &str, incarnation: u64) -> Outcome<()> {
    let id = AgentRow::id_of(kind, host);
    let row = match work.txn.get::<AgentRow>(&id.to_string())? {
        Some(known) if known.incarnation >= incarnation => return Ok(()),
        Some(known) => AgentRow { started_at: work.now, incarnation, ..known },
        None => AgentRow {
            id,
            kind,
            host: host.to_owned(),
            created_at: work.now,
            started_at: work.now,
            incarnation,
            admin_state_up: true,
            description: None,
        },
    };
    Ok(work.txn.put(&row)?)
}
