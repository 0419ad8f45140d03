//! Whatever is done, following the feed leads where reading everything leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use updraft_edge::verify::Verifier;
use updraft_protocol::identity::{AuditId, IdentitySnapshot};
use updraft_runtime::{
    Env,
    env::UnixMicros,
    store::{Record, Store},
};

use super::{auth, domains, grants, groups, projects, roles, users};
use crate::{
    error::Error,
    ledger::{self, Change, FEED_KEPT_ENTRIES, change},
    publish::Publisher,
    rows::{
        Actor, DomainRow, Extra, GrantRow, GroupRow, MemberRow, ProjectRow, RevokedRow, RoleRow,
        Target, UserRow,
    },
};

/// How many of each kind there may be: few, so that operations meet.
const SOME: u8 = 4;

#[derive(Clone, Debug)]
enum Op {
    PutDomain(u8, bool),
    RemoveDomain(u8),
    PutProject(u8, u8),
    RemoveProject(u8),
    PutUser(u8, u8, bool),
    RemoveUser(u8),
    PutGroup(u8),
    RemoveGroup(u8),
    Join(u8, u8),
    Leave(u8, u8),
    PutRole(u8, Option<u8>),
    RemoveRole(u8),
    Imply(u8, u8),
    StopImplying(u8, u8),
    Grant(bool, u8, u8, u8),
    Revoke(bool, u8, u8, u8),
    RevokeToken(u8, u8),
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..SOME;
    let two = (n.clone(), n.clone());
    let grant = (any::<bool>(), n.clone(), 0..2 * SOME + 1, n.clone());
    prop_oneof![
        1 => (n.clone(), any::<bool>()).prop_map(|(d, on)| Op::PutDomain(d, on)),
        1 => n.clone().prop_map(Op::RemoveDomain),
        1 => two.clone().prop_map(|(p, d)| Op::PutProject(p, d)),
        1 => n.clone().prop_map(Op::RemoveProject),
        1 => (n.clone(), n.clone(), any::<bool>()).prop_map(|(u, d, on)| Op::PutUser(u, d, on)),
        1 => n.clone().prop_map(Op::RemoveUser),
        1 => n.clone().prop_map(Op::PutGroup),
        1 => n.clone().prop_map(Op::RemoveGroup),
        3 => two.clone().prop_map(|(g, u)| Op::Join(g, u)),
        1 => two.clone().prop_map(|(g, u)| Op::Leave(g, u)),
        3 => (n.clone(), prop::option::of(n.clone())).prop_map(|(r, d)| Op::PutRole(r, d)),
        1 => n.clone().prop_map(Op::RemoveRole),
        3 => two.clone().prop_map(|(a, b)| Op::Imply(a, b)),
        1 => two.clone().prop_map(|(a, b)| Op::StopImplying(a, b)),
        6 => grant.clone().prop_map(|(user, a, place, r)| Op::Grant(user, a, place, r)),
        1 => grant.prop_map(|(user, a, place, r)| Op::Revoke(user, a, place, r)),
        1 => two.prop_map(|(u, n)| Op::RevokeToken(u, n)),
    ]
}

fn id(kind: &str, n: u8) -> String {
    format!("{kind}{n}")
}

fn domain_row(n: u8, enabled: bool) -> DomainRow {
    DomainRow {
        id: id("d", n),
        name: id("domain", n),
        description: None,
        enabled,
        tags: Vec::new(),
        options: Extra::new(),
        revoked_before: None,
        extra: Extra::new(),
    }
}

fn project_row(n: u8, domain: u8) -> ProjectRow {
    ProjectRow {
        id: id("p", n),
        name: id("project", n),
        domain_id: id("d", domain),
        parent_id: id("d", domain),
        description: None,
        enabled: true,
        tags: Vec::new(),
        options: Extra::new(),
        revoked_before: None,
        extra: Extra::new(),
    }
}

fn user_row(n: u8, domain: u8, enabled: bool) -> UserRow {
    UserRow {
        id: id("u", n),
        name: id("user", n),
        domain_id: id("d", domain),
        enabled,
        default_project_id: None,
        password_hash: None,
        options: Extra::new(),
        revoked_before: None,
        extra: Extra::new(),
    }
}

fn grant_row(of_user: bool, actor: u8, place: u8, role: u8) -> GrantRow {
    GrantRow {
        actor: if of_user { Actor::User(id("u", actor)) } else { Actor::Group(id("g", actor)) },
        target: match place {
            n if n < SOME => Target::Project(id("p", n)),
            n if n < 2 * SOME => Target::Domain(id("d", n - SOME)),
            _ => Target::System,
        },
        role_id: id("r", role),
    }
}

fn revoked_row(user: u8, n: u8) -> RevokedRow {
    RevokedRow {
        audit_id: AuditId([n; 16]),
        user_id: id("u", user),
        issued_at: UnixMicros(u64::from(n)),
        revoked_at: UnixMicros(1),
        forget_at: UnixMicros(2),
    }
}

