//! Agents on hosts: noted when the directory names them, and whether they live.

use std::{collections::BTreeMap, time::Duration};

use updraft_runtime::{
    Env,
    directory::{DEAD_AFTER, Heard, Member, News},
    env::UnixMicros,
    rpc::{Rpc, Topic},
    transport::NodeId,
};

use crate::{
    error::Outcome,
    rows::{AgentKind, AgentRow, TunnelRow},
    work::{Core, Work},
};

/// How soon an agent that was silent is noted once it is heard again: as often as agents report in neutron.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What the directory says of an agent now.
pub(crate) struct Pulse {
    pub(crate) alive: bool,
    /// When it was last heard of; for one that the directory has forgotten, when its node started.
    pub(crate) heard: UnixMicros,
}

/// What the directory says of this agent.
pub(crate) fn pulse(rpc: &Rpc, env: &Env, row: &AgentRow) -> Pulse {
    let Some(heard) = found(rpc, row) else {
        return Pulse { alive: false, heard: row.started_at };
    };
    let age_ms = age_ms(rpc, &heard);
    let at = UnixMicros(env.wall().0.saturating_sub(age_ms.saturating_mul(1_000)));
    Pulse { alive: is_alive(rpc, &heard), heard: at }
}

/// The node of an agent, if the directory knows that it has one.
fn found(rpc: &Rpc, row: &AgentRow) -> Option<Heard> {
    let heard = NodeId::new(&row.host).ok().and_then(|host| rpc.directory().member(&host))?;
    heard.member.topics.contains(&Topic::new(row.kind.topic())).then_some(heard)
}

/// How long ago a node was heard; this one is heard all the time.
fn age_ms(rpc: &Rpc, heard: &Heard) -> u64 {
    if heard.member.node == *rpc.local() { 0 } else { heard.age_ms }
}

fn is_alive(rpc: &Rpc, heard: &Heard) -> bool {
    u128::from(age_ms(rpc, heard)) < DEAD_AFTER.as_millis()
}

/// Notes every agent that the directory names, now and whenever somebody joins or starts anew.
pub(crate) async fn note_forever(core: Core, rpc: Rpc) {
    let mut changes = rpc.directory().changes();
    let mut noted = News::default();
    loop {
        changes.mark_seen();
        let (members, until) = rpc.directory().news(noted);
        // Who is silent is told of too, and may be one that an operator has deleted; when it is heard again, that is news.
        let live = |member: &&Member| rpc.directory().is_live(&member.node);
        if let Err(error) = note(&core, members.iter().filter(live)).await {
            tracing::warn!(%error, "agents were not noted");
            core.env.sleep(Duration::from_secs(1)).await;
            continue;
        }
        noted = until;
        if members.is_empty() {
            // That somebody is heard again wakes nobody.
            core.env.timeout(LOOK_AGAIN, changes.changed()).await;
        }
    }
}

/// Notes an agent anew whose row was just deleted, if it runs: what operators had said of it is forgotten.
pub(crate) fn note_what_runs(work: &mut Work<'_>, rpc: &Rpc, deleted: &AgentRow) -> Outcome<()> {
    match found(rpc, deleted).filter(|heard| is_alive(rpc, heard)) {
        Some(Heard { member, .. }) => {
            note_one(work, deleted.kind, &deleted.host, member.incarnation.0)
        }
        None if deleted.kind == AgentKind::L2 => {
            // It says so again as soon as it reaches a control node.
            Ok(work.txn.delete::<TunnelRow>(&deleted.host).map(drop)?)
        }
        None => Ok(()),
    }
}

async fn note(core: &Core, members: impl Iterator<Item = &Member>) -> Outcome<()> {
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
