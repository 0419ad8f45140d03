//! Tokens: known answers from Keystone, and what holds for all of them.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use fernet::Fernet;
use proptest::prelude::*;
use updraft_edge::token::*;
use updraft_protocol::identity::{AuditId, FernetKey, FernetKeys};
use updraft_runtime::env::UnixMicros;
use uuid::Uuid;

use crate::fixture::{HOUR, NOW, key};

/// Payload and token by the name of a case, made by Keystone's own code.
const VECTORS: &str = include_str!("../data/fernet-vectors.txt");

const USER: &str = "0123456789abcdef0123456789abcdef";
const PROJECT: &str = "fedcba9876543210fedcba9876543210";
const GROUP: &str = "11111111111111111111111111111111";
const TWOS: &str = "22222222222222222222222222222222";

struct Vector {
    name: &'static str,
    payload: Vec<u8>,
    token: &'static str,
}

fn vectors() -> Vec<Vector> {
    let unhex = |hex: &str| {
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (0..hex.len()).step_by(2).map(byte).collect()
    };
    VECTORS
        .lines()
        .filter_map(|line| line.strip_prefix("- "))
        .map(|line| {
            let (name, rest) = line.split_once("msgpack(").expect("a payload");
            let (_, rest) = rest.split_once(")=").expect("a payload");
            let (payload, rest) = rest.split_once(' ').expect("a token");
            let (_, token) = rest.split_once(")=").expect("a token");
            Vector { name: name.trim_end_matches([' ', ':']), payload: unhex(payload), token }
        })
        .collect()
}

fn vector_key() -> FernetKey {
    let line = VECTORS.lines().next().and_then(|line| line.strip_prefix("key ")).expect("a key");
    FernetKey::try_from(line.to_owned()).expect("a key")
}

fn ring_of(keys: impl IntoIterator<Item = (u32, FernetKey)>) -> KeyRing {
    KeyRing::new(&FernetKeys(keys.into_iter().collect())).expect("keys")
}

fn audit(hex: u128) -> AuditId {
    AuditId(hex.to_be_bytes())
}

