//! What has come of a body, over all streams that brought a part of it.

use bytes::Bytes;
use tokio::sync::watch;
use updraft_transport::body::{Digest, Head, PIECE_MAX_BYTES, Part};

use super::{Algorithm, Ask, Digests, FetchError, Hasher, Progress, Sink, SinkError, fetch::Ended};
use crate::Env;

/// A body that is being taken.
pub(super) struct Taking<'a> {
    method: &'static str,
    sink: &'a mut dyn Sink,
    progress: watch::Sender<Progress>,
    limit_bytes: u64,
    /// The body, once a server has said which it is.
    head: Option<Head>,
    /// Of what is done; `None` while nobody has said how it is made.
    hasher: Option<Hasher>,
    done_bytes: u64,
    fetched_bytes: u64,
    /// What has come and what was looked at again, for who waits for any progress.
    worked_bytes: u64,
    /// Whether the sink had kept something from an earlier fetch, which may be of another body.
    had_kept: bool,
}

impl<'a> Taking<'a> {
    pub(super) async fn begin(
        method: &'static str,
        sink: &'a mut dyn Sink,
        progress: watch::Sender<Progress>,
        limit_bytes: u64,
    ) -> Result<Self, FetchError> {
        let kept = sink.kept_bytes().await;
        let done_bytes = kept.map_err(|error| FetchError::Sink { method, error })?;
        let taking = Self {
            method,
            sink,
            progress,
            limit_bytes,
            head: None,
            hasher: None,
            done_bytes,
            fetched_bytes: 0,
            worked_bytes: 0,
            had_kept: done_bytes > 0,
        };
        taking.tell();
        Ok(taking)
    }

    pub(super) fn done_bytes(&self) -> u64 {
        self.done_bytes
    }

    pub(super) fn worked_bytes(&self) -> u64 {
        self.worked_bytes
    }

