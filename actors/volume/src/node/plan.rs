//! How the files of a node become what is wanted of them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::Serialize;
use updraft_protocol::{
    hypervisor::DiskFormat,
    volume::{Api, Export, ExportWant, FileSource, FileWant, GetFile, NODE},
};
use updraft_runtime::{
    Env,
    env::{BoxFuture, UnixMicros},
    planted::{Bug, is_planted},
    rows::{Asked, Kind, Plan, REMEMBERED},
    rpc::{Cx, Rpc, TraceContext},
    sometimes,
    store::{Store, StoreError, Txn},
    turns::Turns,
};
use uuid::Uuid;

use super::{AgentContext, Callers, fetch::Fetch, rows::FileRow};
use crate::driver::{DriverError, FileSpec, FoundFile, QUICK_DEADLINE, VolumeDriver};

/// How often a want is tried before it is taken for one that cannot be met. Removing is tried for ever.
const ATTEMPTS_MAX: u32 = 3;

/// How often somebody who works on a file looks whether something newer is wanted.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Files as rows that converge.
pub struct Files {
    hands: Hands,
}

/// What works on files.
#[derive(Clone)]
struct Hands {
    env: Env,
    rpc: Rpc,
    store: Store,
    driver: Arc<dyn VolumeDriver>,
    callers: Callers,
    /// Held by whoever works on a file.
    busy: Turns<Uuid>,
}

/// What a plan asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask the volume service what is wanted, about what is known by this generation.
    Ask(u64),
    /// Make the file as this generation wants it.
    Make(u64),
    /// See to it that it is still served as this generation wants it.
    Keep(u64),
}

/// What was learnt of a file.
#[derive(Clone, Debug)]
pub struct Learned {
    generation: u64,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
enum Outcome {
    /// The volume service wants this.
    Wanted(FileWant),
    /// The volume service knows of nothing that is wanted here.
    Unwanted,
    /// It is here, and served there if it shall be.
    Here(PathBuf, Option<Export>),
    /// It is gone.
    Gone,
    /// It did not work.
    Failed { reason: String, forever: bool },
}

impl Learned {
    /// What the volume service answers when it is asked about what is known by this generation.
    #[must_use]
    pub fn told(generation: u64, want: Option<FileWant>) -> Self {
        Self { generation, outcome: want.map_or(Outcome::Unwanted, Outcome::Wanted) }
    }

    /// The file is there as this generation wants it, and served there if it shall be.
    #[must_use]
    pub fn here(generation: u64, path: PathBuf, export: Option<Export>) -> Self {
        Self { generation, outcome: Outcome::Here(path, export) }
    }

    /// Nothing is left of it, as this generation wants.
    #[must_use]
    pub fn gone(generation: u64) -> Self {
        Self { generation, outcome: Outcome::Gone }
    }

    /// What an error of the driver teaches, if anything.
    #[must_use]
    pub fn failed(generation: u64, id: Uuid, error: &DriverError) -> Option<Self> {
        failed(id, error).map(|outcome| Self { generation, outcome })
    }
}

fn failed(id: Uuid, error: &DriverError) -> Option<Outcome> {
    match error {
        DriverError::Stale => None,
        DriverError::Later(reason) => {
            tracing::info!(file = %id, reason, "made later");
            None
        }
        error => {
            let forever = matches!(error, DriverError::Impossible(_) | DriverError::Full(_));
            tracing::warn!(file = %id, %error, "not made");
            Some(Outcome::Failed { reason: error.to_string(), forever })
        }
    }
}

/// What is next for a file that shall be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is not there, and never was: make it.
    Begin,
    /// It is not to be served any longer, and may be.
    Unexport,
    /// It is smaller than wanted.
    Grow,
    /// It shall be served to this one.
    Export(ExportWant),
    /// It is as wanted.
    Here(PathBuf),
    /// It was told of, and is not there any more.
    Lost,
    /// It was just made, and is not there.
    Missing,
}

/// What was done for this want already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// It was made.
    pub begun: bool,
    /// Nobody is served any longer.
    pub unexported: bool,
    /// It is served there.
    pub exported: Option<Export>,
}

/// What is next, after a look at the host.
#[must_use]
pub fn next(row: &FileRow, found: Option<FoundFile>, done: &Progress) -> Next {
    let want = &row.want;
    if want.export.is_none() && row.exports && !done.unexported {
        return Next::Unexport;
    }
    match (found, &want.export) {
        (Some(found), _) if found.size_gib < want.size_gib => Next::Grow,
        (Some(_), Some(export)) if done.exported.is_none() => Next::Export(export.clone()),
        (Some(found), _) => Next::Here(found.path),
        (None, _) if row.path.is_some() => Next::Lost,
        (None, _) if done.begun => Next::Missing,
        (None, _) => Next::Begin,
    }
}

