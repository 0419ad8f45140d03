//! Bytes that must never change: another release wrote them.

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What every golden frame has behind its method: id, incarnation, deadline, trace, span, context.
const REST: &str = "ac0207e0d403aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb0377686f";

#[track_caller]
fn check(kind: Kind, method: &str, body: &'static [u8], golden: &str) {
    let frame = frame(kind, method, body);
    let mut bytes = Vec::new();
    encode(&frame, Class::Calls, &mut bytes).unwrap();
    assert_eq!(hex(&bytes), golden.replace("REST", REST));
    let mut decoder = Decoder::new(Class::Calls);
    decoder.feed(&bytes);
    assert_eq!(decoder.next_frame(), Ok(Some(frame)));
    assert!(decoder.is_between_frames());
}

#[test]
fn a_call() {
    check(Kind::Call, "compute/boot", b"vm", "00000032000c636f6d707574652f626f6f74REST766d");
}

#[test]
fn a_cast() {
    check(Kind::Cast, "a/b", b"", "000000270103612f62REST");
}

#[test]
fn a_reply() {
    check(Kind::Reply, "", b"ok", "000000260200REST6f6b");
}

#[test]
fn a_cancel() {
    check(Kind::Cancel, "", b"", "000000240300REST");
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
