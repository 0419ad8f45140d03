//! Certificates and keys, as they come from a peer or from a file.

use std::str;

use updraft_transport::{certificate::Certificate, key::NodeKey};

/// A certificate in DER, as a peer shows it.
#[must_use]
pub fn der(bytes: &[u8]) -> bool {
    let Ok(certificate) = Certificate::from_der(bytes.to_vec()) else { return false };
    survives(&certificate);
    true
}

/// A file of certificates.
#[must_use]
pub fn pem(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    if let Ok(certificate) = Certificate::from_pem(text) {
        survives(&certificate);
    }
    let all = Certificate::all_from_pem(text).unwrap_or_default();
    all.iter().for_each(survives);
    let again: String = all.iter().map(Certificate::to_pem).collect();
    let again = Certificate::all_from_pem(&again).expect("a file that was written can be read");
    assert_eq!(again, all);
    !all.is_empty()
}

fn survives(certificate: &Certificate) {
    let _ = format!("{certificate:?}");
    let _ = certificate.identity();
    let _ = certificate.public_key();
    let _ = certificate.valid_until_unix_secs();
    let again = Certificate::from_pem(&certificate.to_pem()).expect("it can be read again");
    assert_eq!(&again, certificate);
    assert_eq!(again.fingerprint(), certificate.fingerprint());
}

/// A file with a node's key.
#[must_use]
pub fn key_pem(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(key) = NodeKey::from_pem(text) else { return false };
    assert!(key.public().verifies(b"message", &key.sign(b"message")));
    let again = NodeKey::from_pem(&key.to_pem()).expect("a key that was written can be read");
    assert_eq!(again.public(), key.public());
    true
}