fn all_exist(change: &Change<'_>, row: &GrantRow) -> Result<bool, Error> {
    let actor = match &row.actor {
        Actor::User(id) => change.get::<UserRow>(id)?.is_some(),
        Actor::Group(id) => change.get::<GroupRow>(id)?.is_some(),
    };
    let place = match &row.target {
        Target::Project(id) => change.get::<ProjectRow>(id)?.is_some(),
        Target::Domain(id) => change.get::<DomainRow>(id)?.is_some(),
        Target::System => true,
    };
    Ok(actor && place && change.get::<RoleRow>(&row.role_id)?.is_some())
}

/// Does what the API would do; what it would refuse is left undone.
fn apply(change: &mut Change<'_>, op: &Op) -> Result<(), Error> {
    match *op {
        Op::PutDomain(n, enabled) => change.put(&domain_row(n, enabled))?,
        Op::RemoveDomain(n) => {
            if change.get::<DomainRow>(&id("d", n))?.is_some() {
                change.put(&domain_row(n, false))?;
                domains::remove(change, &id("d", n))?;
            }
        }
        Op::PutProject(n, domain) => change.put(&project_row(n, domain))?,
        Op::RemoveProject(n) => projects::remove(change, &id("p", n))?,
        Op::PutUser(n, domain, enabled) => change.put(&user_row(n, domain, enabled))?,
        Op::RemoveUser(n) => users::remove(change, &id("u", n))?,
        Op::PutGroup(n) => change.put(&GroupRow {
            id: id("g", n),
            name: id("group", n),
            domain_id: id("d", 0),
            description: None,
            extra: Extra::new(),
        })?,
        Op::RemoveGroup(n) => groups::remove(change, &id("g", n))?,
        Op::Join(group, user) => {
            let row = MemberRow { group_id: id("g", group), user_id: id("u", user) };
            let group = change.get::<GroupRow>(&row.group_id)?;
            if group.is_some() && change.get::<UserRow>(&row.user_id)?.is_some() {
                change.put(&row)?;
            }
        }
        Op::Leave(group, user) => {
            let row = MemberRow { group_id: id("g", group), user_id: id("u", user) };
            groups::remove_member(change, &row)?;
        }
        Op::PutRole(..) | Op::RemoveRole(_) | Op::Imply(..) | Op::StopImplying(..) => {
            apply_to_roles(change, op)?;
        }
        Op::Grant(of_user, actor, place, role) => {
            let row = grant_row(of_user, actor, place, role);
            if all_exist(change, &row)? {
                change.put(&row)?;
            }
        }
        Op::Revoke(of_user, actor, place, role) => {
            grants::remove(change, &grant_row(of_user, actor, place, role))?;
        }
        Op::RevokeToken(user, n) => change.put(&revoked_row(user, n))?,
    }
    Ok(())
}

