//! Forgets what an outbox keeps no longer.

use std::{collections::VecDeque, time::Duration};

use super::{Feed, Kept, PAGE_MAX};
use crate::{Env, env::UnixMicros, store::StoreError};

/// How often an outbox is looked at.
const LOOK: Duration = Duration::from_secs(60);

/// A full page that the janitor has seen.
struct Seen {
    last: u64,
    newest: UnixMicros,
}

impl Feed {
    /// Keeps the outbox within these limits; each node that writes it may do so.
    pub async fn keep_tidy(self, env: Env, kept: Kept) {
        let mut seen = VecDeque::new();
        loop {
            if let Err(error) = self.tidy(&env, kept, &mut seen).await {
                tracing::debug!(service = self.service, %error, "an outbox is not tidied now");
            }
            env.sleep(LOOK).await;
        }
    }

    async fn tidy(
        &self,
        env: &Env,
        kept: Kept,
        seen: &mut VecDeque<Seen>,
    ) -> Result<(), StoreError> {
        let mut after = match seen.back() {
            Some(page) => page.last,
            None => self.forgotten().await?,
        };
        loop {
            let page = self.read(after, PAGE_MAX).await?;
            let Some(last) = page.notices.last() else { break };
            after = page.next;
            // Of the last pages, those that are not full yet are read again next time.
            if page.notices.len() < PAGE_MAX {
                break;
            }
            seen.push_back(Seen { last: page.next, newest: last.at });
        }
        let now = env.wall();
        let mut up_to = None;
        while let Some(oldest) = seen.front()
            && (seen.len() > kept.notices.div_ceil(PAGE_MAX)
                || now.since(oldest.newest) > kept.within)
        {
            up_to = Some(oldest.last);
            seen.pop_front();
        }
        match up_to {
            Some(up_to) => self.forget(up_to).await,
            None => Ok(()),
        }
    }
}
