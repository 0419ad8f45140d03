//! An image's bytes over HTTP, both ways in bounded pieces.

use std::{ops::Range, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use updraft_edge::rest::Auth;

use super::parse_id;
use crate::{
    Shared,
    actor::DEACTIVATED,
    blobs::ByteStoreError,
    error::Error,
    rows::{Content, ImageRow, Status},
    upload::{Goal, Incoming},
};

/// What is read of an image at once for a client.
const PIECE_BYTES: u64 = 1024 * 1024;

/// What bytes must be called.
const OCTETS: &str = "application/octet-stream";

/// Says how long an image is that comes in chunks.
const ANNOUNCED: &str = "x-openstack-image-size";

pub(super) async fn upload(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, Error> {
    receive(&shared, &auth, &id, request, Goal::Activate).await
}

pub(super) async fn stage(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, Error> {
    receive(&shared, &auth, &id, request, Goal::Stage).await
}

async fn receive(
    shared: &Arc<Shared>,
    auth: &Auth,
    id: &str,
    request: Request,
    goal: Goal,
) -> Result<StatusCode, Error> {
    check_type(request.headers())?;
    let incoming = Incoming {
        image: parse_id(id)?,
        announced_bytes: announced_bytes(request.headers())?,
        body: request.into_body(),
        goal,
    };
    shared.receive(shared.asking(auth), incoming).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check_type(headers: &HeaderMap) -> Result<(), Error> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let given = given.unwrap_or("None").split(';').next().unwrap_or_default().trim();
    if given.eq_ignore_ascii_case(OCTETS) {
        return Ok(());
    }
    Err(Error::refused(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!("Invalid content type {given}; image data is sent as {OCTETS}"),
    ))
}

fn announced_bytes(headers: &HeaderMap) -> Result<Option<u64>, Error> {
    let announced = headers.get(ANNOUNCED).or_else(|| headers.get(header::CONTENT_LENGTH));
    let Some(announced) = announced else { return Ok(None) };
    let number = announced.to_str().ok().and_then(|text| text.trim().parse().ok());
    let words = "Invalid or missing image size in request headers.";
    number.map(Some).ok_or_else(|| Error::invalid(words))
}

pub(super) async fn download(
    State(shared): State<Arc<Shared>>,
    auth: Auth,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let asker = shared.asking(&auth);
    let row = shared.image_for(&asker, &id, "get_image").await?;
    if row.status == Status::Deactivated && !asker.is_admin() {
        return Err(Error::forbidden(DEACTIVATED));
    }
    asker.may_on(&shared.policy, "download_image", &row)?;
    match row.content.clone().filter(|_| row.status.shows_content()) {
        Some(content) => send(&shared, &row, &content, &headers),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

fn send(
    shared: &Arc<Shared>,
    row: &ImageRow,
    content: &Content,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let size_bytes = content.size_bytes;
    let asked = asked_range(headers, size_bytes)?;
    let range = asked.clone().unwrap_or(0..size_bytes);
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, OCTETS)
        .header("Content-MD5", &content.md5)
        .header(header::CONTENT_LENGTH, range.end - range.start);
    if let Some(Range { start, end }) = asked {
        let within = format!("bytes {start}-{}/{size_bytes}", end - 1);
        response =
            response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, within);
    }
    let body = Body::from_stream(pieces(shared.clone(), row.id, content.upload, range));
    response.body(body).map_err(|error| Error::invalid(error.to_string()))
}

/// The bytes of a range, read piece by piece as the client takes them.
fn pieces(
    shared: Arc<Shared>,
    image: uuid::Uuid,
    upload: uuid::Uuid,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, ByteStoreError>> {
    stream::try_unfold(range, move |rest| {
        let shared = shared.clone();
        async move {
            if rest.is_empty() {
                return Ok(None);
            }
            let end = rest.end.min(rest.start + PIECE_BYTES);
            let piece = shared.blobs.read(image, upload, rest.start..end).await?;
            Ok(Some((piece, end..rest.end)))
        }
    })
}

/// The part that the client wants, if it does not want all.
fn asked_range(headers: &HeaderMap, size_bytes: u64) -> Result<Option<Range<u64>>, Error> {
    let Some(text) = headers.get(header::RANGE) else { return Ok(None) };
    let text = text.to_str().unwrap_or_default();
    if text.contains(',') {
        return Err(Error::invalid(
            "Requests with multiple ranges are not supported in Glance. You may make multiple \
             single-range requests instead.",
        ));
    }
    let refused = |words: String| Error::refused(StatusCode::RANGE_NOT_SATISFIABLE, words);
    let invalid = || refused("Invalid Range header.".to_owned());
    let (start, end) = parse_range(text).ok_or_else(invalid)?;
    let (start, end) = match (start, end) {
        (Some(start), end) => {
            (start, end.map_or(size_bytes, |last| last.saturating_add(1).min(size_bytes)))
        }
        (None, Some(suffix)) => (size_bytes.saturating_sub(suffix), size_bytes),
        (None, None) => return Err(invalid()),
    };
    if start >= size_bytes {
        return Err(refused(format!(
            "Invalid start position in Range header. Start position MUST be in the inclusive \
             range [0, {}].",
            i128::from(size_bytes) - 1
        )));
    }
    if start >= end { Err(invalid()) } else { Ok(Some(start..end)) }
}

/// First and last byte, or the length of the end alone.
fn parse_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |digits: &str| match digits.trim() {
        "" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    Some((number(first)?, number(last)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Result<Option<Range<u64>>, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, text.parse().expect("a header"));
        asked_range(&headers, 10)
    }

    #[test]
    fn a_range_is_what_it_says_cut_to_the_image() {
        for (text, wanted) in
            [("bytes=0-4", 0..5), ("bytes=4-", 4..10), ("bytes=-3", 7..10), ("bytes=8-99", 8..10)]
        {
            assert_eq!(range(text).expect(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn a_range_outside_the_image_or_malformed_is_not_satisfiable() {
        for text in ["bytes=10-", "bytes=-", "bytes=x-1", "lines=0-1", "bytes=5-4", "bytes=-0"] {
            let error = range(text).expect_err(text);
            assert_eq!(error.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{text}");
        }
        assert_eq!(range("bytes=0-1,3-4").expect_err("two").status(), StatusCode::BAD_REQUEST);
    }
}
