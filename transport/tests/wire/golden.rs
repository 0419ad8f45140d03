//! Bytes that must never change: another release wrote them.

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What every golden frame of version 1 has behind its method: id, incarnation, deadline, trace, span, context.
const REST_OF_ONE: &str = "ac0207e0d403aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb0377686f";
/// The same of version 2, with trace flags behind the span.
const REST_OF_TWO: &str = "ac0207e0d403aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb010377686f";

/// Checks a frame, whose trace flags are 1, in all versions: three has the frames of two.
#[track_caller]
fn check(kind: Kind, method: &str, body: &'static [u8], one: &str, two: &str) {
    let sent = frame(kind, method, body);
    let mut without_flags = sent.clone();
    without_flags.header.trace_flags = 0;
    let one = one.replace("REST", REST_OF_ONE);
    check_version(&sent, WireVersion::ONE, &one, &without_flags);
    let two = two.replace("REST", REST_OF_TWO);
    check_version(&sent, WireVersion::TWO, &two, &sent);
    check_version(&sent, WireVersion::THREE, &two, &sent);
}

#[track_caller]
fn check_version(sent: &Frame, version: WireVersion, golden: &str, received: &Frame) {
    let mut bytes = Vec::new();
    encode(sent, Class::Calls, version, &mut bytes).unwrap();
    assert_eq!(hex(&bytes), golden, "{version:?}");
    let mut decoder = Decoder::new(Class::Calls, version);
    decoder.feed(bytes.into());
    assert_eq!(decoder.next_frame(), Ok(Some(received.clone())), "{version:?}");
    assert!(decoder.is_between_frames());
}

#[test]
fn a_call() {
    check(
        Kind::Call,
        "compute/boot",
        b"vm",
        "00000032000c636f6d707574652f626f6f74REST766d",
        "00000033000c636f6d707574652f626f6f74REST766d",
    );
}

#[test]
fn a_cast() {
    check(Kind::Cast, "a/b", b"", "000000270103612f62REST", "000000280103612f62REST");
}

#[test]
fn a_reply() {
    check(Kind::Reply, "", b"ok", "000000260200REST6f6b", "000000270200REST6f6b");
}

#[test]
fn a_cancel() {
    check(Kind::Cancel, "", b"", "000000240300REST", "000000250300REST");
}

#[test]
fn a_hello() {
    let bytes = hello().encode().unwrap();
    assert_eq!(
        hex(&bytes),
        "00000018\
         5550445241465400\
         00010002\
         09636f6d707574652d31ac02"
    );
    assert_eq!(Hello::decode(&bytes[4..]), Ok(hello()));
}
