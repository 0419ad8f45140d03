//! What a host can show of where a server is.

use std::sync::Arc;

use updraft_edge::{
    seal::Placement,
    token::{first_keys, rotate},
    verify::{TokenError, Verifier},
};
use updraft_protocol::{
    compute::Seal,
    identity::{FernetKeys, IdentitySnapshot},
};
use uuid::Uuid;

use crate::fixture::{key, verifier};

const HERE: Placement<'static> =
    Placement { server: Uuid::from_u128(1), host: "host-1", generation: 7 };

fn with(keys: &FernetKeys) -> Verifier {
    let verifier = Verifier::new();
    let snapshot =
        IdentitySnapshot { version: 1, fernet_keys: keys.clone(), ..IdentitySnapshot::default() };
    assert!(verifier.publish(Arc::new(snapshot)));
    verifier
}

fn holds(verifier: &Verifier, placement: &Placement<'_>, seal: &Seal) -> bool {
    verifier.is_sealed(placement, seal).expect("there are keys")
}

#[test]
fn a_seal_holds_for_its_placement_alone() {
    let verifier = verifier();
    let seal = verifier.seal(&HERE).expect("there are keys");
    assert!(holds(&verifier, &HERE, &seal));
    let others = [
        Placement { server: Uuid::from_u128(2), ..HERE },
        Placement { host: "host-2", ..HERE },
        Placement { generation: 8, ..HERE },
    ];
    for other in others {
        assert!(!holds(&verifier, &other, &seal), "{other:?}");
    }
    assert!(!holds(&verifier, &HERE, &Seal::default()), "nothing is no seal");
    let cut = Seal(seal.0.slice(..seal.0.len() - 1));
    assert!(!holds(&verifier, &HERE, &cut), "a part of one is none");
}

#[test]
fn a_seal_of_another_clouds_keys_does_not_hold() {
    let foreign = with(&first_keys(key(8), key(9))).seal(&HERE).expect("there are keys");
    assert!(!holds(&verifier(), &HERE, &foreign));
}

#[test]
fn a_seal_holds_on_both_sides_of_a_rotation_until_its_key_is_gone() {
    let first = first_keys(key(0), key(1));
    let second = rotate(&first, key(2), 3);
    let third = rotate(&second, key(3), 3);
    let seal = |keys| with(keys).seal(&HERE).expect("there are keys");
    assert!(holds(&with(&second), &HERE, &seal(&first)), "as long as its key is kept");
    assert!(holds(&with(&first), &HERE, &seal(&second)), "before the rotation is heard of");
    assert!(!holds(&with(&third), &HERE, &seal(&first)), "its key is gone");
}

#[test]
fn without_keys_there_is_neither_a_seal_nor_a_verdict() {
    let verifier = Verifier::new();
    assert!(matches!(verifier.seal(&HERE), Err(TokenError::NotReady)));
    let verdict = verifier.is_sealed(&HERE, &Seal::default());
    assert!(matches!(verdict, Err(TokenError::NotReady)));
}