/// What each of Keystone's tokens says.
fn expected(name: &str) -> TokenContents {
    let own = audit(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    let chain = audit(0xffee_ddcc_bbaa_9988_7766_5544_3322_1100);
    let id = str::to_owned;
    let federation = || Federation {
        group_ids: vec![id(GROUP)],
        identity_provider_id: id("myidp"),
        protocol_id: id("saml2"),
    };
    let (project_id, default) = (id(PROJECT), id("default"));
    let (bits, scope, audit_ids) = match name {
        "v0 unscoped password" => (2, TokenScope::Unscoped, vec![own]),
        "v1 domain(uuid)" => (2, TokenScope::Domain { domain_id: project_id }, vec![own]),
        "v1 domain default" => (2, TokenScope::Domain { domain_id: default }, vec![own]),
        "v2 project password" => (2, TokenScope::Project { project_id }, vec![own]),
        "v2 project token+password rescoped" => {
            (6, TokenScope::Project { project_id }, vec![own, chain])
        }
        "v3 trust" => {
            let trust_id = Uuid::from_bytes([0x11; 16]);
            (6, TokenScope::Trust { project_id: Some(project_id), trust_id }, vec![own, chain])
        }
        "v4 fed unscoped (group uuid, idp str)" => {
            (16, TokenScope::FederatedUnscoped(federation()), vec![own])
        }
        "v5 fed project" => {
            let federation = federation();
            (20, TokenScope::FederatedProject { project_id, federation }, vec![own, chain])
        }
        "v6 fed domain" => {
            let (domain_id, federation) = (default, federation());
            (20, TokenScope::FederatedDomain { domain_id, federation }, vec![own, chain])
        }
        "v7 oauth1" => {
            (8, TokenScope::AccessToken { project_id, access_token_id: id(TWOS) }, vec![own])
        }
        "v8 system" => (2, TokenScope::System, vec![own]),
        "v9 appcred" => {
            let credential_id = id(TWOS);
            (32, TokenScope::ApplicationCredential { project_id, credential_id }, vec![own])
        }
        "v10 oauth2 mtls" => {
            let (project_id, domain_id) = (Some(project_id), Some(default));
            let thumbprint = id("5dcbd8a5");
            (2, TokenScope::Certificate { project_id, domain_id, thumbprint }, vec![own])
        }
        "v2 project, ldap 64-hex user" => (2, TokenScope::Project { project_id }, vec![own]),
        other => panic!("what is {other}?"),
    };
    let user_id = if name.contains("ldap") { USER.repeat(2) } else { id(USER) };
    TokenContents {
        user_id,
        methods: Methods::from_bits(bits),
        scope,
        expires_at: EXPIRY,
        audit_ids,
    }
}

/// The end of every vector's token.
const EXPIRY: UnixMicros = UnixMicros(1_735_693_200_000_000);

#[test]
fn every_token_of_keystone_opens_and_says_what_it_said_there() {
    let ring = ring_of([(1, vector_key())]);
    let vectors = vectors();
    assert_eq!(vectors.len(), 14);
    for vector in vectors {
        let opened = ring.open(vector.token, NOW).expect(vector.name);
        assert_eq!(opened.issued_at, NOW, "{}", vector.name);
        assert_eq!(opened.contents, expected(vector.name), "{}", vector.name);
    }
}

#[test]
fn every_payload_is_written_as_keystone_writes_it() {
    let key = vector_key();
    let fernet = Fernet::new(&key.reveal()).expect("a key");
    let ring = ring_of([(1, key)]);
    for vector in vectors() {
        let token = ring.seal(&expected(vector.name), NOW).expect("short");
        let token = token.reveal();
        let payload = fernet.decrypt_at_time(token, None, NOW.secs()).expect("our own");
        assert_eq!(payload, vector.payload, "{}", vector.name);
        assert_eq!(token.len(), vector.token.len(), "{}", vector.name);
        // Format, time and the absence of padding; what follows is the random IV.
        assert_eq!(token.get(..12), vector.token.get(..12), "{}", vector.name);
        assert!(!token.contains('='), "{}", vector.name);
    }
}

#[test]
fn payloads_of_old_writers_with_raw_bytes_as_text_are_read() {
    let ring = ring_of([(1, vector_key())]);
    let fernet = Fernet::new(&vector_key().reveal()).expect("a key");
    for vector in vectors() {
        // Old MessagePack had one form for bytes and text: 0xb0 for 16 of them, not 0xc4 0x10.
        let mut old = Vec::new();
        let mut rest = vector.payload.as_slice();
        while let Some((first, after)) = rest.split_first() {
            if rest.starts_with(&[0xc4, 0x10]) {
                old.push(0xb0);
                rest = &rest[2..];
            } else {
                old.push(*first);
                rest = after;
            }
        }
        let token = fernet.encrypt_at_time(&old, NOW.secs());
        let opened = ring.open(&token, NOW).expect(vector.name);
        assert_eq!(opened.contents, expected(vector.name), "{}", vector.name);
    }
}

#[test]
fn no_bit_of_a_token_can_be_flipped() {
    let ring = ring_of([(0, key(0)), (1, key(1)), (2, key(2))]);
    let token = ring.seal(&crate::fixture::contents(), NOW).expect("short");
    let token = token.reveal().as_bytes();
    assert!(ring.open(std::str::from_utf8(token).expect("ASCII"), NOW).is_ok());
    let mut tried = 0;
    for bit in 0..token.len() * 8 {
        let mut altered = token.to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        if let Ok(altered) = std::str::from_utf8(&altered) {
            assert!(ring.open(altered, NOW).is_err(), "bit {bit}: {altered}");
            tried += 1;
        }
    }
    assert!(tried >= token.len() * 7, "{tried}");
}

#[test]
fn a_token_is_refused_by_other_keys_and_when_it_is_too_long() {
    let token = crate::fixture::token();
    assert!(matches!(ring_of([(5, key(9))]).open(&token, NOW), Err(Unreadable::NoKeyFits)));
    let long = "A".repeat(TOKEN_MAX_BYTES + 1);
    assert!(matches!(ring_of([(5, key(9))]).open(&long, NOW), Err(Unreadable::TooLong(_))));
    let groups = TokenScope::FederatedUnscoped(Federation {
        group_ids: vec!["g".repeat(100); 20],
        identity_provider_id: "idp".to_owned(),
        protocol_id: "saml2".to_owned(),
    });
    let contents = TokenContents { scope: groups, ..crate::fixture::contents() };
    assert!(matches!(ring_of([(1, key(1))]).seal(&contents, NOW), Err(SealError::TooLong(_))));
}

#[test]
fn without_keys_there_is_no_ring() {
    assert_eq!(KeyRing::new(&FernetKeys::default()).expect_err("empty"), NoKeys);
}

#[test]
fn keys_take_their_turns_as_keystone_rotates_them() {
    let numbers = |keys: &FernetKeys| keys.0.keys().copied().collect::<Vec<_>>();
    let keys = first_keys(key(0), key(1));
    assert_eq!(numbers(&keys), [0, 1]);
    let keys = rotate(&keys, key(2), 3);
    assert_eq!(numbers(&keys), [0, 1, 2]);
    assert_eq!((&keys.0[&2], &keys.0[&0]), (&key(0), &key(2)));
    let keys = rotate(&keys, key(3), 3);
    assert_eq!(numbers(&keys), [0, 2, 3]);
    assert_eq!((&keys.0[&3], &keys.0[&2]), (&key(2), &key(0)));
    let fewer = rotate(&keys, key(4), 1);
    assert_eq!(numbers(&fewer), [0, 4], "never fewer than work");
    assert_eq!(numbers(&rotate(&FernetKeys::default(), key(5), 3)), [0]);
}

#[test]
fn fresh_keys_and_audit_ids_differ() {
    let env = crate::fixture::env();
    assert_ne!(fresh_key(&env), fresh_key(&env));
    assert_ne!(fresh_audit_id(&env), fresh_audit_id(&env));
}

fn any_id() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        any::<u128>().prop_map(|bits| format!("{bits:032x}")),
        any::<u128>().prop_map(|bits| format!("{bits:032X}")),
        any::<u128>().prop_map(|bits| Uuid::from_u128(bits).to_string()),
        "[ -~]{0,40}",
        "[a-z]{16}",
        "\\PC{0,8}",
    ]
}

