//! What a machine that joins, and the one it asks, say to one another; and the token that it was given.

use std::str;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::digest;
use updraft_transport::{
    certificate::Certificate,
    join::{Answer, Application, BINDING_BYTES, JoinToken},
};

/// What is in front of a token.
pub(crate) const TOKEN_PREFIX: &str = "updraft-join-";
/// Bytes of the checksum at a token's end.
const CHECKSUM_BYTES: usize = 4;

/// An application, as a control node reads it.
#[must_use]
pub fn application(bytes: &[u8]) -> bool {
    let Ok(application) = Application::decode(bytes) else { return false };
    let address = "192.0.2.1:7000".parse().expect("an address");
    let proven = application.verify(&[5; BINDING_BYTES], address);
    if let Some(applicant) = proven {
        assert_eq!(applicant.address, address);
    }
    let again = application.encode().expect("an application that came can be sent");
    assert_eq!(Application::decode(&again), Ok(application));
    true
}

/// An answer, as the machine that asked reads it.
#[must_use]
pub fn answer(bytes: &[u8]) -> bool {
    let Ok(answer) = Answer::decode(bytes) else { return false };
    if let Answer::Admitted { certificate, authorities, .. } = &answer {
        for der in authorities.iter().chain([certificate]) {
            let _ = Certificate::from_der(der.to_vec());
        }
    }
    let again = answer.encode().expect("an answer that came can be sent");
    assert_eq!(Answer::decode(&again), Ok(answer));
    true
}

/// A join token, as somebody has pasted it.
#[must_use]
pub fn token(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(token) = text.parse::<JoinToken>() else { return false };
    survives(&token);
    true
}

/// The content of a join token, made to look whole: the checksum finds slips, and stops nobody.
#[must_use]
pub fn token_sealed(content: &[u8]) -> bool {
    let checksum = digest::digest(&digest::SHA256, content);
    let sealed = [content, &checksum.as_ref()[..CHECKSUM_BYTES]].concat();
    let text = format!("{TOKEN_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(sealed));
    let Ok(token) = text.parse::<JoinToken>() else { return false };
    survives(&token);
    true
}

fn survives(token: &JoinToken) {
    let _ = token.check(0);
    let _ = token.digest();
    let again = token.to_text().parse();
    assert_eq!(again.as_ref(), Ok(token), "a token changes when it is shown again");
}
