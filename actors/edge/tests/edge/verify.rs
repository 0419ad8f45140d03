//! Verdicts: who passes, and every reason for which somebody does not.

use std::{sync::Arc, time::Duration};

use updraft_edge::{
    token::{Federation, KeyRing, Methods, TokenContents, TokenScope},
    verify::*,
};
use updraft_protocol::identity::*;
use updraft_runtime::env::UnixMicros;
use uuid::Uuid;

use crate::fixture::*;

fn verify_with(
    change: impl FnOnce(&mut IdentitySnapshot),
    contents: &TokenContents,
) -> Result<Principal, TokenError> {
    let mut snapshot = snapshot();
    change(&mut snapshot);
    let verifier = Verifier::new();
    assert!(verifier.publish(Arc::new(snapshot)));
    verifier.verify(&seal(contents), NOW, Duration::ZERO)
}

fn verify(contents: &TokenContents) -> Result<Principal, TokenError> {
    verify_with(|_| {}, contents)
}

fn role_names(principal: &Principal) -> Vec<&str> {
    principal.roles.iter().map(|role| role.name.as_str()).collect()
}

fn in_scope(scope: TokenScope) -> TokenContents {
    TokenContents { scope, ..contents() }
}

fn by_credential() -> TokenContents {
    in_scope(TokenScope::ApplicationCredential {
        project_id: PROJECT.to_owned(),
        credential_id: CREDENTIAL.to_owned(),
    })
}

#[test]
fn a_good_token_says_who_where_and_as_what() {
    let principal = verify(&contents()).expect("good");
    let domain = DomainRef { id: "default".to_owned(), name: "Default".to_owned() };
    assert_eq!(
        principal.user,
        UserRef { id: USER.to_owned(), name: "demo".to_owned(), domain: domain.clone() }
    );
    assert_eq!(
        principal.scope,
        Scope::Project(ProjectRef { id: PROJECT.to_owned(), name: "demo".to_owned(), domain })
    );
    assert_eq!(role_names(&principal), ["member", "reader"], "implied ones too");
    assert_eq!(principal.methods, ["password"]);
    assert_eq!((principal.issued_at, principal.expires_at), (NOW, NOW.plus(HOUR)));
    assert_eq!(principal.audit_ids, [AuditId([1; 16])]);
    assert_eq!(principal.application_credential_id, None);
}

#[test]
fn each_scope_brings_the_roles_that_hold_there() {
    let domain = verify(&in_scope(TokenScope::Domain { domain_id: "default".to_owned() }));
    assert_eq!(role_names(&domain.expect("good")), ["admin", "member", "reader"]);
    let system = verify(&in_scope(TokenScope::System)).expect("good");
    assert_eq!((&system.scope, role_names(&system)), (&Scope::System, vec!["reader"]));
    let unscoped = verify(&in_scope(TokenScope::Unscoped)).expect("good");
    assert_eq!((&unscoped.scope, role_names(&unscoped)), (&Scope::Unscoped, vec![]));
}

#[test]
fn an_application_credential_gives_only_what_its_user_still_has() {
    let principal = verify(&by_credential()).expect("good");
    assert_eq!(role_names(&principal), ["reader"], "never the admin that the user is not");
    assert_eq!(principal.application_credential_id.as_deref(), Some(CREDENTIAL));
    assert_eq!(principal.project_id(), Some(PROJECT));
}

#[test]
fn an_application_credential_ends_by_itself_and_serves_its_user_alone() {
    let ended = |snapshot: &mut IdentitySnapshot| {
        let credential = snapshot.application_credentials.get_mut(CREDENTIAL).expect("there");
        credential.expires_at = Some(NOW);
    };
    let verdict = verify_with(ended, &by_credential());
    assert!(matches!(verdict, Err(TokenError::Expired(NOW))), "{verdict:?}");
    let by_another = TokenContents { user_id: NOVA.to_owned(), ..by_credential() };
    let unknown = TokenError::Unknown(Entity::ApplicationCredential);
    assert_eq!(said(verify(&by_another)), unknown.to_string());
}

/// Why a token was refused, as the log tells it.
fn said(verdict: Result<Principal, TokenError>) -> String {
    verdict.expect_err("refused").to_string()
}

