//! Streams of frames, in each class and wire version, and hellos.

use bytes::Bytes;
use updraft_transport::{
    Class, Frame, WireError,
    wire::{Decoder, Hello, LENGTH_BYTES, WireVersion, encode},
};

/// What a stream carries.
pub type Stream = (Class, WireVersion);

/// Control, version 1.
pub const CONTROL_ONE: Stream = (Class::Control, WireVersion::ONE);
/// Control, version 2.
pub const CONTROL_TWO: Stream = (Class::Control, WireVersion::TWO);
/// Calls, version 1.
pub const CALLS_ONE: Stream = (Class::Calls, WireVersion::ONE);
/// Calls, version 2.
pub const CALLS_TWO: Stream = (Class::Calls, WireVersion::TWO);
/// Bulk, version 1.
pub const BULK_ONE: Stream = (Class::Bulk, WireVersion::ONE);
/// Bulk, version 2.
pub const BULK_TWO: Stream = (Class::Bulk, WireVersion::TWO);

/// A control stream of version 1.
#[must_use]
pub fn control_one(bytes: &[u8]) -> bool {
    stream(CONTROL_ONE, bytes)
}

/// A control stream of version 2.
#[must_use]
pub fn control_two(bytes: &[u8]) -> bool {
    stream(CONTROL_TWO, bytes)
}

/// A stream of calls of version 1.
#[must_use]
pub fn calls_one(bytes: &[u8]) -> bool {
    stream(CALLS_ONE, bytes)
}

/// A stream of calls of version 2.
#[must_use]
pub fn calls_two(bytes: &[u8]) -> bool {
    stream(CALLS_TWO, bytes)
}

/// A bulk stream of version 1.
#[must_use]
pub fn bulk_one(bytes: &[u8]) -> bool {
    stream(BULK_ONE, bytes)
}

/// A bulk stream of version 2.
#[must_use]
pub fn bulk_two(bytes: &[u8]) -> bool {
    stream(BULK_TWO, bytes)
}

/// The first byte says how the rest is cut; the frames must not depend on it, and survive a second way.
fn stream(of: Stream, bytes: &[u8]) -> bool {
    let Some((cut, bytes)) = bytes.split_first() else { return false };
    let (whole, whole_end) = decode(of, [bytes]);
    let (cut, cut_end) = decode(of, Cut { state: u32::from(*cut), rest: bytes });
    assert_eq!(whole, cut, "the frames depend on how the stream is cut");
    assert_eq!(whole_end, cut_end, "the end depends on how the stream is cut");
    let held: usize = whole.iter().map(|f| f.body.len() + f.header.context.len()).sum();
    assert!(held <= bytes.len(), "frames hold {held} bytes of {}", bytes.len());
    let mut again = Vec::new();
    for frame in &whole {
        encode(frame, of.0, of.1, &mut again).expect("a frame that came can be sent");
    }
    assert!(again.len() <= bytes.len(), "frames grow when they are sent on");
    assert_eq!(decode(of, [&again[..]]), (whole, Ok(true)), "frames change when they are sent on");
    whole_end == Ok(true)
}

/// The frames of a stream, and whether it ends between two.
fn decode<'a>(
    (class, version): Stream,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Frame>, Result<bool, WireError>) {
    let mut decoder = Decoder::new(class, version);
    let mut frames = Vec::new();
    for chunk in chunks {
        decoder.feed(Bytes::copy_from_slice(chunk));
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(decoder.is_between_frames()))
}

/// Cuts bytes into chunks of 1 to 64 that follow from a number.
pub(crate) struct Cut<'a> {
    pub(crate) state: u32,
    pub(crate) rest: &'a [u8],
}

impl<'a> Iterator for Cut<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let bytes = (self.state >> 26) as usize + 1;
        let (chunk, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.rest = rest;
        Some(chunk)
    }
}

/// The first bytes of a connection.
#[must_use]
pub fn hello(bytes: &[u8]) -> bool {
    let Some((prefix, payload)) = bytes.split_first_chunk::<LENGTH_BYTES>() else { return false };
    let Ok(length) = Hello::length(*prefix) else { return false };
    let Ok(hello) = Hello::decode(&payload[..length.min(payload.len())]) else { return false };
    let again = hello.encode().expect("a hello that came can be said");
    let (prefix, payload) = again.split_first_chunk::<LENGTH_BYTES>().expect("it has a length");
    assert_eq!(Hello::length(*prefix), Ok(payload.len()));
    assert_eq!(Hello::decode(payload), Ok(hello));
    true
}
