//! The wire format: golden bytes, round trips, and what hostile bytes can and cannot do.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod bodies;
mod golden;
mod properties;

use bytes::Bytes;
use updraft_transport::{
    Class, Frame, Header, Incarnation, Kind, NodeId, WireError,
    wire::{
        BULK_MAX_BYTES, CALLS_MAX_BYTES, CONTEXT_MAX_BYTES, CONTROL_MAX_BYTES, Decoder, Hello,
        METHOD_MAX_BYTES, WireVersion, WireVersions, decode, encode, encode_head, encoded_bytes,
    },
};

const NEWEST: WireVersion = WireVersion::NEWEST;
/// Every version that this release speaks.
const VERSIONS: [WireVersion; 3] = [WireVersion::ONE, WireVersion::TWO, WireVersion::THREE];

/// A frame with every field set to something of its own.
fn frame(kind: Kind, method: &str, body: &'static [u8]) -> Frame {
    let header = Header {
        kind,
        method: method.into(),
        id: 300,
        incarnation: Incarnation(7),
        deadline_ms: 60_000,
        trace_id: [0xaa; 16],
        span_id: [0xbb; 8],
        trace_flags: 1,
        context: Bytes::from_static(b"who"),
    };
    Frame { header, body: Bytes::from_static(body) }
}

fn sized(body_bytes: usize) -> Frame {
    let mut frame = frame(Kind::Call, "a/b", b"");
    frame.body = vec![0; body_bytes].into();
    frame
}

fn hello() -> Hello {
    Hello {
        versions: WireVersions { min: WireVersion(1), max: WireVersion(2) },
        node: NodeId::new("compute-1").unwrap(),
        incarnation: Incarnation(300),
    }
}

fn versions(min: u16, max: u16) -> WireVersions {
    WireVersions { min: WireVersion(min), max: WireVersion(max) }
}

#[test]
fn each_class_takes_a_frame_of_exactly_its_limit_and_none_larger() {
    for (class, limit_bytes) in [
        (Class::Control, CONTROL_MAX_BYTES),
        (Class::Calls, CALLS_MAX_BYTES),
        (Class::Bulk, BULK_MAX_BYTES),
    ] {
        let header_bytes = encoded_bytes(&sized(0), class).unwrap();
        let fits = sized(limit_bytes - header_bytes);
        assert_eq!(encoded_bytes(&fits, class), Ok(limit_bytes));
        let over = sized(limit_bytes - header_bytes + 1);
        assert_eq!(
            encoded_bytes(&over, class),
            Err(WireError::FrameTooLarge { class, bytes: limit_bytes + 1, limit_bytes })
        );
    }
}

#[test]
fn a_body_of_the_class_limit_fits_under_the_longest_header() {
    let longest = Header {
        kind: Kind::Cancel,
        method: "m".repeat(METHOD_MAX_BYTES).into(),
        id: u64::MAX,
        incarnation: Incarnation(u64::MAX),
        deadline_ms: u32::MAX,
        trace_id: [0xff; 16],
        span_id: [0xff; 8],
        trace_flags: 0xff,
        context: vec![0xff; CONTEXT_MAX_BYTES].into(),
    };
    for class in Class::ALL {
        let body = vec![0; class.body_limit_bytes()].into();
        encoded_bytes(&Frame { header: longest.clone(), body }, class).unwrap();
    }
}

#[test]
fn a_frame_that_is_refused_leaves_the_buffer_as_it_was() {
    let mut out = b"earlier frames".to_vec();
    let mut long_method = sized(0);
    long_method.header.method = "m".repeat(METHOD_MAX_BYTES + 1).into();
    let mut large_context = sized(0);
    large_context.header.context = vec![0; CONTEXT_MAX_BYTES + 1].into();

    assert_eq!(
        encode(&long_method, Class::Calls, NEWEST, &mut out),
        Err(WireError::MethodTooLong(METHOD_MAX_BYTES + 1))
    );
    assert_eq!(
        encode(&large_context, Class::Calls, NEWEST, &mut out),
        Err(WireError::ContextTooLarge(CONTEXT_MAX_BYTES + 1))
    );
    assert!(encode(&sized(CONTROL_MAX_BYTES), Class::Control, NEWEST, &mut out).is_err());
    assert_eq!(out, b"earlier frames");
}

#[test]
fn a_head_and_its_body_are_the_whole_frame() {
    let frame = frame(Kind::Cast, "volume/attach", b"body");
    let (mut whole, mut head) = (Vec::new(), Vec::new());
    encode(&frame, Class::Calls, NEWEST, &mut whole).unwrap();
    encode_head(&frame, Class::Calls, NEWEST, &mut head).unwrap();
    head.extend_from_slice(b"body");
    assert_eq!(head, whole);
}