    /// The body that has come in part.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.head.map(|head| head.digest)
    }

    fn tell(&self) {
        let (done_bytes, fetched_bytes) = (self.done_bytes, self.fetched_bytes);
        let total_bytes = self.head.map(|head| head.size_bytes);
        self.progress.send_replace(Progress { done_bytes, total_bytes, fetched_bytes });
    }

    fn sink_failed(&self, error: SinkError) -> Ended {
        Ended::ForGood(FetchError::Sink { method: self.method, error })
    }

    /// The same; of what does not fit, nothing stays: the part of it would keep the disk full for all others.
    async fn not_kept(&mut self, error: SinkError) -> Ended {
        if matches!(error, SinkError::Full(_))
            && let Err(failed) = self.discard().await
        {
            tracing::warn!(method = self.method, error = %failed, "what does not fit was not removed");
        }
        self.sink_failed(error)
    }

    pub(super) fn dishonest(&self, what: String) -> Ended {
        Ended::ForGood(FetchError::Dishonest { method: self.method, what })
    }

    /// Throws away what has come.
    pub(super) async fn begin_anew(&mut self) -> Result<(), Ended> {
        self.discard().await.map_err(|error| self.sink_failed(error))
    }

    async fn discard(&mut self) -> Result<(), SinkError> {
        self.sink.discard().await?;
        (self.done_bytes, self.had_kept, self.hasher) = (0, false, None);
        self.tell();
        Ok(())
    }

    /// Takes a part of a stream that was asked for so; the digest once all has come.
    pub(super) async fn take(
        &mut self,
        env: &Env,
        part: Part,
        ask: &Ask,
    ) -> Result<Option<Digest>, Ended> {
        match (part, self.hasher.take()) {
            (Part::Head(head), hasher) => self.head(env, head, hasher, ask).await.map(|()| None),
            (Part::Piece(bytes), Some(hasher)) => {
                self.piece(env, bytes, hasher).await.map(|()| None)
            }
            (Part::End, Some(hasher)) => self.end(hasher).await.map(Some),
            (Part::Failed(words), hasher) => {
                self.hasher = hasher;
                Err(Ended::ForNow(format!("its server cannot go on: {words}")))
            }
            (Part::Piece(_) | Part::End, None) => {
                Err(self.dishonest("sends a body without a head".to_owned()))
            }
        }
    }

    async fn head(
        &mut self,
        env: &Env,
        head: Head,
        hasher: Option<Hasher>,
        ask: &Ask,
    ) -> Result<(), Ended> {
        let (method, size_bytes, found) = (self.method, head.size_bytes, head.digest);
        if let Some(wanted) = ask.digest.filter(|wanted| *wanted != found) {
            let digests = Box::new(Digests { wanted, found });
            return Err(FetchError::Changed { method, digests }.into());
        }
        if size_bytes > self.limit_bytes {
            let limit_bytes = self.limit_bytes;
            return Err(FetchError::TooLarge { method, size_bytes, limit_bytes }.into());
        }
        let known = self.head.map_or(size_bytes, |head| head.size_bytes);
        if head.from_bytes != self.done_bytes || size_bytes < self.done_bytes || size_bytes != known
        {
            let (from, done) = (head.from_bytes, self.done_bytes);
            let what = format!(
                "sends {from} to {size_bytes} of the body of {known}, and was asked for {done} on"
            );
            return Err(self.dishonest(what));
        }
        self.head = Some(head);
        self.hasher = Some(match hasher {
            Some(hasher) => hasher,
            None => self.hash_kept(env, Hasher::new(Algorithm::of(&found))).await?,
        });
        self.tell();
        Ok(())
    }

    /// The digest of what the sink has. Its server waits meanwhile.
    async fn hash_kept(&mut self, env: &Env, mut hasher: Hasher) -> Result<Hasher, Ended> {
        let mut at = 0;
        while at < self.done_bytes {
            let left = usize::try_from(self.done_bytes - at).unwrap_or(usize::MAX);
            let kept = self.sink.read_kept(at, left.min(PIECE_MAX_BYTES)).await;
            let kept = kept.map_err(|error| self.sink_failed(error))?;
            if kept.is_empty() {
                let words = format!("it has {at} bytes, and said {}", self.done_bytes);
                return Err(self.sink_failed(SinkError::Failed(words)));
            }
            at += kept.len() as u64;
            self.worked_bytes += kept.len() as u64;
            hasher = updated(env, hasher, kept).await?;
        }
        Ok(hasher)
    }

    async fn piece(&mut self, env: &Env, bytes: Bytes, hasher: Hasher) -> Result<(), Ended> {
        let size_bytes = self.head.map_or(0, |head| head.size_bytes);
        let count = bytes.len() as u64;
        if count > size_bytes.saturating_sub(self.done_bytes) {
            return Err(self.dishonest(format!("sends more than the {size_bytes} that it said")));
        }
        let hashing = updated(env, hasher, bytes.clone());
        let (hasher, written) = futures_util::join!(hashing, self.sink.write(bytes));
        if let Err(error) = written {
            return Err(self.not_kept(error).await);
        }
        self.hasher = Some(hasher?);
        self.done_bytes += count;
        self.fetched_bytes += count;
        self.worked_bytes += count;
        self.tell();
        Ok(())
    }

    async fn end(&mut self, hasher: Hasher) -> Result<Digest, Ended> {
        let Some(head) = self.head else {
            return Err(self.dishonest("ends a body that it did not begin".to_owned()));
        };
        if self.done_bytes < head.size_bytes {
            let (done, size) = (self.done_bytes, head.size_bytes);
            return Err(self.dishonest(format!("ends at {done} of the {size} that it said")));
        }
        let (wanted, found) = (head.digest, hasher.finish());
        if wanted == found {
            return match self.sink.finish().await {
                Ok(()) => Ok(found),
                Err(error) => Err(self.not_kept(error).await),
            };
        }
        let had_kept = self.had_kept;
        self.begin_anew().await?;
        let digests = Box::new(Digests { wanted, found });
        let wrong = FetchError::Digest { method: self.method, digests };
        // What was kept may have been of another body, or half written when the power failed.
        Err(if had_kept { Ended::ForNow(wrong.to_string()) } else { wrong.into() })
    }
}

/// The hasher after these bytes, off the actors' threads: a piece takes it a fraction of a millisecond.
async fn updated(env: &Env, mut hasher: Hasher, bytes: Bytes) -> Result<Hasher, Ended> {
    let hashing = env.blocking(move || {
        hasher.update(&bytes);
        hasher
    });
    hashing.await.map_err(|_| Ended::ForNow("this node is shutting down".to_owned()))
}

#[cfg(test)]
mod tests;
