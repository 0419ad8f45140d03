//! What a token says, hides and refuses, and what an application proves.

use std::time::Duration;

use super::*;
use crate::{
    ca::{CloudCa, Validity},
    key::NodeKey,
};

fn token() -> JoinToken {
    let key = NodeKey::from_seed(&[1; 32]).unwrap();
    let validity = Validity::starting(1_800_000_000, Duration::from_secs(86_400));
    let ca = CloudCa::create("test", key, validity).unwrap();
    let control = NodeId::new("control-1").unwrap();
    let address = "192.0.2.1:7000".parse().unwrap();
    JoinToken::new(*b"sixteen  secrets", ca.certificate(), control, address, 1_800_000_600)
}

#[test]
fn a_token_survives_being_copied_as_text() {
    let text = token().to_text();
    assert!(text.starts_with("updraft-join-") && text.len() < 250, "{}", *text);
    assert_eq!(format!(" {}\n", *text).parse(), Ok(token()));
    let for_control = token().for_control();
    let read = for_control.to_text().parse::<JoinToken>();
    assert!(read.as_ref().is_ok_and(|read| read.for_control) && read == Ok(for_control));
}

#[test]
fn a_token_that_was_not_copied_whole_is_damaged() {
    let text = token().to_text();
    for end in PREFIX.len()..text.len() {
        assert_eq!(text[..end].parse::<JoinToken>(), Err(TokenError::Damaged), "{end}");
    }
    assert_eq!("join-me".parse::<JoinToken>(), Err(TokenError::Prefix));
}

#[test]
fn a_token_with_one_wrong_character_is_damaged() {
    let text = token().to_text();
    for at in PREFIX.len()..text.len() {
        let mut wrong = text.as_bytes().to_vec();
        wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
        let wrong = String::from_utf8(wrong).unwrap();
        assert_eq!(wrong.parse::<JoinToken>(), Err(TokenError::Damaged), "{at}");
    }
}

#[test]
fn a_token_is_good_until_it_expires() {
    assert_eq!(token().check(1_800_000_599), Ok(()));
    assert_eq!(token().check(1_800_000_600), Err(TokenError::Expired));
}

#[test]
fn the_secret_is_not_shown_and_its_digest_does_not_reveal_it() {
    let shown = format!("{:?} {:?}", token(), token().digest());
    let in_decimal = format!("{}, {}, {}", b's', b'i', b'x');
    assert!(!shown.contains("sixteen") && !shown.contains(&in_decimal), "{shown}");
}

#[test]
fn an_application_is_good_for_its_own_connection_only() {
    let key = NodeKey::from_seed(&[2; 32]).unwrap();
    let node = NodeId::new("compute-1").unwrap();
    let address = "192.0.2.2:7000".parse().unwrap();
    let application = Application::new(&token(), node.clone(), &key, &[5; 32]);
    let applicant = Applicant { node, key: key.public(), secret: token().digest(), address };
    assert_eq!(application.verify(&[5; 32], address), Some(applicant));
    assert_eq!(application.verify(&[6; 32], address), None);
}

#[test]
fn an_application_for_a_key_of_another_is_no_good() {
    let key = |seed| NodeKey::from_seed(&[seed; 32]).unwrap();
    let node = NodeId::new("compute-1").unwrap();
    let mut application = Application::new(&token(), node, &key(2), &[5; 32]);
    application.key = key(3).public();
    assert_eq!(application.verify(&[5; 32], "192.0.2.2:7000".parse().unwrap()), None);
}