#[test]
fn a_length_over_the_limit_is_refused_before_its_bytes_come() {
    let mut decoder = Decoder::new(Class::Control, NEWEST);
    decoder.feed(Bytes::copy_from_slice(&u32::MAX.to_be_bytes()));
    assert_eq!(
        decoder.next_frame(),
        Err(WireError::FrameTooLarge {
            class: Class::Control,
            bytes: u32::MAX as usize,
            limit_bytes: CONTROL_MAX_BYTES,
        })
    );
}

#[test]
fn a_frame_of_no_bytes_has_no_header() {
    let mut decoder = Decoder::new(Class::Calls, NEWEST);
    decoder.feed(Bytes::from_static(&[0; 4]));
    assert!(matches!(decoder.next_frame(), Err(WireError::Header(_))));
}

#[test]
fn a_header_that_claims_more_context_than_the_frame_holds_is_refused() {
    let mut bytes = Vec::new();
    encode(&frame(Kind::Call, "a/b", b""), Class::Calls, NEWEST, &mut bytes).unwrap();
    let context_length_at = bytes.len() - 4;
    bytes[context_length_at] = 100;
    let mut decoder = Decoder::new(Class::Calls, NEWEST);
    decoder.feed(bytes.into());
    assert!(matches!(decoder.next_frame(), Err(WireError::Header(_))));
}

#[test]
fn two_sides_agree_on_the_highest_version_that_both_speak() {
    assert_eq!(versions(1, 3).agree(versions(2, 5)), Ok(WireVersion(3)));
    assert_eq!(versions(2, 5).agree(versions(1, 3)), Ok(WireVersion(3)));
    assert_eq!(versions(1, 1).agree(versions(1, 1)), Ok(WireVersion(1)));
}

#[test]
fn sides_without_a_common_version_say_so_in_words() {
    let refusal = versions(1, 2).agree(versions(3, 4)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "no common wire version: this side speaks 1 to 2, the peer 3 to 4"
    );
    assert!(versions(3, 4).agree(versions(1, 2)).is_err());
}

#[test]
fn every_version_that_is_supported_is_tested_here() {
    let supported = WireVersions::SUPPORTED;
    assert_eq!((Some(&supported.min), Some(&supported.max)), (VERSIONS.first(), VERSIONS.last()));
    assert_eq!(usize::from(supported.max.0 - supported.min.0) + 1, VERSIONS.len());
}

#[test]
fn a_version_that_is_not_known_is_neither_written_nor_read() {
    let (frame, unknown) = (frame(Kind::Call, "a/b", b""), WireVersion(4));
    let mut out = b"earlier frames".to_vec();
    let refusal = encode(&frame, Class::Calls, unknown, &mut out).unwrap_err();
    assert_eq!(refusal, WireError::UnknownVersion(unknown));
    assert_eq!(refusal.to_string(), "wire version 4 is not known here");
    assert_eq!(out, b"earlier frames");
    assert_eq!(decode(&Bytes::new(), unknown), Err(WireError::UnknownVersion(unknown)));
}

#[test]
fn no_older_version_makes_a_frame_larger() {
    let frame = frame(Kind::Call, "a/b", b"body");
    let sizes = VERSIONS.map(|version| {
        let mut bytes = Vec::new();
        encode(&frame, Class::Calls, version, &mut bytes).unwrap();
        bytes.len()
    });
    assert!(sizes.is_sorted(), "{sizes:?}");
}

#[test]
fn a_hello_of_a_later_release_is_read_as_far_as_it_is_known() {
    let mut bytes = hello().encode().unwrap();
    bytes.extend_from_slice(b"fields of a later release");
    assert_eq!(Hello::decode(&bytes[4..]), Ok(hello()));
}

#[test]
fn what_does_not_open_with_the_magic_is_no_hello() {
    assert_eq!(Hello::decode(b"GET / HTTP/1.1\r\n"), Err(WireError::NotAHello));
    assert_eq!(Hello::decode(b"UPDRAFT\0\0"), Err(WireError::NotAHello));
}

#[test]
fn a_hello_is_as_long_as_its_magic_and_shorter_than_a_page() {
    assert_eq!(Hello::length(11_u32.to_be_bytes()), Err(WireError::HelloLength(11)));
    assert_eq!(Hello::length(12_u32.to_be_bytes()), Ok(12));
    assert_eq!(Hello::length(1024_u32.to_be_bytes()), Ok(1024));
    assert_eq!(Hello::length(1025_u32.to_be_bytes()), Err(WireError::HelloLength(1025)));
}
