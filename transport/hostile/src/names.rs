//! Node ids, as text and as part of a message.

use std::str;

use updraft_transport::{NodeId, id::NODE_ID_MAX_BYTES};

/// A node id as text, and in postcard.
#[must_use]
pub fn node_id(bytes: &[u8]) -> bool {
    let in_postcard = postcard::from_bytes::<NodeId>(bytes);
    in_postcard.iter().for_each(survives);
    let Ok(text) = str::from_utf8(bytes) else { return in_postcard.is_ok() };
    match NodeId::new(text) {
        Ok(id) => {
            assert_eq!(id.as_str(), text);
            survives(&id);
            true
        }
        Err(error) => {
            assert!(error.to_string().len() < 1024, "the refusal repeats the text");
            in_postcard.is_ok()
        }
    }
}

fn survives(id: &NodeId) {
    assert!((1..=NODE_ID_MAX_BYTES).contains(&id.as_str().len()));
    let bytes = postcard::to_stdvec(id).expect("a node id can be written");
    assert_eq!(postcard::from_bytes::<NodeId>(&bytes).as_ref(), Ok(id));
}
