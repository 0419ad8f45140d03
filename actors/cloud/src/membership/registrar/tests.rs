//! Who is admitted, how often, and under which name.

use super::*;
use updraft_transport::key::NodeKey;

const HOUR: Duration = Duration::from_secs(3_600);

pub(super) fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32]).unwrap()
}

fn ca() -> CloudCa {
    CloudCa::create("test", key(1), Validity::starting(Env::real().wall().secs(), HOUR)).unwrap()
}

pub(super) fn registrar_on(store: &Store) -> Registrar {
    registrar_of("control-1", store)
}

pub(super) fn registrar_of(node: &str, store: &Store) -> Registrar {
    Registrar::new(&Env::real(), store, ca(), NodeId::new(node).unwrap())
}

fn registrar() -> Registrar {
    registrar_on(&Store::memory(Env::real()))
}

pub(super) fn wish() -> Wish {
    Wish {
        control: NodeId::new("control-1").unwrap(),
        address: "127.0.0.1:1".parse().unwrap(),
        node: None,
        lasts: HOUR,
        for_control: false,
    }
}

pub(super) fn applicant(token: &JoinToken, name: &str, key: &NodeKey) -> Applicant {
    Applicant {
        node: NodeId::new(name).unwrap(),
        key: key.public(),
        secret: token.digest(),
        address: "127.0.0.1:2".parse().unwrap(),
    }
}

#[tokio::test]
async fn a_token_gives_a_certificate_for_the_role_of_a_host() {
    let registrar = registrar();
    let token = registrar.invite(wish()).await.unwrap();
    let admitted = registrar.admit(&applicant(&token, "host-1", &key(2))).await.unwrap();
    let identity = admitted.certificate.identity().unwrap();
    assert_eq!(identity, PeerIdentity::new(NodeId::new("host-1").unwrap(), &["compute"]));
}

#[tokio::test]
async fn a_used_token_lets_nobody_else_in_also_after_a_restart() {
    let store = Store::memory(Env::real());
    let token = registrar_on(&store).invite(wish()).await.unwrap();
    registrar_on(&store).admit(&applicant(&token, "host-1", &key(2))).await.unwrap();
    let refused = registrar_on(&store).admit(&applicant(&token, "host-2", &key(3))).await;
    assert!(matches!(refused, Err(Refusal::Used(by)) if by.as_str() == "host-1"));
}

#[tokio::test]
async fn who_did_not_hear_the_answer_may_ask_again() {
    let registrar = registrar();
    let token = registrar.invite(wish()).await.unwrap();
    let applicant = applicant(&token, "host-1", &key(2));
    registrar.admit(&applicant).await.unwrap();
    assert!(registrar.admit(&applicant).await.is_ok());
}

#[tokio::test]
async fn of_two_at_the_same_moment_one_is_admitted() {
    let registrar = registrar();
    let token = registrar.invite(wish()).await.unwrap();
    let (first, second) = (applicant(&token, "one", &key(2)), applicant(&token, "two", &key(3)));
    let (first, second) = tokio::join!(registrar.admit(&first), registrar.admit(&second));
    assert!(first.is_ok() != second.is_ok());
}

#[tokio::test]
async fn a_token_past_its_end_is_refused() {
    let store = Store::memory(Env::real());
    let token = registrar_on(&store).invite(wish()).await.unwrap();
    let key_of = TokenRow::key_of(&token.digest());
    let rows = store.scoped("membership/");
    rows.transact(|txn| {
        let row = txn.get::<TokenRow>(&key_of)?.unwrap();
        txn.put(&TokenRow { expires: row.created, ..row })
    })
    .await
    .unwrap();
    let refused = registrar_on(&store).admit(&applicant(&token, "late", &key(2))).await;
    assert!(matches!(refused, Err(Refusal::Expired)));
}

#[tokio::test]
async fn a_token_of_another_cloud_is_not_known() {
    let token = registrar().invite(wish()).await.unwrap();
    let refused = registrar().admit(&applicant(&token, "host-1", &key(2))).await;
    assert!(matches!(refused, Err(Refusal::UnknownToken)));
}

#[tokio::test]
async fn a_name_belongs_to_the_key_that_joined_with_it() {
    let registrar = registrar();
    for (name, seed, taken) in [("host", 2, false), ("host", 3, true), ("control-1", 4, true)] {
        let token = registrar.invite(wish()).await.unwrap();
        let verdict = registrar.admit(&applicant(&token, name, &key(seed))).await;
        assert_eq!(matches!(verdict, Err(Refusal::NameTaken(_))), taken, "{name} {seed}");
    }
}

#[tokio::test]
async fn a_token_for_a_name_is_good_for_that_name_only() {
    let registrar = registrar();
    let named = Some(NodeId::new("rack-7").unwrap());
    let token = registrar.invite(Wish { node: named, ..wish() }).await.unwrap();
    let refused = registrar.admit(&applicant(&token, "host-1", &key(2))).await;
    assert!(matches!(refused, Err(Refusal::OtherName(_))));
    assert!(registrar.admit(&applicant(&token, "rack-7", &key(2))).await.is_ok());
}

#[tokio::test]
async fn a_node_that_joined_gets_its_next_certificate_and_no_other_does() {
    let registrar = registrar();
    let token = registrar.invite(wish()).await.unwrap();
    registrar.admit(&applicant(&token, "host-1", &key(2))).await.unwrap();
    let next = registrar.renew(&NodeId::new("host-1").unwrap()).await.unwrap();
    assert_eq!(next.certificate.public_key().unwrap(), key(2).public());
    let other = registrar.renew(&NodeId::new("host-2").unwrap()).await;
    assert!(matches!(other, Err(Refusal::UnknownNode(_))));
}

#[tokio::test]
async fn what_is_stored_of_a_token_is_not_its_secret() {
    let store = Store::memory(Env::real());
    let token = registrar_on(&store).invite(wish()).await.unwrap();
    let rows = store.scoped("membership/");
    let rows = rows.read(|txn| txn.scan::<TokenRow>(None, 10)).await.unwrap();
    let stored = serde_json::to_string(&rows).unwrap();
    let text = token.to_text();
    assert!(text.parse::<JoinToken>().unwrap() == token && !stored.contains(&text[13..40]));
    assert_eq!(rows.first().map(|row| row.digest.len()), Some(64));
}

#[tokio::test]
async fn a_token_lasts_a_minute_at_least_and_a_week_at_most() {
    for secs in [0, 59, 7 * 24 * 3_600 + 1] {
        let refused = registrar().invite(Wish { lasts: Duration::from_secs(secs), ..wish() }).await;
        assert!(matches!(refused, Err(Refusal::Lifetime)), "{secs}");
    }
}
