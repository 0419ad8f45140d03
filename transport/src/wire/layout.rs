//! The header as each wire version lays it out.
//!
//! A version's fields stand in the order of its type here, in postcard, for ever: another order, another type
//! or one field more is a new version. Two differs from One by the trace flags, and Three not from Two. What One
//! does not carry is read as zero, which says that the sender has not decided whether the trace is sampled: the
//! receiver decides.

use bytes::Bytes;
use bytestring::ByteString;
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use super::{
    CONTEXT_MAX_BYTES, Frame, Header, Kind, METHOD_MAX_BYTES, WireError, hello::WireVersion,
};
use crate::id::Incarnation;

/// What tells one kind of frame from another.
const KIND_BYTES: usize = 1;
/// They are one byte in W3C's format too.
const TRACE_FLAGS_BYTES: usize = 1;

/// The header of version 1; text and bytes lie where they are.
#[derive(Serialize, Deserialize)]
struct One<'a> {
    kind: Kind,
    method: &'a str,
    id: u64,
    incarnation: Incarnation,
    deadline_ms: u32,
    trace_id: [u8; 16],
    span_id: [u8; 8],
    #[serde(borrow)]
    context: &'a [u8],
}

/// The header of versions 2 and 3. It is written from [`Header`], whose fields stand in the same order.
#[derive(Deserialize)]
struct Two<'a> {
    kind: Kind,
    method: &'a str,
    id: u64,
    incarnation: Incarnation,
    deadline_ms: u32,
    trace_id: [u8; 16],
    span_id: [u8; 8],
    trace_flags: u8,
    #[serde(borrow)]
    context: &'a [u8],
}

impl<'a> From<&'a Header> for One<'a> {
    fn from(header: &'a Header) -> Self {
        Self {
            kind: header.kind,
            method: &header.method,
            id: header.id,
            incarnation: header.incarnation,
            deadline_ms: header.deadline_ms,
            trace_id: header.trace_id,
            span_id: header.span_id,
            context: &header.context,
        }
    }
}

impl<'a> From<One<'a>> for Two<'a> {
    fn from(one: One<'a>) -> Self {
        Self {
            kind: one.kind,
            method: one.method,
            id: one.id,
            incarnation: one.incarnation,
            deadline_ms: one.deadline_ms,
            trace_id: one.trace_id,
            span_id: one.span_id,
            trace_flags: 0,
            context: one.context,
        }
    }
}

/// Writes a header as this version has it.
pub(super) fn write<F: Flavor>(
    header: &Header,
    version: WireVersion,
    out: F,
) -> Result<F::Output, WireError> {
    check_fields(header.method.len(), header.context.len())?;
    let written = match version {
        WireVersion::ONE => postcard::serialize_with_flavor(&One::from(header), out),
        WireVersion::TWO | WireVersion::THREE => postcard::serialize_with_flavor(header, out),
        other => return Err(WireError::UnknownVersion(other)),
    };
    written.map_err(WireError::Header)
}

/// Reads a header of this version and the body behind it, from where they lie.
pub(super) fn read(payload: &Bytes, version: WireVersion) -> Result<Frame, WireError> {
    let taken = match version {
        WireVersion::ONE => {
            postcard::take_from_bytes::<One<'_>>(payload).map(|(one, body)| (one.into(), body))
        }
        WireVersion::TWO | WireVersion::THREE => postcard::take_from_bytes::<Two<'_>>(payload),
        other => return Err(WireError::UnknownVersion(other)),
    };
    let (view, body) = taken.map_err(WireError::Header)?;
    check_fields(view.method.len(), view.context.len())?;
    let header = Header {
        kind: view.kind,
        method: within(payload, view.method),
        id: view.id,
        incarnation: view.incarnation,
        deadline_ms: view.deadline_ms,
        trace_id: view.trace_id,
        span_id: view.span_id,
        trace_flags: view.trace_flags,
        context: payload.slice_ref(view.context),
    };
    Ok(Frame { header, body: payload.slice_ref(body) })
}

/// Text that shares the memory of the bytes that it stands in.
fn within(payload: &Bytes, text: &str) -> ByteString {
    // It was read as text, so it is.
    ByteString::try_from(payload.slice_ref(text.as_bytes())).unwrap_or_default()
}

/// What a header takes in the newest version. None before it makes one larger.
pub(super) fn header_bytes(header: &Header) -> usize {
    let Header { kind: _, method, id, incarnation, deadline_ms, trace_id, span_id, .. } = header;
    let text = |bytes: usize| varint_bytes(bytes as u64) + bytes;
    KIND_BYTES
        + text(method.len())
        + varint_bytes(*id)
        + varint_bytes(incarnation.0)
        + varint_bytes((*deadline_ms).into())
        + trace_id.len()
        + span_id.len()
        + TRACE_FLAGS_BYTES
        + text(header.context.len())
}

/// What a number takes in postcard, which writes seven bits a byte.
#[must_use]
pub const fn varint_bytes(number: u64) -> usize {
    let bits = u64::BITS - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

pub(super) fn check_fields(method_bytes: usize, context_bytes: usize) -> Result<(), WireError> {
    if method_bytes > METHOD_MAX_BYTES {
        return Err(WireError::MethodTooLong(method_bytes));
    }
    if context_bytes > CONTEXT_MAX_BYTES {
        return Err(WireError::ContextTooLarge(context_bytes));
    }
    Ok(())
}
