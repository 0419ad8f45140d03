//! How bytes come in: claim the image, write and sum them piece by piece, commit.
//!
//! Promises that an image turns active only after its object is whole and durable, and that nothing of an
//! upload outlives it otherwise. While bytes arrive the row says so, with a lease that is renewed; whoever
//! loses the lease, or finds the image deleted, can no longer commit. Holds at most two parts in memory.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::StatusCode};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::oneshot;
use updraft_runtime::planted::{Bug, is_planted};
use uuid::Uuid;

use crate::{
    Shared,
    asker::Asker,
    blobs::{ByteStoreError, PART_BYTES, Writer},
    digest::{Digests, Sums},
    error::Error,
    inspect::inspect,
    rows::{Content, ImageRow, Status, Upload, Verdict},
};

/// How many uploads one node receives at once: each holds up to two parts, so 160 MiB in all.
pub(crate) const UPLOADS_MAX: usize = 16;

/// Silence after which an upload is taken for dead: four renewals, so that a store may fail a few times.
const LEASE: Duration = Duration::from_secs(60);

/// How often the lease is renewed.
const RENEWAL: Duration = Duration::from_secs(15);

/// How long a client may send nothing.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// What an upload makes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Its bytes, at once.
    Activate,
    /// Bytes that `import` will take over.
    Stage,
}

impl Goal {
    fn meanwhile(self) -> Status {
        match self {
            Self::Activate => Status::Saving,
            Self::Stage => Status::Uploading,
        }
    }
}

/// A request to take in bytes.
pub(crate) struct Incoming {
    pub(crate) image: Uuid,
    /// What the client says will come.
    pub(crate) announced_bytes: Option<u64>,
    pub(crate) body: Body,
    pub(crate) goal: Goal,
}

impl Shared {
    /// Takes in an image's bytes. It goes on, and cleans up, when the caller no longer waits.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        asker: Asker,
        incoming: Incoming,
    ) -> Result<(), Error> {
        let size_max_bytes = self.config.size_max_bytes;
        if incoming.announced_bytes.is_some_and(|announced| announced > size_max_bytes) {
            return Err(too_large());
        }
        let permit = self.uploads.clone().try_acquire_owned().map_err(|_| {
            Error::refused(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{UPLOADS_MAX} uploads are under way here already; try again soon"),
            )
        })?;
        let session = Session {
            shared: self.clone(),
            image: incoming.image,
            upload: self.context.env.uuid(),
            goal: incoming.goal,
        };
        let (sender, receiver) = oneshot::channel();
        self.context.env.spawn("image.upload", async move {
            let outcome = session.run(asker, incoming.body).await;
            drop(permit);
            // Nobody waits if the client has gone; the outcome is in the row.
            let _ = sender.send(outcome);
        });
        receiver.await.unwrap_or(Err(Error::Bytes(ByteStoreError::Gone)))
    }
}

fn too_large() -> Error {
    Error::too_large("The incoming image is too large: The provided image is too large.")
}

/// One upload.
struct Session {
    shared: Arc<Shared>,
    image: Uuid,
    upload: Uuid,
    goal: Goal,
}

impl Session {
    async fn run(&self, asker: Asker, body: Body) -> Result<(), Error> {
        let outcome = match self.claim(&asker).await {
            Ok(row) => self.fill(&row, body).await,
            // It may have been claimed all the same.
            Err(error @ Error::Store(_)) => Err(error),
            Err(error) => return Err(error),
        };
        if let Err(error) = &outcome {
            tracing::info!(image = %self.image, %error, "upload given up");
            self.release().await;
        }
        outcome
    }

    async fn fill(&self, row: &ImageRow, body: Body) -> Result<(), Error> {
        let content = self.transfer(row, body).await?;
        self.commit(content).await
    }

    /// Marks the image as being written by this upload alone.
    async fn claim(&self, asker: &Asker) -> Result<ImageRow, Error> {
        let now = self.shared.context.env.wall();
        let upload = Upload {
            id: self.upload,
            node: self.shared.context.rpc.local().to_string(),
            expires_at: now.plus(LEASE),
        };
        let change = |row: &ImageRow| {
            asker.may_on(&self.shared.policy, "upload_image", row)?;
            check_ready(row, self.goal)?;
            Ok(row.claimed(upload.clone(), self.goal.meanwhile(), now))
        };
        self.shared.repository.change(self.image, change).await
    }

    async fn transfer(&self, row: &ImageRow, body: Body) -> Result<Content, Error> {
        let mut writer = self.shared.blobs.write(self.image, self.upload).await?;
        let judged = match self.pump(&mut writer, body).await {
            Ok(sums) => self.judge(row, sums),
            Err(error) => Err(error),
        };
        match judged {
            Ok(content) if is_planted(Bug::ImageActiveBeforeStored) => {
                self.shared.context.env.spawn("image.finish", async move {
                    let _ = writer.finish().await;
                });
                Ok(content)
            }
            Ok(content) => {
                writer.finish().await?;
                Ok(content)
            }
            Err(error) => {
                writer.abort().await;
                Err(error)
            }
        }
    }