fn apply_to_roles(change: &mut Change<'_>, op: &Op) -> Result<(), Error> {
    match *op {
        Op::PutRole(n, domain) if change.get::<RoleRow>(&id("r", n))?.is_none() => {
            change.put(&RoleRow {
                id: id("r", n),
                name: id("role", n),
                domain_id: domain.map(|n| id("d", n)),
                description: None,
                implies: BTreeSet::new(),
                options: Extra::new(),
                extra: Extra::new(),
            })?;
        }
        Op::RemoveRole(n) => roles::remove(change, &id("r", n))?,
        Op::Imply(prior, implied) => {
            let rows = (
                change.get::<RoleRow>(&id("r", prior))?,
                change.get::<RoleRow>(&id("r", implied))?,
            );
            if let (Some(mut prior), Some(implied)) = rows
                && (prior.domain_id.is_some() || implied.domain_id.is_none())
            {
                prior.implies.insert(implied.id);
                change.put(&prior)?;
            }
        }
        Op::StopImplying(prior, implied) => {
            if let Some(mut row) = change.get::<RoleRow>(&id("r", prior))? {
                row.implies.remove(&id("r", implied));
                change.put(&row)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn publisher(store: &Store) -> Publisher {
    Publisher::new(store.clone(), Arc::new(Verifier::new()))
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn following_the_feed_leads_where_reading_everything_leads(
        ops in prop::collection::vec(op(), 1..60),
        pace in 1_usize..8,
    ) {
        run(async {
            let store = Store::memory(Env::real());
            let close = publisher(&store);
            let mut far = IdentitySnapshot::default();
            for (n, op) in ops.iter().enumerate() {
                change(&store, |change| apply(change, op)).await.expect("committed");
                if n % pace == 0 {
                    close.catch_up().await.expect("read");
                }
                if n % (3 * pace) == 0
                    && let Some(news) = close.changes_since(far.version).await.expect("read")
                {
                    far = news.applied_to(&far);
                }
            }
            let held = close.catch_up().await.expect("read");
            let whole = publisher(&store).catch_up().await.expect("read");
            assert_eq!(held, whole);
            if let Some(news) = close.changes_since(far.version).await.expect("read") {
                far = news.applied_to(&far);
            }
            assert_eq!(far, *whole);
        });
    }
}

#[test]
fn a_role_that_came_back_as_one_of_a_domain_is_followed_as_gone() {
    run(async {
        let store = Store::memory(Env::real());
        let close = publisher(&store);
        let domain = Op::PutDomain(0, true);
        for op in [domain, Op::PutRole(0, None), Op::RemoveRole(0), Op::PutRole(0, Some(0))] {
            change(&store, |change| apply(change, &op)).await.expect("committed");
            if matches!(op, Op::PutRole(_, None)) {
                close.catch_up().await.expect("read");
            }
        }
        let whole = publisher(&store).catch_up().await.expect("read");
        assert_eq!(close.catch_up().await.expect("read"), whole);
    });
}

#[test]
fn whoever_is_further_behind_than_the_feed_reaches_is_sent_everything() {
    run(async {
        let store = Store::memory(Env::real());
        let close = publisher(&store);
        let put = async |n: u8| {
            change(&store, |change| Ok(change.put(&domain_row(n, true))?))
                .await
                .expect("committed");
        };
        put(0).await;
        let early = close.catch_up().await.expect("read").version;
        for _ in 0..2 * FEED_KEPT_ENTRIES {
            put(1).await;
        }
        ledger::trim(&store).await.expect("trimmed");
        let left = store.log_read(ledger::FEED, 0, usize::MAX).await.expect("read");
        let oldest = left.first().expect("some are kept").sequence;
        assert!(oldest > early);
        let held = close.catch_up().await.expect("read");
        let news = close.changes_since(early).await.expect("read").expect("there is news");
        assert!(news.whole);
        assert_eq!(news.applied_to(&IdentitySnapshot::default()), *held);
        let news = close.changes_since(oldest).await.expect("read").expect("there is news");
        assert!(!news.whole);
        ledger::trim(&store).await.expect("trimmed");
        let again = store.log_read(ledger::FEED, 0, usize::MAX).await.expect("read");
        assert_eq!(again.first().map(|entry| entry.sequence), Some(oldest), "nothing more to trim");
    });
}

#[test]
fn a_group_of_any_size_may_be_given_a_role() {
    run(async {
        let store = Store::memory(Env::real());
        let close = publisher(&store);
        change(&store, |change| apply(change, &Op::PutGroup(0))).await.expect("committed");
        change(&store, |change| apply(change, &Op::PutRole(0, None))).await.expect("committed");
        close.catch_up().await.expect("read");
        for part in 0..5 {
            change(&store, |change| {
                (0..2_000).try_for_each(|n| {
                    let user_id = format!("{part}-{n}");
                    let row = UserRow { name: user_id.clone(), ..user_row(0, 0, true) };
                    change.put(&UserRow { id: user_id.clone(), ..row })?;
                    Ok(change.put(&MemberRow { group_id: id("g", 0), user_id })?)
                })
            })
            .await
            .expect("committed");
        }
        close.catch_up().await.expect("read");
        let grant = grant_row(false, 0, 2 * SOME, 0);
        change(&store, |change| Ok(change.put(&grant)?)).await.expect("committed");
        let held = close.catch_up().await.expect("read");
        assert_eq!(held.assignments.len(), 10_000);
        assert!(held.assignments["4-1999"].system.contains("r0"));
    });
}

#[test]
fn too_many_revocations_of_one_user_become_a_date_that_covers_the_older_half() {
    run(async {
        let store = Store::memory(Env::real());
        let row = |n: u32| {
            let mut audit_id = [0; 16];
            audit_id[..4].copy_from_slice(&n.to_be_bytes());
            let issued_at = UnixMicros(u64::from(n) * 1_000_000);
            RevokedRow { audit_id: AuditId(audit_id), issued_at, ..revoked_row(0, 0) }
        };
        let most = u32::try_from(auth::REVOKED_PER_USER_MAX).expect("small");
        change(&store, |change| {
            change.put(&user_row(0, 0, true))?;
            (0..most).try_for_each(|n| Ok(change.put(&row(n))?))
        })
        .await
        .expect("committed");
        let revoke = async |n: u32| {
            change(&store, |change| {
                change.put(&row(n))?;
                auth::bound(change, &id("u", 0))
            })
            .await
            .expect("committed");
            let held = publisher(&store).catch_up().await.expect("read");
            let before = held.users[&id("u", 0)].revoked_before;
            (held.revocations.audit_ids.clone(), before)
        };
        change(&store, |change| change.delete::<RevokedRow>(&row(0).key()).map_err(Error::from))
            .await
            .expect("committed");
        let (left, before) = revoke(most).await;
        assert_eq!((left.len(), before), (auth::REVOKED_PER_USER_MAX, None));
        let (left, before): (BTreeMap<_, _>, _) = revoke(most + 1).await;
        assert_eq!(left.len(), auth::REVOKED_PER_USER_MAX / 2 + 1);
        let oldest_left =
            left.keys().map(|id| u32::from_be_bytes([id.0[0], id.0[1], id.0[2], id.0[3]]));
        let oldest_left = oldest_left.min().expect("some are left");
        assert_eq!(before, Some(row(oldest_left - 1).issued_at), "no revoked token slips through");
    });
}
