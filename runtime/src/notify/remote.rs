//! Feeds for nodes that do not have the store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Feed, Page, Published};
use crate::{
    message, protocol,
    rpc::{Fault, FaultKind, Service},
};

/// The topic of the nodes that have the feeds.
pub const TOPIC: &str = "notices";

/// What they understand.
pub struct Notices;
protocol!(Notices = TOPIC);

/// How long a node that asks is kept waiting for news at most: less than its first attempt, so that it does not ask
/// another one meanwhile.
const WAIT_MAX: Duration = Duration::from_millis(800);

/// Notices in an answer at most.
const ANSWER_MAX: usize = 100;

/// Bytes after which an answer takes no further notice; one alone fits a frame, since it fitted the store.
const ANSWER_MAX_BYTES: usize = 256 << 10;

/// "What happened behind this?" Waits for news, and is asked again and again: an empty page says that there are none yet.
/// An answer has at most 100 notices, and fewer if they are large.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pull {
    /// Whose notices.
    pub service: String,
    /// Those behind this one.
    pub after: u64,
    /// How long to wait for the first, in milliseconds; no longer than 800 of them are waited.
    pub wait_ms: u32,
}
message!(call Pull = Notices / "pull", Fenced, from ["control", "subscriber"], to ["control"],
    reply Pulled);

/// A page as it travels: each notice with its place, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pulled {
    notices: Vec<(u64, String)>,
    next: u64,
    missed: bool,
}

impl Pulled {
    fn new(page: Page) -> Self {
        let mut pulled = Self { notices: Vec::new(), next: page.next, missed: page.missed };
        let mut bytes = 0;
        for notice in page.notices {
            let text = serde_json::to_string(&notice).unwrap_or_default();
            bytes += text.len();
            if bytes > ANSWER_MAX_BYTES && !pulled.notices.is_empty() {
                // The others come with the next question.
                pulled.next = pulled.notices.last().map_or(0, |(sequence, _)| *sequence);
                break;
            }
            pulled.notices.push((notice.sequence, text));
        }
        pulled
    }

    /// The page.
    pub fn page(self) -> Result<Page, serde_json::Error> {
        let notices = self.notices.into_iter().map(|(sequence, text)| {
            let read = serde_json::from_str::<Published>(&text)?;
            Ok(Published { sequence, ..read })
        });
        let notices = notices.collect::<Result<_, serde_json::Error>>()?;
        Ok(Page { notices, next: self.next, missed: self.missed })
    }
}

/// Lets other nodes read these feeds.
#[must_use]
pub fn service(feeds: impl IntoIterator<Item = Feed>) -> Service {
    let feeds: BTreeMap<String, Feed> =
        feeds.into_iter().map(|feed| (feed.service.clone(), feed)).collect();
    let feeds = Arc::new(feeds);
    let handlers = Service::of::<Notices>().call(move |_, pull: Pull| {
        let feed = feeds.get(&pull.service).cloned();
        async move {
            let feed = feed.ok_or_else(|| {
                let why = format!("service {} tells nothing here", pull.service);
                Fault::new(FaultKind::NotFound, "NoFeed", why)
            })?;
            let patience = Duration::from_millis(pull.wait_ms.into()).min(WAIT_MAX);
            Ok(Pulled::new(feed.wait(pull.after, ANSWER_MAX, patience).await?))
        }
    });
    handlers.into()
}
