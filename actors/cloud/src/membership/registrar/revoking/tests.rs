//! Who is removed, what that ends, and what it leaves free.

use updraft_runtime::{Env, store::Store};
use updraft_transport::{
    Incarnation,
    join::{Applicant, JoinToken},
    key::NodeKey,
};

use super::*;
use crate::membership::registrar::tests::{applicant, key, registrar_of, registrar_on, wish};

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

async fn token(registrar: &Registrar, name: Option<&str>) -> JoinToken {
    registrar.invite(super::super::Wish { node: name.map(id), ..wish() }).await.unwrap()
}

async fn join(registrar: &Registrar, name: &str, key: &NodeKey) -> Result<Incarnation, Refusal> {
    let token = token(registrar, None).await;
    Ok(registrar.admit(&applicant(&token, name, key)).await?.former)
}

fn cloud() -> (Store, Registrar) {
    let store = Store::memory(Env::real());
    (store.clone(), registrar_on(&store))
}

#[tokio::test]
async fn a_key_that_was_revoked_is_neither_renewed_nor_admitted_under_any_name() {
    let (store, registrar) = cloud();
    let used = token(&registrar, None).await;
    let first: Applicant = applicant(&used, "host-1", &key(2));
    registrar.admit(&first).await.unwrap();
    let removal = registrar.remove(&id("host-1"), "u1").await.unwrap();
    assert_eq!((removal.key, removal.by), (hex(&key(2)), "u1".to_owned()));
    let registrar = registrar_on(&store);
    assert!(matches!(registrar.renew(&id("host-1")).await, Err(Refusal::Revoked(_))));
    assert!(matches!(registrar.admit(&first).await, Err(Refusal::Revoked(_))), "the answer again");
    for name in ["host-1", "host-2"] {
        let verdict = join(&registrar, name, &key(2)).await;
        assert!(matches!(verdict, Err(Refusal::Revoked(by)) if by == id("host-1")), "{name}");
    }
}

fn hex(key: &NodeKey) -> String {
    crate::membership::key_text(&key.public())
}

#[tokio::test]
async fn a_name_is_given_again_and_its_starts_are_counted_above_the_former_ones() {
    let (_, registrar) = cloud();
    assert_eq!(join(&registrar, "host-1", &key(2)).await.unwrap(), Incarnation(0));
    registrar.remove(&id("host-1"), "u1").await.unwrap();
    assert_eq!(join(&registrar, "host-1", &key(3)).await.unwrap(), Incarnation(1 << 32));
    assert!(registrar.renew(&id("host-1")).await.is_ok());
    let revoked = registrar.revoked().await.unwrap();
    assert_eq!(revoked.keys, [key(2).public()].into());
    registrar.remove(&id("host-1"), "u1").await.unwrap();
    assert_eq!(join(&registrar, "host-1", &key(4)).await.unwrap(), Incarnation(2 << 32));
}

#[tokio::test]
async fn tokens_for_the_name_die_with_its_node_and_others_do_not() {
    let (_, registrar) = cloud();
    join(&registrar, "host-1", &key(2)).await.unwrap();
    let (bound, free) = (token(&registrar, Some("host-1")).await, token(&registrar, None).await);
    registrar.remove(&id("host-1"), "u1").await.unwrap();
    let verdict = registrar.admit(&applicant(&bound, "host-1", &key(3))).await;
    assert!(matches!(verdict, Err(Refusal::UnknownToken)));
    assert!(registrar.admit(&applicant(&free, "host-1", &key(3))).await.is_ok());
}

#[tokio::test]
async fn tokens_that_a_control_node_gave_out_die_with_it_and_others_do_not() {
    let (store, registrar) = cloud();
    let second = registrar_of("control-2", &store);
    second.enter(&key(9).public(), false).await.unwrap();
    let (its, other) = (token(&second, None).await, token(&registrar, None).await);
    registrar.remove(&id("control-2"), "u1").await.unwrap();
    let verdict = registrar.admit(&applicant(&its, "host-1", &key(3))).await;
    assert!(matches!(verdict, Err(Refusal::UnknownToken)));
    assert!(registrar.admit(&applicant(&other, "host-1", &key(3))).await.is_ok());
}

#[tokio::test]
async fn who_is_unknown_or_gone_or_the_control_host_itself_is_not_removed() {
    let (_, registrar) = cloud();
    let refused = async |name: &str| registrar.remove(&id(name), "u1").await.unwrap_err();
    assert!(matches!(refused("host-1").await, Refusal::UnknownNode(_)));
    assert!(matches!(refused("control-1").await, Refusal::Own(_)));
    join(&registrar, "host-1", &key(2)).await.unwrap();
    registrar.remove(&id("host-1"), "u1").await.unwrap();
    let said = refused("host-1").await.to_string();
    assert!(said.starts_with("node host-1 was removed already, at 20"), "{said}");
}

#[tokio::test]
async fn every_removal_has_a_later_version_also_where_the_clock_does_not_move() {
    let (store, registrar) = cloud();
    for number in 2..6 {
        join(&registrar, &format!("host-{number}"), &key(number)).await.unwrap();
    }
    let (ahead, rows) = (Env::real().wall().plus(TOLD_FOR), store.scoped("membership/"));
    registrar.remove(&id("host-2"), "u1").await.unwrap();
    let later = |txn: &mut Txn| {
        let mut row = txn.get::<NodeRow>("host-2")?.unwrap();
        row.removals[0].at = ahead;
        txn.put(&row)
    };
    rows.transact(later).await.unwrap();
    for (number, left) in [(3, 2), (4, 3), (5, 4)] {
        let before = registrar.revoked().await.unwrap();
        registrar.remove(&id(&format!("host-{number}")), "u1").await.unwrap();
        let after = registrar.revoked().await.unwrap();
        assert!(after.version > before.version && after.keys.len() == left);
    }
}

#[test]
fn nodes_are_told_of_a_key_until_its_last_certificate_has_ended() {
    let removal =
        |seed, at| Removal { key: hex(&key(seed)), at: UnixMicros(at), by: String::new() };
    let row = NodeRow {
        node: id("host-1"),
        key: hex(&key(4)),
        roles: Vec::new(),
        joined: UnixMicros(3),
        removals: vec![removal(2, 1), removal(3, 2)],
    };
    let at =
        |micros| revoked(std::slice::from_ref(&row), UnixMicros(1).plus(TOLD_FOR).plus(micros));
    let (before, after) = (at(Duration::ZERO), at(Duration::from_secs(1)));
    assert_eq!((before.version, before.keys), (2, [key(3).public()].into()));
    assert_eq!((after.version, after.keys.len()), (2, 0), "the version does not go back");
}
