//! The messages that the identity service answers.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use updraft_protocol::identity::{
    GetSnapshot, Identity, PIECE_MAX_BYTES, RotateKeys, SnapshotPiece,
};
use updraft_runtime::rpc::{Fault, Service};

use crate::{core::Core, error::Error, rotation};

/// The answer that is being sent in pieces, kept so that all its pieces fit together.
struct Answer {
    known_version: u64,
    version: u64,
    bytes: Bytes,
}

/// The service's handlers.
pub(crate) fn services(core: &Arc<Core>) -> Vec<Service> {
    let (for_news, for_keys) = (core.clone(), core.clone());
    let last: Arc<Mutex<Option<Answer>>> = Arc::default();
    let service = Service::of::<Identity>()
        .call(move |_, question: GetSnapshot| {
            let (core, last) = (for_news.clone(), last.clone());
            async move { news(&core, &last, &question).await.map_err(Fault::from) }
        })
        .call(move |_, RotateKeys| {
            let core = for_keys.clone();
            async move { Ok(rotation::rotate(&core).await?.rotated()) }
        })
        .into();
    vec![service]
}

async fn news(
    core: &Core,
    last: &Mutex<Option<Answer>>,
    question: &GetSnapshot,
) -> Result<SnapshotPiece, Error> {
    if let Some(piece) = next_piece(last, question) {
        return Ok(piece);
    }
    let Some(changes) = core.publisher.changes_since(question.known_version).await? else {
        let version = core.verifier.snapshot().version;
        return Ok(SnapshotPiece { version, total_bytes: 0, offset: 0, bytes: Bytes::new() });
    };
    let version = changes.version;
    let bytes: Bytes = postcard::to_stdvec(&changes)
        .map_err(|_| Error::Internal("a snapshot could not be encoded"))?
        .into();
    let answer = Answer { known_version: question.known_version, version, bytes };
    let first = piece(&answer, 0);
    if answer.bytes.len() > PIECE_MAX_BYTES {
        *last.lock() = Some(answer);
    }
    Ok(first)
}

/// The next piece of the answer that was begun, if this is that answer.
fn next_piece(last: &Mutex<Option<Answer>>, question: &GetSnapshot) -> Option<SnapshotPiece> {
    let received = question.received?;
    let last = last.lock();
    let answer = last.as_ref()?;
    let same = answer.version == received.version && answer.known_version == question.known_version;
    let offset = usize::try_from(received.bytes).ok()?;
    (same && offset < answer.bytes.len()).then(|| piece(answer, offset))
}

fn piece(answer: &Answer, offset: usize) -> SnapshotPiece {
    let end = answer.bytes.len().min(offset.saturating_add(PIECE_MAX_BYTES));
    SnapshotPiece {
        version: answer.version,
        total_bytes: answer.bytes.len() as u64,
        offset: offset as u64,
        bytes: answer.bytes.slice(offset..end),
    }
}