impl Files {
    pub(super) fn new(
        context: &AgentContext,
        driver: Arc<dyn VolumeDriver>,
        callers: Callers,
    ) -> Self {
        let hands = Hands {
            env: context.env.clone(),
            rpc: context.rpc.clone(),
            store: context.store.clone(),
            driver,
            callers,
            busy: Turns::default(),
        };
        Self { hands }
    }
}

impl Kind for Files {
    type Row = FileRow;
    type Facts = ();
    type Effect = Effect;
    type Learned = Learned;

    fn facts(&self, _txn: &Txn, _row: &FileRow) -> Result<(), StoreError> {
        Ok(())
    }

    fn plan(row: &FileRow, _facts: &(), now: UnixMicros) -> Plan<Self> {
        let generation = row.want.generation;
        if row.unwanted && !row.asked.is_begun() {
            return Plan::delete();
        }
        let forgets = is_planted(Bug::GenerationNotKeptByHost);
        let remembered = if forgets { LOOK_EVERY } else { REMEMBERED };
        let forgotten_at = row.gone_at.map(|gone_at| gone_at.plus(remembered));
        if forgotten_at.is_some_and(|at| now >= at) {
            return Plan::delete();
        }
        let due = row.asked.is_due(now);
        let begins = row.asked.is_begun() || forgets;
        let makes = begins && row.failure.is_none() && row.served != generation;
        let ask = due.then_some(Effect::Ask(generation));
        let make = makes.then_some(Effect::Make(generation));
        let keep = (begins && row.is_exported()).then_some(Effect::Keep(generation));
        let plan = Plan::act(ask.into_iter().chain(make).chain(keep).collect());
        let plan = forgotten_at.into_iter().fold(plan, Plan::wake_at);
        if due { plan } else { plan.wake_at(row.asked.next(now)) }
    }

    fn learn(row: &mut FileRow, learned: Learned, now: UnixMicros) -> bool {
        let asked_for = learned.generation == row.want.generation;
        let awaited = asked_for && row.served < learned.generation && row.failure.is_none();
        match learned.outcome {
            Outcome::Wanted(want) => return wanted(row, want, now),
            Outcome::Unwanted => return asked_for && unwanted(row, now),
            Outcome::Here(path, export) if awaited => {
                row.served = learned.generation;
                row.path = Some(path);
                row.exports = export.is_some();
                row.exported = export;
            }
            Outcome::Gone if awaited => {
                row.served = learned.generation;
                row.path = None;
                row.exports = false;
                row.gone_at = Some(now);
            }
            Outcome::Failed { reason, forever } if awaited => {
                row.attempts += 1;
                // A file that is there and cannot be served, or not be served no longer, is not lost by that.
                let enough = forever || (row.attempts >= ATTEMPTS_MAX && !row.exports);
                if row.want.present && enough {
                    row.failure = Some(reason);
                }
            }
            Outcome::Here(..) | Outcome::Gone | Outcome::Failed { .. } => return false,
        }
        true
    }

    fn perform(&self, row: FileRow, effect: Effect) -> BoxFuture<'static, Option<Learned>> {
        let hands = self.hands.clone();
        Box::pin(async move {
            match effect {
                Effect::Ask(generation) => hands.ask(row.want.id, generation).await,
                Effect::Make(generation) => hands.make(row, generation).await,
                Effect::Keep(generation) => hands.keep(row, generation).await,
            }
        })
    }
}

/// The volume service wants this; an older want is an answer that was long under way.
fn wanted(row: &mut FileRow, want: FileWant, now: UnixMicros) -> bool {
    if want.generation < row.want.generation {
        return false;
    }
    if want.generation > row.want.generation {
        *row = FileRow::told(Some(row.clone()), want);
    }
    row.asked = Asked::At(now);
    row.unwanted = false;
    true
}

/// Nothing is wanted here. A file that was begun has perhaps the only copy of somebody's data, and the volume service
/// may be the one that has forgotten: it is told of and left alone.
fn unwanted(row: &mut FileRow, now: UnixMicros) -> bool {
    sometimes!(!row.asked.is_begun(), "a volume node is told of what is not wanted any more");
    if row.asked.is_begun() {
        tracing::warn!(file = %row.want.id, "nobody wants this file; it is left alone");
        row.asked = Asked::At(now);
    }
    row.unwanted = true;
    true
}

impl Hands {
    async fn ask(&self, id: Uuid, generation: u64) -> Option<Learned> {
        let cx = Cx::new(NODE, TraceContext::default());
        match self.rpc.client::<Api>().call(&GetFile { id }, &cx).await {
            Ok(want) => Some(Learned::told(generation, want)),
            Err(error) => {
                tracing::debug!(file = %id, %error, "asked again later");
                None
            }
        }
    }