    /// Writes and sums the body.
    async fn pump(&self, writer: &mut Writer, body: Body) -> Result<Sums, Error> {
        let env = &self.shared.context.env;
        let mut stream = body.into_data_stream();
        let (mut digests, mut part) = (Digests::default(), BytesMut::new());
        let (mut size_bytes, mut heard, mut renewed) = (0_u64, env.now(), env.now());
        loop {
            if env.now() >= renewed + RENEWAL {
                self.renew().await?;
                renewed = env.now();
            }
            match env.timeout(RENEWAL, stream.next()).await {
                None if env.now() >= heard + IDLE_MAX => return Err(idle()),
                None => continue,
                Some(None) => break,
                Some(Some(Err(error))) => return Err(cut_off(&error)),
                Some(Some(Ok(bytes))) => {
                    heard = env.now();
                    size_bytes += bytes.len() as u64;
                    part.extend_from_slice(&bytes);
                }
            }
            if size_bytes > self.shared.config.size_max_bytes {
                return Err(too_large());
            }
            while part.len() >= PART_BYTES {
                let full = part.split_to(PART_BYTES).freeze();
                digests = self.keep(writer, digests, full).await?;
            }
        }
        if !part.is_empty() {
            digests = self.keep(writer, digests, part.freeze()).await?;
        }
        Ok(digests.finish())
    }

    async fn keep(
        &self,
        writer: &mut Writer,
        mut digests: Digests,
        part: Bytes,
    ) -> Result<Digests, Error> {
        let hashed = part.clone();
        let hashing = self.shared.context.env.blocking(move || {
            digests.update(&hashed);
            digests
        });
        let (digests, written) = futures_util::join!(hashing, writer.part(part));
        written?;
        digests.map_err(|_| Error::Bytes(ByteStoreError::Gone))
    }

    /// Looks whether the bytes are what the image says, and harmless.
    fn judge(&self, row: &ImageRow, sums: Sums) -> Result<Content, Error> {
        let disk = row.about.disk_format.as_deref().unwrap_or("raw");
        let container = row.about.container_format.as_deref().unwrap_or("bare");
        let found = inspect(&sums.head, container, disk, sums.size_bytes);
        let (virtual_size_bytes, verdict) = match found {
            Ok(virtual_size_bytes) => (virtual_size_bytes, Verdict::Fine),
            Err(refused) if self.goal == Goal::Activate => return Err(refused.into()),
            Err(refused) => (None, Verdict::Refused(refused.to_string())),
        };
        Ok(Content {
            upload: self.upload,
            size_bytes: sums.size_bytes,
            virtual_size_bytes,
            md5: sums.md5,
            sha512: sums.sha512,
            verdict,
        })
    }

    /// Says that this upload lives. A store that does not answer is no reason to stop: the lease lasts longer.
    async fn renew(&self) -> Result<(), Error> {
        let now = self.shared.context.env.wall();
        let change = |row: &ImageRow| {
            let mut row = row.clone();
            row.written_by(self.upload).ok_or_else(|| self.lost())?.expires_at = now.plus(LEASE);
            Ok(row)
        };
        match self.shared.repository.change(self.image, change).await {
            Ok(_) | Err(Error::Store(_)) => Ok(()),
            Err(Error::NotFound(_)) => Err(self.lost()),
            Err(error) => Err(error),
        }
    }

    /// Makes the bytes the image's own.
    async fn commit(&self, content: Content) -> Result<(), Error> {
        let now = self.shared.context.env.wall();
        let change = |row: &ImageRow| {
            let activate = self.goal == Goal::Activate;
            row.committed(content.clone(), activate, now).ok_or_else(|| self.lost())
        };
        match self.shared.repository.change(self.image, change).await {
            Ok(_) => Ok(()),
            Err(Error::NotFound(_)) => Err(self.lost()),
            Err(error) => Err(error),
        }
    }

    fn lost(&self) -> Error {
        Error::refused(
            StatusCode::GONE,
            format!(
                "Image {} could not be found after upload. The image may have been deleted during \
                 the upload, cleaning up the chunks uploaded.",
                self.image
            ),
        )
    }

    /// Gives the image back, and leaves what was written to the row's plan. If no row speaks of it any more,
    /// it is removed here; if that fails too, the sweep finds it.
    async fn release(&self) {
        let now = self.shared.context.env.wall();
        let change = |row: &ImageRow| Ok(row.given_back(self.upload, now));
        let image = self.image;
        match self.shared.repository.change(image, change).await {
            Ok(row) if row.claims(self.upload) => {}
            Ok(_) | Err(Error::NotFound(_)) => {
                let removed = self.shared.blobs.remove(image, |other| other == self.upload).await;
                if let Err(error) = removed {
                    tracing::warn!(%image, %error, "leftovers are left to the sweep");
                }
            }
            Err(error) => tracing::warn!(%image, %error, "given up when its lease ends"),
        }
    }
}

fn idle() -> Error {
    Error::refused(
        StatusCode::REQUEST_TIMEOUT,
        format!("No image data came for {} seconds.", IDLE_MAX.as_secs()),
    )
}

fn cut_off(error: &axum::Error) -> Error {
    Error::invalid(format!("The image data ended early: {error}"))
}

/// Whether an image can take in bytes now.
fn check_ready(row: &ImageRow, goal: Goal) -> Result<(), Error> {
    if row.status != Status::Queued {
        return Err(Error::conflict(format!(
            "Image status transition from {} to {} is not allowed",
            row.status.as_str(),
            goal.meanwhile().as_str()
        )));
    }
    if goal == Goal::Activate { check_formats(row) } else { Ok(()) }
}

/// Whether it is said what the bytes are.
pub(crate) fn check_formats(row: &ImageRow) -> Result<(), Error> {
    let formats = [
        ("disk_format", &row.about.disk_format),
        ("container_format", &row.about.container_format),
    ];
    let missing: Vec<_> =
        formats.iter().filter(|(_, format)| format.is_none()).map(|(name, _)| *name).collect();
    match missing.as_slice() {
        [] => Ok(()),
        [one] => Err(Error::invalid(format!("Property {one} must be set prior to saving data."))),
        several => Err(Error::invalid(format!(
            "Properties {} must be set prior to saving data.",
            several.join(", ")
        ))),
    }
}
