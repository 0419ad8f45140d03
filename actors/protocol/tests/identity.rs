//! What identity's types promise: secrets stay out of logs, and bytes and JSON come back whole.

use std::collections::{BTreeMap, BTreeSet};

use updraft_protocol::identity::*;
use updraft_runtime::env::UnixMicros;

fn principal(roles: usize) -> Principal {
    let domain = DomainRef { id: "default".to_owned(), name: "Default".to_owned() };
    let role = |n: usize| RoleRef { id: format!("{n:032x}"), name: format!("role-{n}") };
    Principal {
        user: UserRef {
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            name: "demo".to_owned(),
            domain: domain.clone(),
        },
        scope: Scope::Project(ProjectRef {
            id: "fedcba9876543210fedcba9876543210".to_owned(),
            name: "demo".to_owned(),
            domain,
        }),
        roles: (0..roles).map(role).collect(),
        methods: vec!["password".to_owned()],
        audit_ids: vec![AuditId([7; 16])],
        issued_at: UnixMicros(1_735_689_600_000_000),
        expires_at: UnixMicros(1_735_693_200_000_000),
        application_credential_id: None,
    }
}

fn context(roles: usize) -> AuthContext {
    AuthContext {
        token: Token::new("gAAAAABsecret"),
        principal: principal(roles),
        request_id: "req-1".to_owned(),
    }
}

#[test]
fn a_context_comes_back_from_its_bytes() {
    let context = context(4);
    let bytes = context.encode().expect("small");
    assert_eq!(AuthContext::decode(&bytes), Ok(context));
}

#[test]
fn a_context_too_large_for_a_header_is_refused_on_both_sides() {
    assert!(matches!(context(1_000).encode(), Err(AuthContextError::TooLarge(_))));
    let bytes = vec![0; AUTH_CONTEXT_MAX_BYTES + 1];
    assert_eq!(
        AuthContext::decode(&bytes),
        Err(AuthContextError::TooLarge(AUTH_CONTEXT_MAX_BYTES + 1))
    );
}

#[test]
fn bytes_that_are_no_context_are_an_error() {
    assert!(matches!(AuthContext::decode(&[0xff; 40]), Err(AuthContextError::Malformed(_))));
}

#[test]
fn secrets_do_not_show_themselves() {
    let shown = format!("{:?}", context(1));
    assert!(!shown.contains("secret"), "{shown}");
    assert_eq!(format!("{:?}", FernetKey::from_bytes([7; 32])), "FernetKey(..)");
}

#[test]
fn a_snapshot_comes_back_from_json() {
    let key = FernetKey::from_bytes(std::array::from_fn(|n| u8::try_from(n).unwrap_or_default()));
    let audit_id = AuditId([0xff; 16]);
    let snapshot = IdentitySnapshot {
        version: 3,
        fernet_keys: FernetKeys(BTreeMap::from([(0, key)])),
        assignments: BTreeMap::from([(
            "u".to_owned(),
            Assignments { system: BTreeSet::from(["r".to_owned()]), ..Assignments::default() },
        )]),
        catalog: vec![CatalogService {
            id: "s".to_owned(),
            kind: "compute".to_owned(),
            name: "updraft".to_owned(),
            endpoints: vec![Endpoint {
                id: "e".to_owned(),
                interface: Interface::Public,
                region_id: "RegionOne".to_owned(),
                url: "http://localhost/compute/v2.1".to_owned(),
            }],
        }],
        revocations: Revocations {
            audit_ids: BTreeMap::from([(audit_id, UnixMicros(5))]),
            chain_ids: BTreeMap::new(),
        },
        ..IdentitySnapshot::default()
    };
    let json = serde_json::to_value(&snapshot).expect("plain data");
    assert_eq!(json["fernet_keys"]["0"], "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    assert_eq!(json["revocations"]["audit_ids"]["_____________________w"], 5);
    assert_eq!(json["catalog"][0]["type"], "compute");
    assert_eq!(json["catalog"][0]["endpoints"][0]["interface"], "public");
    assert_eq!(serde_json::from_value::<IdentitySnapshot>(json).expect("whole"), snapshot);
}

#[test]
fn a_malformed_key_or_audit_id_is_an_error_that_keeps_the_key_to_itself() {
    let error = FernetKey::try_from("secret".to_owned()).expect_err("short");
    assert!(!error.to_string().contains("secret"));
    assert!(AuditId::try_from("short".to_owned()).is_err());
}
