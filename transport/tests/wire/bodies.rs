//! The parts of a body's stream: bytes that must never change, and what hostile bytes can and cannot do.

use updraft_transport::body::{
    Assembler, BodyError, Digest, Head, PIECE_MAX_BYTES, Part, WORDS_MAX_BYTES,
};

use super::*;

fn head(digest: Digest) -> Part {
    Part::Head(Head { size_bytes: 0x0102_0304, from_bytes: 7, digest })
}

fn encoded(part: Part) -> Vec<u8> {
    let (prefix, content) = part.encode().unwrap();
    [prefix, content].concat()
}

/// Feeds bytes, so many at a time; the parts, and what ended them.
fn parts(mut bytes: &[u8], at_a_time: usize) -> (Vec<Part>, Result<(), BodyError>) {
    let (mut assembler, mut parts) = (Assembler::default(), Vec::new());
    while !bytes.is_empty() {
        let space = assembler.space();
        let count = space.len().min(bytes.len()).min(at_a_time);
        space[..count].copy_from_slice(&bytes[..count]);
        bytes = &bytes[count..];
        match assembler.filled(count) {
            Ok(part) => parts.extend(part),
            Err(error) => return (parts, Err(error)),
        }
    }
    assert!(assembler.is_between_parts());
    (parts, Ok(()))
}

#[test]
fn each_part_has_the_bytes_that_other_releases_write() {
    let golden = |part: Part, golden: &str| {
        let bytes = encoded(part.clone());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
        assert_eq!(parts(&bytes, 3), (vec![part], Ok(())));
    };
    let (short, long) = ("aa".repeat(32), "bb".repeat(64));
    let sizes = "00000000010203040000000000000007";
    golden(head(Digest::Sha256([0xaa; 32])), &format!("0100000031{sizes}01{short}"));
    golden(head(Digest::Sha512([0xbb; 64])), &format!("0100000051{sizes}02{long}"));
    golden(Part::Piece(Bytes::from_static(b"vm")), "0200000002766d");
    golden(Part::End, "0300000000");
    golden(Part::Failed("no".to_owned()), "04000000026e6f");
}

#[test]
fn parts_come_whole_however_the_stream_is_cut() {
    let sent = vec![
        head(Digest::Sha256([1; 32])),
        Part::Piece(vec![2; PIECE_MAX_BYTES].into()),
        Part::Piece(vec![3; 1].into()),
        Part::End,
    ];
    let bytes: Vec<u8> = sent.iter().cloned().flat_map(encoded).collect();
    for at_a_time in [1, 4, 5, 6, 1000, usize::MAX] {
        assert_eq!(parts(&bytes, at_a_time), (sent.clone(), Ok(())));
    }
}

#[test]
fn a_part_out_of_bounds_is_refused_by_its_length_alone() {
    let refusal = |bytes: &[u8]| parts(bytes, 1).1.unwrap_err();
    let length = |kind, bytes| BodyError::Length { kind, bytes };
    assert_eq!(refusal(&[2, 0, 4, 0, 1]), length(2, PIECE_MAX_BYTES + 1));
    assert_eq!(refusal(&[2, 0xff, 0xff, 0xff, 0xff]), length(2, u32::MAX as usize));
    assert_eq!(refusal(&[2, 0, 0, 0, 0]), length(2, 0));
    assert_eq!(refusal(&[1, 0, 0, 0, 15]), length(1, 15));
    assert_eq!(refusal(&[3, 0, 0, 0, 1]), length(3, 1));
    assert_eq!(refusal(&[4, 0, 0, 4, 1]), length(4, WORDS_MAX_BYTES + 1));
    assert_eq!(refusal(&[9, 0, 0, 0, 1]), BodyError::Kind(9));
    let no_digest = [&[1, 0, 0, 0, 17][..], &[0; 16], &[3]].concat();
    assert_eq!(refusal(&no_digest), BodyError::Digest);
    assert_eq!(refusal(&[4, 0, 0, 0, 1, 0xff]), BodyError::Words);
}

#[test]
fn a_part_over_its_limit_is_not_sent() {
    let large = Part::Piece(vec![0; PIECE_MAX_BYTES + 1].into());
    assert!(matches!(large.encode(), Err(BodyError::Length { kind: 2, .. })));
    assert!(Part::Piece(Bytes::new()).encode().is_err());
    assert!(Part::Failed("x".repeat(WORDS_MAX_BYTES + 1)).encode().is_err());
}

#[test]
fn a_digest_is_what_its_digits_say_and_nothing_else_is_one() {
    for digest in [Digest::Sha256([0x0a; 32]), Digest::Sha512([0xf1; 64])] {
        assert_eq!(Digest::from_hex(&digest.hex()), Some(digest));
    }
    assert_eq!(Digest::Sha256([0x0a; 32]).to_string(), format!("sha256:{}", "0a".repeat(32)));
    for digits in ["", "0a", &"0a".repeat(33), &"+a".repeat(32), &"äö".repeat(16), &"0".repeat(63)]
    {
        assert_eq!(Digest::from_hex(digits), None, "{digits}");
    }
}
