//! The stream of a body.

use updraft_transport::body::{Assembler, BodyError, PIECE_MAX_BYTES, Part};

use crate::frames::Cut;

/// The first byte says how the rest is cut; the parts must not depend on it, and survive a second way.
#[must_use]
pub fn body(bytes: &[u8]) -> bool {
    let Some((cut, bytes)) = bytes.split_first() else { return false };
    let (whole, whole_end) = assemble([bytes]);
    let (cut, cut_end) = assemble(Cut { state: u32::from(*cut), rest: bytes });
    assert_eq!(whole, cut, "the parts depend on how the stream is cut");
    assert_eq!(whole_end, cut_end, "the end depends on how the stream is cut");
    let again: Vec<u8> = whole.iter().cloned().flat_map(encoded).collect();
    assert!(again.len() <= bytes.len(), "parts grow when they are sent on");
    assert_eq!(assemble([&again[..]]), (whole, Ok(true)), "parts change when they are sent on");
    whole_end == Ok(true)
}

fn encoded(part: Part) -> Vec<u8> {
    let (prefix, content) = part.encode().expect("a part that came can be sent");
    [prefix, content].concat()
}

/// The parts of a stream, and whether it ends between two.
fn assemble<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Part>, Result<bool, BodyError>) {
    let (mut assembler, mut parts) = (Assembler::default(), Vec::new());
    for mut chunk in chunks {
        while !chunk.is_empty() {
            let space = assembler.space();
            assert!((1..=PIECE_MAX_BYTES).contains(&space.len()), "room for {} bytes", space.len());
            let (taken, rest) = chunk.split_at(space.len().min(chunk.len()));
            space[..taken.len()].copy_from_slice(taken);
            chunk = rest;
            match assembler.filled(taken.len()) {
                Ok(part) => parts.extend(part),
                Err(error) => return (parts, Err(error)),
            }
        }
    }
    (parts, Ok(assembler.is_between_parts()))
}