#[test]
fn a_token_ends_at_its_end_and_not_before() {
    let verifier = verifier();
    let token = token();
    let end = NOW.plus(HOUR);
    let just_before = UnixMicros(end.0 - 1);
    assert!(verifier.verify(&token, just_before, Duration::ZERO).is_ok());
    let verdict = verifier.verify(&token, end, Duration::ZERO);
    assert_eq!(said(verdict), "it expired at 2025-01-01T01:00:00.000000Z");
}

#[test]
fn an_expired_token_passes_within_the_grace_and_not_after() {
    let verifier = verifier();
    let token = token();
    let end = NOW.plus(HOUR);
    let last = UnixMicros(end.plus(EXPIRED_GRACE).0 - 1);
    assert!(verifier.verify(&token, last, EXPIRED_GRACE).is_ok());
    let verdict = verifier.verify(&token, end.plus(EXPIRED_GRACE), EXPIRED_GRACE);
    assert!(matches!(verdict, Err(TokenError::Expired(_))));
}

/// A change that makes a good token a bad one, and what the log says then.
type Spoiling = (&'static str, fn(&mut IdentitySnapshot));

#[test]
fn whatever_the_token_names_must_be_there_enabled_and_not_revoked() {
    let table: [Spoiling; 14] = [
        ("its user does not exist", |s| drop(s.users.remove(USER))),
        ("its user is disabled", |s| s.users.get_mut(USER).expect("there").enabled = false),
        ("it was revoked with its user", |s| {
            s.users.get_mut(USER).expect("there").revoked_before = Some(NOW);
        }),
        ("its project does not exist", |s| drop(s.projects.remove(PROJECT))),
        ("its project is disabled", |s| {
            s.projects.get_mut(PROJECT).expect("there").enabled = false;
        }),
        ("it was revoked with its project", |s| {
            s.projects.get_mut(PROJECT).expect("there").revoked_before = Some(NOW);
        }),
        ("its user's domain does not exist", |s| s.domains.clear()),
        ("its user's domain is disabled", |s| {
            s.domains.get_mut("default").expect("there").enabled = false;
        }),
        ("it was revoked with its user's domain", |s| {
            s.domains.get_mut("default").expect("there").revoked_before = Some(NOW);
        }),
        ("its project's domain does not exist", |s| {
            s.projects.get_mut(PROJECT).expect("there").domain_id = "gone".to_owned();
        }),
        ("its user has no role there", |s| drop(s.assignments.remove(USER))),
        ("its user has no role there", |s| s.roles.clear()),
        ("it was revoked with its token", |s| {
            s.revocations.audit_ids.insert(AuditId([1; 16]), NOW);
        }),
        ("it was revoked with its chain of tokens", |s| {
            s.revocations.chain_ids.insert(AuditId([1; 16]), NOW);
        }),
    ];
    for (reason, spoil) in table {
        assert_eq!(said(verify_with(spoil, &contents())), reason);
    }
}

#[test]
fn a_chain_is_revoked_by_its_first_token_and_a_token_by_its_own_id() {
    let (own, first) = (AuditId([5; 16]), AuditId([6; 16]));
    let rescoped = TokenContents { audit_ids: vec![own, first], ..contents() };
    let by_chain = |id| move |s: &mut IdentitySnapshot| s.revocations.chain_ids.extend([(id, NOW)]);
    let by_own = |id| move |s: &mut IdentitySnapshot| s.revocations.audit_ids.extend([(id, NOW)]);
    assert!(verify_with(by_chain(first), &rescoped).is_err());
    assert!(verify_with(by_chain(own), &rescoped).is_ok());
    assert!(verify_with(by_own(own), &rescoped).is_err());
    assert!(verify_with(by_own(first), &rescoped).is_ok(), "the first token's end is its own");
}

#[test]
fn a_revocation_meets_tokens_of_its_second_and_before_and_none_later() {
    let revoked_at = |micros: u64| {
        move |s: &mut IdentitySnapshot| {
            s.users.get_mut(USER).expect("there").revoked_before = Some(UnixMicros(micros));
        }
    };
    assert!(verify_with(revoked_at(NOW.0 + 900_000), &contents()).is_err());
    assert!(verify_with(revoked_at(NOW.0), &contents()).is_err());
    assert!(verify_with(revoked_at(NOW.0 - 1), &contents()).is_ok());
}

#[test]
fn kinds_of_tokens_that_are_not_issued_are_refused_by_name() {
    let federation = || Federation {
        group_ids: Vec::new(),
        identity_provider_id: "idp".to_owned(),
        protocol_id: "saml2".to_owned(),
    };
    let project_id = || PROJECT.to_owned();
    let scopes = [
        TokenScope::Trust { project_id: Some(project_id()), trust_id: Uuid::from_u128(1) },
        TokenScope::FederatedUnscoped(federation()),
        TokenScope::FederatedProject { project_id: project_id(), federation: federation() },
        TokenScope::AccessToken { project_id: project_id(), access_token_id: "a".to_owned() },
        TokenScope::Certificate {
            project_id: Some(project_id()),
            domain_id: None,
            thumbprint: "t".to_owned(),
        },
    ];
    for scope in scopes {
        assert!(said(verify(&in_scope(scope))).starts_with("tokens of this kind are not accepted"));
    }
}

#[test]
fn before_the_first_snapshot_nothing_is_known() {
    let verdict = Verifier::new().verify(&token(), NOW, Duration::ZERO);
    assert!(matches!(verdict, Err(TokenError::NotReady)));
}

#[test]
fn an_older_snapshot_does_not_replace_a_newer_one() {
    let verifier = verifier();
    let mut newer = snapshot();
    newer.version = 2;
    newer.users.get_mut(USER).expect("there").enabled = false;
    assert!(verifier.publish(Arc::new(newer)));
    assert!(!verifier.publish(Arc::new(snapshot())), "it has version 1");
    assert!(verifier.verify(&token(), NOW, Duration::ZERO).is_err());
    assert_eq!(verifier.snapshot().version, 2);
}

#[test]
fn a_foreign_or_altered_token_is_refused() {
    let keys = FernetKeys([(1, key(77))].into_iter().collect());
    let foreign = KeyRing::new(&keys).expect("a key").seal(&contents(), NOW).expect("short");
    let verifier = verifier();
    for token in [foreign.reveal(), "", "x", "gAAAAAB", &token()[1..]] {
        let verdict = verifier.verify(token, NOW, Duration::ZERO);
        assert!(matches!(verdict, Err(TokenError::Unreadable(_))), "{token}");
    }
}

fn context_of(token: String) -> AuthContext {
    let principal = verifier().verify(&token, NOW, EXPIRED_GRACE).expect("good");
    AuthContext { token: Token::new(token), principal, request_id: "req-1".to_owned() }
}

#[test]
fn a_service_may_bring_an_expired_token_and_nobody_else() {
    let context = context_of(expired_token());
    assert!(verifier().verify_context(&context, NOW, true).is_ok());
    let verdict = verifier().verify_context(&context, NOW, false);
    assert!(matches!(verdict, Err(TokenError::Expired(_))));
}

#[test]
fn a_context_must_say_what_its_token_says() {
    let good = context_of(token());
    assert_eq!(verifier().verify_context(&good, NOW, false).expect("good"), good.principal);
    let changes: [fn(&mut Principal); 3] = [
        |principal| principal.user.id = NOVA.to_owned(),
        |principal| principal.scope = Scope::System,
        |principal| principal.audit_ids = vec![AuditId([9; 16])],
    ];
    for change in changes {
        let mut forged = good.clone();
        change(&mut forged.principal);
        let verdict = verifier().verify_context(&forged, NOW, true);
        assert!(matches!(verdict, Err(TokenError::Mismatch)));
    }
    let mut richer = good.clone();
    richer.principal.roles.push(RoleRef { id: "r-admin".to_owned(), name: "admin".to_owned() });
    let principal = verifier().verify_context(&richer, NOW, false).expect("good");
    assert_eq!(role_names(&principal), ["member", "reader"], "roles come from the snapshot");
}

#[test]
fn methods_come_highest_bit_first_as_in_keystone() {
    let rescoped = TokenContents { methods: Methods::of(["password", "token"]), ..contents() };
    assert_eq!(verify(&rescoped).expect("good").methods, ["token", "password"]);
}