    /// Makes a file as it is wanted, alone, and only as long as nothing newer is wanted.
    async fn make(&self, row: FileRow, generation: u64) -> Option<Learned> {
        let id = row.want.id;
        let outcome = {
            let _turn = self.busy.take(id).await;
            if self.superseded(id, generation).await {
                return None;
            }
            let work = Box::pin(self.work(&row));
            let newer = Box::pin(self.until_superseded(id, generation));
            match futures_util::future::select(work, newer).await {
                futures_util::future::Either::Left((outcome, _)) => outcome,
                futures_util::future::Either::Right(((), _)) => None,
            }
        };
        let outcome = outcome?;
        if !matches!(outcome, Outcome::Failed { .. }) {
            self.callers.lock().remove(&id);
        }
        Some(Learned { generation, outcome })
    }

    /// Serves a file again if what served it has died. Nothing is learnt: where it is served stays the same.
    async fn keep(&self, row: FileRow, generation: u64) -> Option<Learned> {
        let want = &row.want;
        let _turn = self.busy.take(want.id).await;
        if self.superseded(want.id, generation).await {
            return None;
        }
        let spec = spec(want);
        let export = self.driver.export(&spec, want.export.as_ref()?);
        match self.within(QUICK_DEADLINE, export).await {
            Ok(export) if row.exported.as_ref() == Some(&export) => {}
            Ok(export) => {
                tracing::error!(file = %want.id, ?export, "served elsewhere than was told");
            }
            Err(error) => tracing::warn!(file = %want.id, %error, "not served any longer"),
        }
        None
    }

    async fn superseded(&self, id: Uuid, generation: u64) -> bool {
        let row = self.store.read(|txn| txn.get::<FileRow>(&id.to_string())).await;
        // A store that does not answer says nothing newer.
        row.is_ok_and(|row| row.is_none_or(|row| row.want.generation > generation))
    }

    async fn until_superseded(&self, id: Uuid, generation: u64) {
        let mut watch = self.store.watch(&format!("{}/{id}", super::rows::TABLE));
        while !self.superseded(id, generation).await {
            self.env.timeout(LOOK_EVERY, watch.changed()).await;
        }
    }

    /// `None`: nothing can be done now, and nothing is learnt.
    async fn work(&self, row: &FileRow) -> Option<Outcome> {
        let want = &row.want;
        let done = if want.present {
            self.have(row).await
        } else {
            let gone = self.driver.delete(want.id, want.generation);
            self.within(QUICK_DEADLINE, gone).await.map(|()| Some(Outcome::Gone))
        };
        done.unwrap_or_else(|error| failed(want.id, &error))
    }

    /// An operation of the driver, with an end to waiting for it.
    async fn within<T>(
        &self,
        deadline: Duration,
        operation: impl Future<Output = Result<T, DriverError>>,
    ) -> Result<T, DriverError> {
        self.env.timeout(deadline, operation).await.unwrap_or_else(|| {
            let words = format!("the host took more than {} seconds", deadline.as_secs());
            Err(DriverError::Failed(words))
        })
    }

    async fn have(&self, row: &FileRow) -> Result<Option<Outcome>, DriverError> {
        let want = &row.want;
        let spec = spec(want);
        let mut done = Progress::default();
        loop {
            let found = self.driver.find(want.id, want.format);
            match next(row, self.within(QUICK_DEADLINE, found).await?, &done) {
                Next::Unexport => {
                    let unexport = self.driver.unexport(want.id, want.generation);
                    self.within(QUICK_DEADLINE, unexport).await?;
                    done.unexported = true;
                }
                Next::Begin if self.begin(want, &spec).await? => done.begun = true,
                Next::Begin => return Ok(None),
                Next::Grow => self.within(QUICK_DEADLINE, self.driver.grow(&spec)).await?,
                Next::Export(export) => {
                    let export = self.driver.export(&spec, &export);
                    done.exported = Some(self.within(QUICK_DEADLINE, export).await?);
                }
                Next::Here(path) => return Ok(Some(Outcome::Here(path, done.exported))),
                Next::Lost => {
                    let words = format!("the file of {} is lost", want.id);
                    return Err(DriverError::Impossible(words));
                }
                Next::Missing => {
                    let words = format!("the file of {} was made and is not there", want.id);
                    return Err(DriverError::Failed(words));
                }
            }
        }
    }

