//! A machine becomes a node.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use updraft_transport::{
    Incarnation, PeerIdentity,
    ca::{CloudCa, Validity},
    join::{
        Admission, Admitted, Applicant, Denial, Denied, Entrusted, JoinToken, SecretDigest,
        TokenError, Verdict,
    },
    quic::{JoinError, JoinRequest, Joined, join, udp},
    tls::Credentials,
};

use crate::{
    cloud::{DAY, LOCALHOST, NOW, Node, Plan, ca, credentials, id, key},
    hostile::connect_speaking,
};

/// Above the starts of whoever had the name before.
const FORMER: Incarnation = Incarnation(1 << 32);

/// What everybody who is admitted is entrusted with.
const ESTATE: &[u8] = b"the family silver";

/// Admits whoever shows a secret that was given out and is not used up.
struct Office {
    ca: CloudCa,
    secrets: Mutex<BTreeSet<SecretDigest>>,
}

impl Admission for Office {
    fn judge(&self, applicant: Applicant) -> Verdict {
        let verdict = if self.secrets.lock().unwrap().remove(&applicant.secret) {
            let identity = PeerIdentity::new(applicant.node, &["compute"]);
            let validity = Validity::starting(NOW, DAY);
            let certificate = self.ca.issue(&identity, &applicant.key, validity).unwrap();
            Ok(Admitted {
                certificate,
                authorities: vec![self.ca.certificate().clone()],
                former: FORMER,
                entrusted: Entrusted::new(ESTATE.to_vec()),
            })
        } else {
            let words = "the token is not known, or was used".to_owned();
            Err(Denial { why: Denied::TokenUnknown, words })
        };
        Box::pin(async move { verdict })
    }
}

fn control() -> (Node, Arc<Office>) {
    let office = Arc::new(Office { ca: ca(1), secrets: Mutex::default() });
    (Plan::control("control", office.clone()).start(), office)
}

fn token(control: &Node, office: &Office) -> JoinToken {
    let authority = office.ca.certificate();
    let token = JoinToken::new([7; 16], authority, id("control"), control.address, NOW + 600);
    office.secrets.lock().unwrap().insert(token.digest());
    token
}

/// Uses a token on a machine that shall become node `new`.
pub(crate) fn redeem(control: &Node, token: &JoinToken) -> Result<Credentials, JoinError> {
    control.run(apply(control, token)).map(|joined| joined.credentials)
}

/// The same, on the runtime that calls.
async fn apply(control: &Node, token: &JoinToken) -> Result<Joined, JoinError> {
    let (socket, runtime) = udp::bind(LOCALHOST).unwrap();
    let (token, host) = (token.clone(), control.host.clone());
    join(JoinRequest { token, node: id("new"), key: key("new"), socket, runtime, host }).await
}

#[test]
fn a_machine_with_a_token_becomes_a_node() {
    let (mut control, office) = control();
    let credentials = redeem(&control, &token(&control, &office)).unwrap();
    assert_eq!(*credentials.identity(), PeerIdentity::new(id("new"), &["compute"]));

    let new = Plan::with(credentials).start();
    new.learn(&control);
    new.send("control", 1);
    assert_eq!(control.heard(), "up new 1");
    assert_eq!(control.heard(), "1 from new");
}

#[test]
fn a_machine_hears_behind_which_start_it_counts_its_own() {
    let (control, office) = control();
    let joined = control.run(apply(&control, &token(&control, &office))).unwrap();
    assert_eq!(joined.former, FORMER);
}

#[test]
fn a_machine_is_handed_what_it_is_entrusted_with_and_shows_it_to_nobody() {
    let (control, office) = control();
    let joined = control.run(apply(&control, &token(&control, &office))).unwrap();
    assert_eq!(joined.entrusted.bytes(), ESTATE);
    let shown = format!("{joined:?}");
    assert!(shown.contains("Entrusted(17 bytes)"), "{shown}");
}

#[test]
fn a_token_is_good_once() {
    let (control, office) = control();
    let token = token(&control, &office);
    redeem(&control, &token).unwrap();
    let refusal = redeem(&control, &token).unwrap_err().to_string();
    assert_eq!(refusal, "the control node refuses: the token is not known, or was used");
}

#[test]
fn a_token_that_has_expired_is_not_even_shown() {
    let (control, office) = control();
    let mut token = token(&control, &office);
    token.expires_unix_secs = NOW;
    let refusal = redeem(&control, &token).unwrap_err();
    assert!(matches!(refusal, JoinError::Token(TokenError::Expired)), "{refusal}");
    assert_eq!(office.secrets.lock().unwrap().len(), 1);
}

#[test]
fn a_control_node_of_another_cloud_does_not_see_the_secret() {
    let (control, office) = control();
    let mut token = token(&control, &office);
    token.authority = ca(2).certificate().fingerprint();
    let refusal = redeem(&control, &token).unwrap_err().to_string();
    assert!(refusal.contains("UnknownIssuer"), "{refusal}");
    assert_eq!(office.secrets.lock().unwrap().len(), 1);
}

#[test]
fn another_node_of_the_cloud_does_not_see_the_secret() {
    let (control, office) = control();
    let ca = ca(1);
    let compute = credentials("compute", &ca, &[&ca]);
    let thief = Plan { admission: Some(office.clone()), ..Plan::with(compute) }.start();
    let mut token = token(&control, &office);
    token.address = thief.address;
    let refusal = redeem(&control, &token).unwrap_err().to_string();
    assert!(refusal.contains("NotValidForName"), "{refusal}");
    assert_eq!(office.secrets.lock().unwrap().len(), 1);
}

#[test]
fn a_host_under_the_name_of_a_control_node_does_not_see_the_secret() {
    let (control, office) = control();
    let thief = Plan { admission: Some(office.clone()), ..Plan::new("control") }.start();
    let mut token = token(&control, &office);
    token.address = thief.address;
    let refusal = redeem(&control, &token).unwrap_err().to_string();
    assert!(refusal.contains("InvalidPurpose"), "{refusal}");
    assert_eq!(office.secrets.lock().unwrap().len(), 1);
}

#[test]
fn a_node_that_gives_no_certificates_or_in_another_way_leaves_the_token_unused() {
    let (control, office) = control();
    let plain = Plan::new("plain").start();
    let mut token = token(&control, &office);
    token.address = plain.address;
    let refusal = redeem(&control, &token).unwrap_err().to_string();
    let words = "control node control does not let nodes join in the way of this program";
    assert!(refusal.starts_with(words) && refusal.contains("not used up"), "{refusal}");
    assert_eq!(office.secrets.lock().unwrap().len(), 1);
}

#[test]
fn a_machine_with_a_program_of_another_version_is_refused_before_it_shows_its_token() {
    let (control, _office) = control();
    let refused = control.run(connect_speaking(&control, false, b"updraft-join/1")).unwrap_err();
    assert!(refused.to_string().contains("peer doesn't support any known protocol"), "{refused}");
}
