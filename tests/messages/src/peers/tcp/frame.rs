//! A frame: `u32` big-endian length, then postcard.

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

const LENGTH_BYTES: usize = 4;

/// A question or an answer; its text and bytes stay where they lie.
#[derive(Serialize, Deserialize)]
pub(super) struct Frame<'a> {
    pub(super) id: u64,
    pub(super) method: &'a str,
    pub(super) patience_ms: u32,
    pub(super) body: &'a [u8],
}

/// Appends a frame.
pub(super) fn append(frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), postcard::Error> {
    let start = out.len();
    let mut filled = std::mem::take(out);
    filled.extend_from_slice(&[0; LENGTH_BYTES]);
    *out = postcard::to_extend(frame, filled)?;
    // A frame of this program is never as long as 4 GiB.
    let length = u32::try_from(out.len() - start - LENGTH_BYTES).unwrap_or(u32::MAX);
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Takes a whole frame off the front.
pub(super) fn split(pending: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(*pending.first_chunk::<LENGTH_BYTES>()?) as usize;
    if pending.len() - LENGTH_BYTES < length {
        return None;
    }
    pending.advance(LENGTH_BYTES);
    Some(pending.split_to(length).freeze())
}

/// Reads one.
pub(super) fn parse(payload: &Bytes) -> Result<Frame<'_>, postcard::Error> {
    postcard::from_bytes(payload)
}
