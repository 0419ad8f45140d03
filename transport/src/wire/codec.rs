//! Frames as bytes: `u32` big-endian length, postcard header, body.
//!
//! The length counts header and body. How a header looks is the business of each wire version; a connection
//! speaks one, so no frame says which it is.

use bytes::{Buf, Bytes, BytesMut};
use postcard::ser_flavors::Flavor;

use super::{Class, Frame, LENGTH_BYTES, WireError, hello::WireVersion, layout};

/// The size of a frame on the wire in the newest version, without the length in front. No older version makes it
/// larger.
///
/// # Errors
///
/// [`WireError`] if the frame is over a limit.
pub fn encoded_bytes(frame: &Frame, class: Class) -> Result<usize, WireError> {
    layout::check_fields(frame.header.method.len(), frame.header.context.len())?;
    check_length(layout::header_bytes(&frame.header) + frame.body.len(), class)
}

/// Appends a frame to `out`, as this version has it. After an error `out` is as before.
///
/// # Errors
///
/// [`WireError`] if the frame is over a limit, or the version is not known.
pub fn encode(
    frame: &Frame,
    class: Class,
    version: WireVersion,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    encode_head(frame, class, version, out)?;
    out.extend_from_slice(&frame.body);
    Ok(())
}

/// Appends a frame without its body, for a writer that sends a large body from where it lies.
///
/// After an error `out` is as before.
///
/// # Errors
///
/// As [`encode`].
pub fn encode_head(
    frame: &Frame,
    class: Class,
    version: WireVersion,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let sized = layout::write(&frame.header, version, Append(out))
        .and_then(|()| check_length(out.len() - start - LENGTH_BYTES + frame.body.len(), class));
    match sized {
        Ok(bytes) => {
            // Every class's limit is far below 4 GiB.
            let length = u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
            out[start..start + LENGTH_BYTES].copy_from_slice(&length);
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

fn check_length(bytes: usize, class: Class) -> Result<usize, WireError> {
    let limit_bytes = class.limit_bytes();
    if bytes > limit_bytes {
        return Err(WireError::FrameTooLarge { class, bytes, limit_bytes });
    }
    Ok(bytes)
}

/// Lets postcard append to a buffer that already holds other frames.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Turns the chunks of one stream back into frames.
///
/// It holds what was fed and not yet taken, so take every frame before feeding the next chunk. The
/// body and context of a frame share the memory of the bytes around them: who keeps one for long
/// copies it. After an error the stream has lost its frame boundaries and must be dropped.
#[derive(Debug)]
pub struct Decoder {
    class: Class,
    version: WireVersion,
    /// The begin of a frame that goes on in the chunk.
    pending: BytesMut,
    chunk: Bytes,
}

impl Decoder {
    /// A decoder for a stream of this class on a connection that speaks this version.
    #[must_use]
    pub fn new(class: Class, version: WireVersion) -> Self {
        Self { class, version, pending: BytesMut::new(), chunk: Bytes::new() }
    }

    /// Adds what the stream brought. A frame that lies in it whole is read from where it lies.
    pub fn feed(&mut self, chunk: Bytes) {
        let former = std::mem::replace(&mut self.chunk, chunk);
        self.pending.extend_from_slice(&former);
    }

    /// The next whole frame, or `None` until more bytes are fed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        // If nothing of it came before, it may lie in the chunk whole.
        let ahead =
            if self.pending.is_empty() { framed_bytes(&self.chunk, self.class)? } else { None };
        if let Some(bytes) = ahead.filter(|bytes| *bytes <= self.chunk.len()) {
            return read(self.chunk.split_to(bytes), self.version).map(Some);
        }
        self.fill(LENGTH_BYTES);
        let Some(bytes) = framed_bytes(&self.pending, self.class)? else { return Ok(None) };
        self.fill(bytes);
        if self.pending.len() < bytes {
            return Ok(None);
        }
        let framed = self.pending.split_to(bytes).freeze();
        read(framed, self.version).map(Some)
    }

    /// Moves bytes of the chunk until so many are pending, or none are left.
    fn fill(&mut self, bytes: usize) {
        let missing = bytes.saturating_sub(self.pending.len()).min(self.chunk.len());
        self.pending.extend_from_slice(&self.chunk.split_to(missing));
    }

    /// How many bytes were fed and not yet taken.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.pending.len() + self.chunk.len()
    }

    /// Whether the bytes fed so far end between two frames.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.held_bytes() == 0
    }
}

/// What the next frame takes with the length in front, if that is there.
fn framed_bytes(bytes: &[u8], class: Class) -> Result<Option<usize>, WireError> {
    let Some(prefix) = bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = check_length(u32::from_be_bytes(*prefix) as usize, class)?;
    Ok(Some(LENGTH_BYTES + length))
}

fn read(mut framed: Bytes, version: WireVersion) -> Result<Frame, WireError> {
    framed.advance(LENGTH_BYTES);
    decode(&framed, version)
}

/// Reads what follows the length of a frame of this version, all of it, from where it lies.
///
/// # Errors
///
/// [`WireError`] if it is no header of this version, one over its limits, or the version is not known.
pub fn decode(payload: &Bytes, version: WireVersion) -> Result<Frame, WireError> {
    layout::read(payload, version)
}
