//! The parts of a body's stream as bytes: one byte for the kind, `u32` big-endian length, content.

use bytes::{BufMut, Bytes, BytesMut};

use super::Digest;

/// Largest piece of a body: enough to amortise a disk access, and little enough that what a break loses is soon sent
/// again.
pub const PIECE_MAX_BYTES: usize = 256 * 1024;
/// Longest word of a sender on why its body does not go on.
pub const WORDS_MAX_BYTES: usize = 1024;
/// Bytes of a size and an offset.
const HEAD_FIXED_BYTES: usize = 16;
/// Longest head: both, and the longer digest.
const HEAD_MAX_BYTES: usize = HEAD_FIXED_BYTES + 65;
/// Bytes of kind and length.
const PREFIX_BYTES: usize = 5;

/// The kinds of parts on the wire.
const HEAD: u8 = 1;
const PIECE: u8 = 2;
const END: u8 = 3;
const FAILED: u8 = 4;

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How long the whole body is.
    pub size_bytes: u64,
    /// From where on it follows.
    pub from_bytes: u64,
    /// The digest of the whole body.
    pub digest: Digest,
}

/// What a stream carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What follows.
    Head(Head),
    /// The next bytes of the body, at least one.
    Piece(Bytes),
    /// All has been sent.
    End,
    /// The sender cannot go on, and says why.
    Failed(String),
}

/// What is wrong with a body's stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It broke off: its connection is gone, or the other side has given it up.
    #[error("the stream of a body broke off: {0}")]
    Broken(String),
    /// A part is of a kind that nobody knows.
    #[error("the stream of a body carries a part of kind {0}, which is not known here")]
    Kind(u8),
    /// A part is longer or shorter than its kind may be.
    #[error("a part of kind {kind} of a body's stream has {bytes} bytes, which is out of bounds")]
    Length {
        /// Its kind.
        kind: u8,
        /// Its length.
        bytes: usize,
    },
    /// What should be a digest is none.
    #[error("the digest of a body makes no sense")]
    Digest,
    /// What should be words is no text.
    #[error("why a body does not go on is not said in UTF-8")]
    Words,
}

impl BodyError {
    /// Whether the stream carried what no honest sender sends, rather than that it broke.
    #[must_use]
    pub fn is_nonsense(&self) -> bool {
        !matches!(self, Self::Broken(_))
    }
}

/// Whether a part of this kind may have so many bytes.
fn check(kind: u8, bytes: usize) -> Result<(), BodyError> {
    let fits = match kind {
        HEAD => (HEAD_FIXED_BYTES..=HEAD_MAX_BYTES).contains(&bytes),
        PIECE => (1..=PIECE_MAX_BYTES).contains(&bytes),
        END => bytes == 0,
        FAILED => bytes <= WORDS_MAX_BYTES,
        other => return Err(BodyError::Kind(other)),
    };
    if fits { Ok(()) } else { Err(BodyError::Length { kind, bytes }) }
}

impl Part {
    /// The part as bytes: kind and length, and the content from where it lies.
    ///
    /// # Errors
    ///
    /// It is over the limit of its kind.
    pub fn encode(self) -> Result<(Bytes, Bytes), BodyError> {
        let (kind, content) = match self {
            Self::Head(head) => (HEAD, head.encode()),
            Self::Piece(bytes) => (PIECE, bytes),
            Self::End => (END, Bytes::new()),
            Self::Failed(words) => (FAILED, words.into()),
        };
        check(kind, content.len())?;
        let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
        prefix.put_u8(kind);
        // Every limit is far below 4 GiB.
        prefix.put_u32(u32::try_from(content.len()).unwrap_or(u32::MAX));
        Ok((prefix.freeze(), content))
    }

    fn decode(kind: u8, content: Bytes) -> Result<Self, BodyError> {
        match kind {
            HEAD => Head::decode(&content).map(Self::Head),
            PIECE => Ok(Self::Piece(content)),
            END => Ok(Self::End),
            FAILED => {
                String::from_utf8(content.into()).map(Self::Failed).map_err(|_| BodyError::Words)
            }
            other => Err(BodyError::Kind(other)),
        }
    }
}

impl Head {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEAD_MAX_BYTES);
        out.put_u64(self.size_bytes);
        out.put_u64(self.from_bytes);
        out.put_slice(&self.digest.encode());
        out.freeze()
    }

    fn decode(content: &[u8]) -> Result<Self, BodyError> {
        let wrong = || BodyError::Length { kind: HEAD, bytes: content.len() };
        let (size, rest) = content.split_first_chunk().ok_or_else(wrong)?;
        let (from, digest) = rest.split_first_chunk().ok_or_else(wrong)?;
        Ok(Self {
            size_bytes: u64::from_be_bytes(*size),
            from_bytes: u64::from_be_bytes(*from),
            digest: Digest::decode(digest)?,
        })
    }
}

/// Puts the parts of one stream together. It says where the next bytes go, so that they are copied once, and never has
/// room for more than one part.
#[derive(Debug, Default)]
pub struct Assembler {
    prefix: [u8; PREFIX_BYTES],
    /// The kind and the content of the part whose prefix is whole.
    part: Option<(u8, BytesMut)>,
    /// How much of the prefix, or of the content, is there.
    filled_bytes: usize,
}

impl Assembler {
    /// Where the next bytes go: at least one.
    pub fn space(&mut self) -> &mut [u8] {
        match &mut self.part {
            Some((_, content)) => &mut content[self.filled_bytes..],
            None => &mut self.prefix[self.filled_bytes..],
        }
    }

    /// Takes note that so many bytes were put there; the part that they have made whole.
    ///
    /// # Errors
    ///
    /// They are no part; the stream is of no use any more.
    pub fn filled(&mut self, bytes: usize) -> Result<Option<Part>, BodyError> {
        self.filled_bytes += bytes;
        if self.part.is_none() {
            if self.filled_bytes < PREFIX_BYTES {
                return Ok(None);
            }
            let [kind, length @ ..] = self.prefix;
            let length = u32::from_be_bytes(length) as usize;
            check(kind, length)?;
            self.part = Some((kind, BytesMut::zeroed(length)));
            self.filled_bytes = 0;
        }
        match self.part.take() {
            Some((kind, content)) if content.len() == self.filled_bytes => {
                self.filled_bytes = 0;
                Part::decode(kind, content.freeze()).map(Some)
            }
            unfinished => {
                self.part = unfinished;
                Ok(None)
            }
        }
    }

    /// Whether no part is begun and not whole.
    #[must_use]
    pub fn is_between_parts(&self) -> bool {
        self.part.is_none() && self.filled_bytes == 0
    }
}