fn any_scope() -> impl Strategy<Value = TokenScope> {
    let federation = (proptest::collection::vec(any_id(), 0..4), any_id(), any_id()).prop_map(
        |(group_ids, identity_provider_id, protocol_id)| Federation {
            group_ids,
            identity_provider_id,
            protocol_id,
        },
    );
    prop_oneof![
        Just(TokenScope::Unscoped),
        Just(TokenScope::System),
        any_id().prop_map(|domain_id| TokenScope::Domain { domain_id }),
        any_id().prop_map(|project_id| TokenScope::Project { project_id }),
        (proptest::option::of(any_id()), any::<u128>()).prop_map(|(project_id, trust)| {
            TokenScope::Trust { project_id, trust_id: Uuid::from_u128(trust) }
        }),
        federation.clone().prop_map(TokenScope::FederatedUnscoped),
        (any_id(), federation.clone()).prop_map(|(project_id, federation)| {
            TokenScope::FederatedProject { project_id, federation }
        }),
        (any_id(), federation).prop_map(|(domain_id, federation)| TokenScope::FederatedDomain {
            domain_id,
            federation
        }),
        (any_id(), any_id()).prop_map(|(project_id, access_token_id)| TokenScope::AccessToken {
            project_id,
            access_token_id
        }),
        (any_id(), any_id()).prop_map(|(project_id, credential_id)| {
            TokenScope::ApplicationCredential { project_id, credential_id }
        }),
        (proptest::option::of(any_id()), proptest::option::of(any_id()), any_id()).prop_map(
            |(project_id, domain_id, thumbprint)| TokenScope::Certificate {
                project_id,
                domain_id,
                thumbprint
            }
        ),
    ]
}

/// Until the year 2242, which is as far as seconds in a float come back to the microsecond.
fn any_time() -> impl Strategy<Value = UnixMicros> {
    (0..8_589_934_592_000_000_u64).prop_map(UnixMicros)
}

fn any_contents() -> impl Strategy<Value = TokenContents> {
    let audit_ids = proptest::collection::vec(any::<[u8; 16]>().prop_map(AuditId), 1..=2);
    (any_id(), any::<u32>(), any_scope(), any_time(), audit_ids).prop_map(
        |(user_id, bits, scope, expires_at, audit_ids)| TokenContents {
            user_id,
            methods: Methods::from_bits(bits),
            scope,
            expires_at,
            audit_ids,
        },
    )
}

