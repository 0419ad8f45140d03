//! What honest senders make: the corpus that fuzzers and tests start from. The same each time it is made.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use updraft_transport::{
    Frame, Header, Incarnation, Kind, NodeId, PeerIdentity,
    body::{Digest, Head, Part},
    ca::{CloudCa, Validity},
    certificate::Certificate,
    join::{Answer, Application, BINDING_BYTES, Entrusted, JoinToken},
    key::NodeKey,
    wire::{Hello, WireVersion, WireVersions, encode},
};

use crate::{frames::Stream, joining::TOKEN_PREFIX};

const NOW: u64 = 1_800_000_000;
const DAY: Duration = Duration::from_secs(86_400);
const CHECKSUM_BYTES: usize = 4;

fn frame(kind: Kind, method: &str, context: &'static [u8], body: &'static [u8]) -> Frame {
    let header = Header {
        kind,
        method: method.into(),
        id: 300,
        incarnation: Incarnation(7),
        deadline_ms: 60_000,
        trace_id: [0xaa; 16],
        span_id: [0xbb; 8],
        trace_flags: 1,
        context: Bytes::from_static(context),
    };
    Frame { header, body: Bytes::from_static(body) }
}

/// The golden frames, alone and one behind the other, each cut in its own way.
pub(crate) fn frames((class, version): Stream) -> Vec<Vec<u8>> {
    let frames = [
        frame(Kind::Call, "compute/boot", b"who", b"vm"),
        frame(Kind::Cast, "a/b", b"who", b""),
        frame(Kind::Reply, "", b"", b"ok"),
        frame(Kind::Cancel, "", b"", b""),
    ];
    let mut all = vec![0x80];
    let mut seeds = Vec::new();
    for (frame, cut) in frames.iter().zip(1..) {
        let mut seed = vec![cut];
        encode(frame, class, version, &mut seed).unwrap();
        all.extend_from_slice(&seed[1..]);
        seeds.push(seed);
    }
    seeds.push(all);
    seeds
}

/// The golden parts, alone and as whole streams, each cut in its own way.
pub(crate) fn bodies() -> Vec<Vec<u8>> {
    let head = |digest| Part::Head(Head { size_bytes: 300, from_bytes: 7, digest });
    let (short, long) = (head(Digest::Sha256([0xaa; 32])), head(Digest::Sha512([0xbb; 64])));
    let piece = Part::Piece(Bytes::from_static(b"vm"));
    let failed = Part::Failed("no".to_owned());
    let streams = [
        vec![short.clone()],
        vec![long.clone()],
        vec![short, piece.clone(), piece.clone(), Part::End],
        vec![long, piece, failed],
    ];
    let bytes = |part: Part| part.encode().map(|(prefix, content)| [prefix, content].concat());
    let seed = |(stream, cut): (Vec<Part>, u8)| {
        [vec![cut], stream.into_iter().flat_map(|part| bytes(part).unwrap()).collect()].concat()
    };
    streams.into_iter().zip(1..).map(seed).collect()
}

pub(crate) fn hellos() -> Vec<Vec<u8>> {
    let versions = |min, max| WireVersions { min: WireVersion(min), max: WireVersion(max) };
    [(versions(1, 2), "compute-1", 300), (versions(3, 3), "c", 1)]
        .into_iter()
        .map(|(versions, name, incarnation)| {
            let (node, incarnation) = (NodeId::new(name).unwrap(), Incarnation(incarnation));
            Hello { versions, node, incarnation }.encode().unwrap()
        })
        .collect()
}

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32]).unwrap()
}

fn ca() -> CloudCa {
    CloudCa::create("test", key(1), Validity::starting(NOW, 365 * DAY)).unwrap()
}

fn certificate(roles: &[&str]) -> Certificate {
    let identity = PeerIdentity::new(NodeId::new("compute-1").unwrap(), roles);
    ca().issue(&identity, &key(2).public(), Validity::starting(NOW, DAY)).unwrap()
}

fn join_token() -> JoinToken {
    let control = NodeId::new("control-1").unwrap();
    let address = "192.0.2.1:7000".parse().unwrap();
    JoinToken::new(*b"sixteen  secrets", ca().certificate(), control, address, NOW + 600)
}

pub(crate) fn applications() -> Vec<Vec<u8>> {
    let node = NodeId::new("compute-1").unwrap();
    let application = Application::new(&join_token(), node, &key(2), &[5; BINDING_BYTES]);
    vec![application.encode().unwrap().to_vec()]
}

pub(crate) fn answers() -> Vec<Vec<u8>> {
    let der = |certificate: &Certificate| Bytes::copy_from_slice(certificate.der());
    let admitted = Answer::Admitted {
        certificate: der(&certificate(&["compute"])),
        authorities: vec![der(ca().certificate())],
        former: Incarnation(1),
        entrusted: Entrusted::new(b"a key".to_vec()),
    };
    let refused = Answer::Refused("the join token has expired".to_owned());
    [admitted, refused].iter().map(|answer| answer.encode().unwrap().to_vec()).collect()
}

pub(crate) fn tokens() -> Vec<Vec<u8>> {
    vec![join_token().to_text().as_bytes().to_vec()]
}

pub(crate) fn tokens_sealed() -> Vec<Vec<u8>> {
    let text = join_token().to_text();
    let mut content = BASE64_URL_SAFE_NO_PAD.decode(&text[TOKEN_PREFIX.len()..]).unwrap();
    content.truncate(content.len() - CHECKSUM_BYTES);
    vec![content]
}

pub(crate) fn ders() -> Vec<Vec<u8>> {
    let node = certificate(&["compute", "network"]);
    [ca().certificate(), &node].map(|certificate| certificate.der().to_vec()).into()
}

pub(crate) fn pems() -> Vec<Vec<u8>> {
    let (ca, node) = (ca().certificate().to_pem(), certificate(&[]).to_pem());
    vec![node.clone().into_bytes(), format!("{ca}{node}").into_bytes()]
}

pub(crate) fn keys() -> Vec<Vec<u8>> {
    vec![key(2).to_pem().as_bytes().to_vec()]
}

pub(crate) fn node_ids() -> Vec<Vec<u8>> {
    let in_postcard = postcard::to_stdvec(&NodeId::new("compute-1").unwrap()).unwrap();
    vec![b"control-1.example".to_vec(), in_postcard]
}
