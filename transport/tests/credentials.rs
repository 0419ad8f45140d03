//! Keys, certificates and the CA: what they say, what they refuse and what they never show.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use updraft_transport::{
    NodeId, PeerIdentity,
    ca::{CaError, CloudCa, Validity},
    certificate::{Certificate, CertificateError},
    files::{read_private, write_private},
    key::{KeyError, NodeKey},
    tls::{Credentials, TlsError},
};

const NOW: u64 = 1_800_000_000;
const DAY: Duration = Duration::from_secs(86_400);

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32]).unwrap()
}

fn ca(seed: u8) -> CloudCa {
    CloudCa::create("test", key(seed), Validity::starting(NOW, 365 * DAY)).unwrap()
}

fn compute() -> PeerIdentity {
    PeerIdentity::new(NodeId::new("compute-1").unwrap(), &["compute", "network"])
}

fn issue(ca: &CloudCa, identity: &PeerIdentity, key: &NodeKey) -> Result<Certificate, CaError> {
    ca.issue(identity, &key.public(), Validity::starting(NOW, DAY))
}

#[test]
fn a_certificate_names_its_node_its_roles_and_its_key() {
    let certificate = issue(&ca(1), &compute(), &key(2)).unwrap();
    assert_eq!(certificate.identity().unwrap(), compute());
    assert_eq!(certificate.public_key().unwrap(), key(2).public());
    assert_eq!(certificate.valid_until_unix_secs().unwrap(), NOW + DAY.as_secs() + 1);
}

#[test]
fn the_same_wish_makes_the_same_certificate_and_another_wish_another() {
    let first = issue(&ca(1), &compute(), &key(2)).unwrap();
    assert_eq!(issue(&ca(1), &compute(), &key(2)).unwrap(), first);
    let later = Validity::starting(NOW + 1, DAY);
    let renewed = ca(1).issue(&compute(), &key(2).public(), later).unwrap();
    assert_ne!(renewed.fingerprint(), first.fingerprint());
}

#[test]
fn the_ca_names_no_node() {
    let error = ca(1).certificate().identity().unwrap_err();
    assert!(matches!(error, CertificateError::NodeCount(0)), "{error}");
}

#[test]
fn a_role_that_could_be_misread_is_not_certified() {
    for role in ["", "Admin", "a b", "a:b", "rôle"] {
        let identity = PeerIdentity::new(compute().node, &[role]);
        let refusal = issue(&ca(1), &identity, &key(2)).unwrap_err();
        let expected = matches!(refusal, CaError::Certificate(CertificateError::BadRole(_)));
        assert!(expected, "{role:?} led to {refusal}");
    }
}

#[test]
fn keys_and_certificates_survive_their_files() {
    let ca = ca(1);
    let read = NodeKey::from_pem(&ca.key().to_pem()).unwrap();
    assert_eq!(read.public(), ca.key().public());
    let certificate = Certificate::from_pem(&ca.certificate().to_pem()).unwrap();
    assert_eq!(&certificate, ca.certificate());
}

#[test]
fn a_ca_read_from_its_files_issues_what_the_original_did() {
    let original = ca(1);
    let read = CloudCa::load(original.certificate().clone(), key(1)).unwrap();
    let issued = issue(&read, &compute(), &key(2)).unwrap();
    assert_eq!(issued, issue(&original, &compute(), &key(2)).unwrap());
}

#[test]
fn a_ca_does_not_start_with_a_key_of_another() {
    let refusal = CloudCa::load(ca(1).certificate().clone(), key(2)).unwrap_err();
    assert!(matches!(refusal, CaError::KeyMismatch));
}

#[test]
fn a_node_does_not_start_with_a_key_of_another() {
    let ca = ca(1);
    let certificate = issue(&ca, &compute(), &key(2)).unwrap();
    let refusal = Credentials::new(certificate, key(3), vec![ca.certificate().clone()]);
    assert!(matches!(refusal, Err(TlsError::KeyMismatch)));
}

#[test]
fn a_node_does_not_start_without_a_ca_to_believe() {
    let certificate = issue(&ca(1), &compute(), &key(2)).unwrap();
    let refusal = Credentials::new(certificate, key(2), Vec::new());
    assert!(matches!(refusal, Err(TlsError::NoAuthority)));
}

#[test]
fn nothing_secret_is_shown() {
    let seed = *b"0123456789abcdef0123456789abcdef";
    let key = NodeKey::from_seed(&seed).unwrap();
    let ca = CloudCa::create("test", key.clone(), Validity::starting(NOW, DAY)).unwrap();
    let certificate = issue(&ca, &compute(), &key).unwrap();
    let credentials =
        Credentials::new(certificate, key.clone(), vec![ca.certificate().clone()]).unwrap();
    let shown = format!("{key:?} {ca:?} {credentials:?}");
    let in_hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let in_decimal = format!("{}, {}, {}", seed[0], seed[1], seed[2]);
    for secret in ["0123456789abcdef0123456789abcdef", &in_hex, &in_decimal] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn what_is_no_key_is_refused_with_its_reason() {
    assert!(matches!(NodeKey::from_pem("hello"), Err(KeyError::Pem(_))));
    let certificate = ca(1).certificate().to_pem();
    let refusal = NodeKey::from_pem(&certificate).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the key file holds a \"CERTIFICATE\" and not a \"PRIVATE KEY\""
    );
}

#[test]
fn a_signature_is_its_makers_over_its_message() {
    let signature = key(1).sign(b"message");
    assert!(key(1).public().verifies(b"message", &signature));
    assert!(!key(1).public().verifies(b"massage", &signature));
    assert!(!key(2).public().verifies(b"message", &signature));
}

#[test]
fn a_private_file_is_closed_to_others_and_replaced_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys/node.key");
    write_private(&path, "first").unwrap();
    write_private(&path, "second").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(*read_private(&path).unwrap(), "second");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left over");
}

#[test]
fn a_private_file_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.key");
    write_private(&path, "secret").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refusal = read_private(&path).unwrap_err().to_string();
    assert!(refusal.contains("has mode 640"), "{refusal}");
}