proptest! {
    #[test]
    fn what_is_sealed_comes_back(contents in any_contents(), issued in any_time()) {
        let ring = ring_of([(0, key(0)), (1, key(1))]);
        let token = ring.seal(&contents, issued).expect("short");
        let opened = ring.open(token.reveal(), issued).expect("our own");
        prop_assert_eq!(opened.contents, contents);
        prop_assert_eq!(opened.issued_at.secs(), issued.secs());
    }

    #[test]
    fn no_bit_of_any_token_can_be_flipped(contents in any_contents(), at in any::<prop::sample::Index>()) {
        let ring = ring_of([(1, key(1))]);
        let token = ring.seal(&contents, NOW).expect("short");
        let mut bytes = URL_SAFE_NO_PAD.decode(token.reveal()).expect("base64");
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(ring.open(&URL_SAFE_NO_PAD.encode(bytes), NOW).is_err());
    }

    #[test]
    fn a_token_lives_through_as_many_rotations_as_there_are_keys_for(
        active in ACTIVE_KEYS_MIN..8,
        before in 0_u8..6,
        after in 0_u8..10,
    ) {
        let mut keys = first_keys(key(200), key(201));
        for number in 0..before {
            keys = rotate(&keys, key(number), active);
        }
        let sealed = KeyRing::new(&keys).expect("keys").seal(&crate::fixture::contents(), NOW);
        let token = sealed.expect("short");
        for number in 0..after {
            keys = rotate(&keys, key(100 + number), active);
        }
        let opens = KeyRing::new(&keys).expect("keys").open(token.reveal(), NOW).is_ok();
        prop_assert_eq!(opens, usize::from(after) + ACTIVE_KEYS_MIN <= active);
    }

    #[test]
    fn a_node_one_rotation_behind_opens_what_the_others_seal(rotations in 0_u8..8) {
        let mut keys = first_keys(key(200), key(201));
        for number in 0..rotations {
            keys = rotate(&keys, key(number), ACTIVE_KEYS_DEFAULT);
        }
        let behind = KeyRing::new(&keys).expect("keys");
        let ahead = KeyRing::new(&rotate(&keys, key(100), ACTIVE_KEYS_DEFAULT)).expect("keys");
        let of_ahead = ahead.seal(&crate::fixture::contents(), NOW).expect("short");
        prop_assert!(behind.open(of_ahead.reveal(), NOW).is_ok());
        let of_behind = behind.seal(&crate::fixture::contents(), NOW).expect("short");
        prop_assert!(ahead.open(of_behind.reveal(), NOW).is_ok());
    }

    #[test]
    fn clocks_may_differ_by_a_minute_and_no_more(ahead_secs in 0_u64..200) {
        let ring = ring_of([(1, key(1))]);
        let issued = NOW.plus(Duration::from_secs(ahead_secs));
        let token = ring.seal(&crate::fixture::contents(), issued).expect("short");
        let opens = ring.open(token.reveal(), NOW).is_ok();
        prop_assert_eq!(opens, ahead_secs <= CLOCK_SKEW_MAX.as_secs());
        prop_assert!(ring.open(token.reveal(), NOW.plus(HOUR * 1_000)).is_ok(), "the past is fine");
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC*", now in any::<u64>()) {
        let ring = ring_of([(1, key(1))]);
        prop_assert!(ring.open(&text, UnixMicros(now)).is_err());
    }

    #[test]
    fn any_sealed_bytes_are_read_or_refused_without_a_panic(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let fernet = Fernet::new(&key(1).reveal()).expect("a key");
        let token = fernet.encrypt_at_time(&payload, NOW.secs());
        let _ = ring_of([(1, key(1))]).open(&token, NOW);
    }

    #[test]
    fn any_altered_payload_is_read_or_refused_without_a_panic(
        contents in any_contents(),
        alterations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let fernet = Fernet::new(&key(1).reveal()).expect("a key");
        let ring = ring_of([(1, key(1))]);
        let token = ring.seal(&contents, NOW).expect("short");
        let mut payload = fernet.decrypt_at_time(token.reveal(), None, NOW.secs()).expect("ours");
        for (at, byte) in alterations {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        let _ = ring.open(&fernet.encrypt_at_time(&payload, NOW.secs()), NOW);
    }

    #[test]
    fn a_payload_with_anything_after_it_is_refused(contents in any_contents(), extra in 1_usize..9) {
        let fernet = Fernet::new(&key(1).reveal()).expect("a key");
        let ring = ring_of([(1, key(1))]);
        let token = ring.seal(&contents, NOW).expect("short");
        let mut payload = fernet.decrypt_at_time(token.reveal(), None, NOW.secs()).expect("ours");
        payload.extend(vec![0; extra]);
        let longer = fernet.encrypt_at_time(&payload, NOW.secs());
        prop_assert!(matches!(ring.open(&longer, NOW), Err(Unreadable::Payload(_))));
    }
}