    /// Makes a file that is not there; `false` if it cannot be begun yet.
    async fn begin(&self, want: &FileWant, spec: &FileSpec) -> Result<bool, DriverError> {
        match want.source {
            FileSource::Empty => self.within(QUICK_DEADLINE, self.driver.create(spec)).await?,
            FileSource::File(source) => {
                let format = self.format_of(source).await.unwrap_or(want.format);
                let copy = self.driver.copy(spec, source, format);
                self.within(self.driver.copy_deadline(), copy).await?;
            }
            FileSource::Image(image) => {
                let caller = self.callers.lock().get(&want.id).cloned();
                // After a restart nobody has said yet on whose behalf; they will.
                let Some(caller) = caller else { return Ok(false) };
                let Some(image) = Fetch::begin(&self.rpc, image, &caller).await? else {
                    return Ok(false);
                };
                let import = self.driver.import(spec, &image);
                self.within(self.driver.copy_deadline(), import).await?;
            }
        }
        Ok(true)
    }

    async fn format_of(&self, id: Uuid) -> Option<DiskFormat> {
        let row = self.store.read(|txn| txn.get::<FileRow>(&id.to_string())).await.ok()??;
        Some(row.want.format)
    }
}

fn spec(want: &FileWant) -> FileSpec {
    FileSpec {
        id: want.id,
        generation: want.generation,
        size_gib: want.size_gib,
        format: want.format,
    }
}

#[cfg(test)]
mod tests {
    use updraft_runtime::rows::Change;

    use super::*;

    /// A want that was just heard of.
    fn told() -> FileRow {
        let want = FileWant {
            id: Uuid::from_u128(1),
            generation: 1,
            present: true,
            size_gib: 1,
            format: DiskFormat::Qcow2,
            source: FileSource::Empty,
            export: None,
        };
        FileRow::told(None, want)
    }

    /// A want that the volume service confirms.
    fn row() -> FileRow {
        let mut row = told();
        let want = row.want.clone();
        assert!(learn(&mut row, 1, Outcome::Wanted(want)));
        row
    }

    fn learn(row: &mut FileRow, generation: u64, outcome: Outcome) -> bool {
        Files::learn(row, Learned { generation, outcome }, UnixMicros(0))
    }

    fn failed(forever: bool) -> Outcome {
        Outcome::Failed { reason: "no".to_owned(), forever }
    }

    #[test]
    fn nothing_is_made_before_the_volume_service_confirms_it() {
        let mut row = told();
        assert_eq!(Files::plan(&row, &(), UnixMicros(0)).effects, [Effect::Ask(1)]);
        assert!(learn(&mut row, 1, Outcome::Unwanted));
        assert!(matches!(Files::plan(&row, &(), UnixMicros(0)).change, Change::Delete));
    }

    #[test]
    fn a_newer_want_is_heard_of_by_asking() {
        let mut row = row();
        let newer = FileWant { generation: 3, present: false, ..row.want.clone() };
        assert!(!learn(&mut row, 1, Outcome::Wanted(FileWant { generation: 0, ..newer.clone() })));
        assert!(learn(&mut row, 1, Outcome::Wanted(newer)));
        assert_eq!(Files::plan(&row, &(), UnixMicros(0)).effects, [Effect::Make(3)]);
    }

    #[test]
    fn what_is_wanted_is_made_and_then_left_alone() {
        let mut row = row();
        assert_eq!(Files::plan(&row, &(), UnixMicros(0)).effects, [Effect::Make(1)]);
        assert!(learn(&mut row, 1, Outcome::Here("/file".into(), None)));
        assert!(Files::plan(&row, &(), UnixMicros(0)).effects.is_empty());
    }

    #[test]
    fn what_was_learnt_for_an_older_want_changes_nothing() {
        let mut row = row();
        row.want.generation = 2;
        assert!(!learn(&mut row, 1, Outcome::Here("/file".into(), None)));
        assert!(!learn(&mut row, 1, failed(true)));
    }

    #[test]
    fn a_failure_is_final_at_once_or_after_three_attempts() {
        let mut impossible = row();
        learn(&mut impossible, 1, failed(true));
        assert!(impossible.failure.is_some());
        let mut unlucky = row();
        for attempt in 1..=3 {
            assert!(unlucky.failure.is_none(), "given up before attempt {attempt}");
            learn(&mut unlucky, 1, failed(false));
        }
        assert!(unlucky.failure.is_some());
    }

    #[test]
    fn removing_is_never_given_up() {
        let mut row = row();
        row.want.present = false;
        for _ in 0..10 {
            learn(&mut row, 1, failed(true));
        }
        assert_eq!(Files::plan(&row, &(), UnixMicros(0)).effects, [Effect::Make(1)]);
    }

    #[test]
    fn what_is_gone_is_remembered_for_a_while_and_then_forgotten() {
        let mut row = row();
        row.want.present = false;
        learn(&mut row, 1, Outcome::Gone);
        let kept = Files::plan(&row, &(), UnixMicros(1));
        assert!(matches!(kept.change, Change::Keep) && kept.wake_at.is_some());
        let later = UnixMicros(0).plus(REMEMBERED);
        assert!(matches!(Files::plan(&row, &(), later).change, Change::Delete));
    }
}
