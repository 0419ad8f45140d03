//! What holds for every frame and for any bytes at all.

use proptest::{collection::vec, prelude::*};

use super::*;

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Call), Just(Kind::Cast), Just(Kind::Reply), Just(Kind::Cancel)]
}

fn any_class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Control), Just(Class::Calls), Just(Class::Bulk)]
}

prop_compose! {
    fn any_frame()(
        kind in any_kind(),
        method in "[a-z]{0,10}(/[a-zé_]{1,20})?",
        (id, incarnation, deadline_ms) in any::<(u64, u64, u32)>(),
        (trace_id, span_id, trace_flags) in any::<([u8; 16], [u8; 8], u8)>(),
        context in vec(any::<u8>(), 0..200),
        body in vec(any::<u8>(), 0..2000),
    ) -> Frame {
        let header = Header {
            kind, method: method.into(), id, incarnation: Incarnation(incarnation), deadline_ms, trace_id, span_id,
            trace_flags, context: context.into(),
        };
        Frame { header, body: body.into() }
    }
}

fn any_version() -> impl Strategy<Value = WireVersion> {
    proptest::sample::select(VERSIONS.to_vec())
}

/// A frame as it comes out of a connection that speaks this version.
fn carried(mut frame: Frame, version: WireVersion) -> Frame {
    if version == WireVersion::ONE {
        frame.header.trace_flags = 0;
    }
    frame
}

/// Everything a decoder makes of a stream that arrives in these chunks.
fn decode_all<'a>(
    class: Class,
    version: WireVersion,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<Frame>, WireError> {
    let mut decoder = Decoder::new(class, version);
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.feed(Bytes::copy_from_slice(chunk));
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

proptest! {
    #[test]
    fn frames_survive_the_wire_however_it_cuts_them(
        frames in vec(any_frame(), 0..5),
        (class, version) in (any_class(), any_version()),
        chunk_bytes in 1_usize..700,
    ) {
        let mut stream = Vec::new();
        for frame in &frames {
            encode(frame, class, version, &mut stream).unwrap();
        }
        let expected = frames.into_iter().map(|frame| carried(frame, version)).collect();
        prop_assert_eq!(decode_all(class, version, stream.chunks(chunk_bytes)), Ok(expected));
    }

    #[test]
    fn the_size_told_beforehand_is_the_size_on_the_wire(
        frame in any_frame(),
        (class, version) in (any_class(), any_version()),
    ) {
        let told_bytes = encoded_bytes(&frame, class).unwrap();
        let mut bytes = Vec::new();
        encode(&frame, class, version, &mut bytes).unwrap();
        prop_assert!(bytes.len() - 4 <= told_bytes);
        bytes.clear();
        encode(&frame, class, NEWEST, &mut bytes).unwrap();
        prop_assert_eq!(told_bytes, bytes.len() - 4);
    }

    #[test]
    fn any_bytes_end_in_frames_no_larger_than_they_were(
        bytes in vec(any::<u8>(), 0..4000),
        (class, version) in (any_class(), any_version()),
    ) {
        if let Ok(frames) = decode_all(class, version, bytes.chunks(97)) {
            let held: usize =
                frames.iter().map(|frame| frame.body.len() + frame.header.context.len()).sum();
            prop_assert!(held <= bytes.len());
        }
    }

    #[test]
    fn a_damaged_frame_is_an_error_or_another_frame_but_never_a_panic(
        frame in any_frame(),
        version in any_version(),
        (at, bit) in (any::<proptest::sample::Index>(), 0_u8..8),
    ) {
        let mut bytes = Vec::new();
        encode(&frame, Class::Calls, version, &mut bytes).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = decode_all(Class::Calls, version, [&bytes[..]]);
    }

    #[test]
    fn any_bytes_as_a_hello_are_a_hello_or_an_error(bytes in vec(any::<u8>(), 0..64)) {
        let mut hello = b"UPDRAFT\0".to_vec();
        hello.extend_from_slice(&bytes);
        let _ = Hello::decode(&hello);
        let _ = Hello::decode(&bytes);
    }
}
