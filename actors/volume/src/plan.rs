//! How volumes and snapshots converge: a host is chosen, the file is made there, and a row goes only when its
//! file is confirmed gone.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use updraft_protocol::volume::{API, FileSource, Node, Realize, Realized, Room, Survey};
use updraft_runtime::{
    env::{BoxFuture, UnixMicros},
    rows::{Change, Kind, Plan},
    rpc::{CallError, Cx, FaultKind, Rpc, TraceContext},
    store::{StoreError, Txn},
    transport::NodeId,
};
use uuid::Uuid;

use crate::rows::{BY_COPIED, BY_PENDING, Caller, FileState, SnapshotRow, VolumeRow};

mod file;

use file::Step;
pub use file::{Facts, SourceHost};

/// How much later a file is looked at again that somebody copies from.
const COPY_PAUSE: Duration = Duration::from_secs(1);

/// How long a file may take to be as it is wanted: longer than a host is waited for, and the time in which some hundred
/// gigabytes are copied.
const SETTLES_WITHIN: Duration = Duration::from_secs(1_800);

/// How long an attachment that is over is remembered: no message is under way for longer than its deadline.
pub(crate) const RELEASED_REMEMBERED: Duration = Duration::from_secs(3_600);

/// What a plan asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Ask every volume node how much room it has.
    Survey,
    /// Tell the file's host what is wanted of it.
    Realize(u64),
}

/// What was learnt of a file.
#[derive(Clone, Debug)]
pub enum Learned {
    /// The room of the nodes that answered.
    Rooms(BTreeMap<String, Room>),
    /// This generation is met.
    Realized(Realized),
    /// The host says that it cannot meet this generation.
    Refused(u64, String),
    /// The host works on it.
    Working(u64),
}

/// Volumes as rows that converge.
pub struct Volumes(pub(crate) Hands);

/// Snapshots as rows that converge.
pub(crate) struct Snapshots(pub(crate) Hands);

impl Kind for Volumes {
    type Row = VolumeRow;
    type Facts = Facts;
    type Effect = Effect;
    type Learned = Learned;

    const SETTLES_WITHIN: Option<Duration> = Some(SETTLES_WITHIN);

    fn facts(&self, txn: &Txn, row: &VolumeRow) -> Result<Facts, StoreError> {
        facts(txn, row.id, &row.file)
    }

    fn plan(row: &VolumeRow, facts: &Facts, now: UnixMicros) -> Plan<Self> {
        if let Some(row) = tidied(row, now) {
            return Plan::write(row);
        }
        let write = |file| VolumeRow { file, updated_at: Some(now), ..row.clone() };
        to_plan(file::plan(&row.file, facts, now), now, write)
    }

    fn learn(row: &mut VolumeRow, learned: Learned, now: UnixMicros) -> bool {
        let growing = row.file.served > 0 && row.file.present;
        let refused = matches!(learned, Learned::Refused(..));
        let news = file::learn(&mut row.file, learned, now);
        if news {
            row.updated_at = Some(now);
            row.extend_failed |= growing && refused;
        }
        news
    }

    fn perform(&self, row: VolumeRow, effect: Effect) -> BoxFuture<'static, Option<Learned>> {
        self.0.perform(row.id, row.file, row.caller, effect)
    }
}

impl Kind for Snapshots {
    type Row = SnapshotRow;
    type Facts = Facts;
    type Effect = Effect;
    type Learned = Learned;

    const SETTLES_WITHIN: Option<Duration> = Some(SETTLES_WITHIN);

    fn facts(&self, txn: &Txn, row: &SnapshotRow) -> Result<Facts, StoreError> {
        facts(txn, row.id, &row.file)
    }

    fn plan(row: &SnapshotRow, facts: &Facts, now: UnixMicros) -> Plan<Self> {
        let write = |file| SnapshotRow { file, updated_at: Some(now), ..row.clone() };
        to_plan(file::plan(&row.file, facts, now), now, write)
    }

    fn learn(row: &mut SnapshotRow, learned: Learned, now: UnixMicros) -> bool {
        let news = file::learn(&mut row.file, learned, now);
        if news {
            row.updated_at = Some(now);
        }
        news
    }

    fn perform(&self, row: SnapshotRow, effect: Effect) -> BoxFuture<'static, Option<Learned>> {
        self.0.perform(row.id, row.file, None, effect)
    }
}

fn to_plan<K>(step: Step, now: UnixMicros, write: impl FnOnce(FileState) -> K::Row) -> Plan<K>
where
    K: Kind<Effect = Effect>,
{
    match step {
        Step::Rest => Plan::settled(),
        Step::Wait => Plan::wait("those that copy from it").wake_at(now.plus(COPY_PAUSE)),
        Step::Write(file) => Plan::write(write(*file)),
        Step::Delete => Plan { change: Change::Delete, ..Plan::settled() },
        Step::Act(effect, until) => {
            let plan = Plan::act(vec![effect]);
            until.into_iter().fold(plan, Plan::wake_at)
        }
    }
}

/// The row without what it need not keep any longer.
fn tidied(row: &VolumeRow, now: UnixMicros) -> Option<VolumeRow> {
    let over = |at: &UnixMicros| now.since(*at) >= RELEASED_REMEMBERED;
    let forget = row.released.values().any(over);
    let hush = row.caller.is_some() && !row.file.is_being_made();
    if !forget && !hush {
        return None;
    }
    let mut row = row.clone();
    row.released.retain(|_, at| !over(at));
    if hush {
        row.caller = None;
    }
    Some(row)
}

fn facts(txn: &Txn, id: Uuid, file: &FileState) -> Result<Facts, StoreError> {
    let key = id.to_string();
    let copies_under_way = !txn.find::<VolumeRow>(BY_COPIED, &key)?.is_empty()
        || !txn.find::<SnapshotRow>(BY_COPIED, &key)?.is_empty();
    let source = match file.source {
        FileSource::File(source) => source_host(txn, source)?,
        FileSource::Empty | FileSource::Image(_) => SourceHost::Any,
    };
    let mut pending = BTreeMap::new();
    for host in file.rooms.keys() {
        let volumes = txn.find::<VolumeRow>(BY_PENDING, host)?;
        let snapshots = txn.find::<SnapshotRow>(BY_PENDING, host)?;
        let gib = volumes.iter().map(|row| &row.file).chain(snapshots.iter().map(|row| &row.file));
        pending.insert(host.clone(), gib.map(|file| file.size_gib).sum());
    }
    Ok(Facts { copies_under_way, source, pending })
}

/// Where the file is that this one is copied from.
fn source_host(txn: &Txn, source: Uuid) -> Result<SourceHost, StoreError> {
    let key = source.to_string();
    let volume = txn.get::<VolumeRow>(&key)?.map(|row| row.file);
    let snapshot = txn.get::<SnapshotRow>(&key)?.map(|row| row.file);
    Ok(match volume.or(snapshot) {
        Some(FileState { host: Some(host), .. }) => SourceHost::Only(host),
        _ => SourceHost::Gone,
    })
}

/// What talks to volume nodes.
#[derive(Clone)]
pub(crate) struct Hands {
    pub(crate) rpc: Rpc,
}

impl Hands {
    fn perform(
        &self,
        id: Uuid,
        file: FileState,
        caller: Option<Caller>,
        effect: Effect,
    ) -> BoxFuture<'static, Option<Learned>> {
        let hands = self.clone();
        Box::pin(async move {
            match effect {
                Effect::Survey => hands.survey().await,
                Effect::Realize(generation) => hands.realize(id, &file, caller, generation).await,
            }
        })
    }

    async fn survey(&self) -> Option<Learned> {
        let nodes = self.rpc.directory().servers_of::<Survey>();
        let cx = Cx::new(API, TraceContext::default());
        let rooms = join_all(nodes.iter().map(|node| {
            let cx = cx.clone();
            async move { (node, self.rpc.client::<Node>().on(node).call(&Survey, &cx).await) }
        }))
        .await;
        let rooms: BTreeMap<String, Room> = rooms
            .into_iter()
            .filter_map(|(node, room)| match room {
                Ok(room) => Some((node.to_string(), room)),
                Err(error) => {
                    tracing::info!(%node, %error, "a volume node does not say its room");
                    None
                }
            })
            .collect();
        (!rooms.is_empty()).then_some(Learned::Rooms(rooms))
    }

    async fn realize(
        &self,
        id: Uuid,
        file: &FileState,
        caller: Option<Caller>,
        generation: u64,
    ) -> Option<Learned> {
        let host = NodeId::new(file.host.as_deref()?).ok()?;
        let trace = caller.as_ref().map(|caller| caller.trace).unwrap_or_default();
        let context = caller.and_then(|caller| STANDARD.decode(caller.context).ok());
        let cx = Cx::new(API, trace).with_context(context.unwrap_or_default().into());
        let message = Realize { want: file.want(id) };
        match self.rpc.client::<Node>().on(&host).call(&message, &cx).await {
            Ok(realized) => Some(Learned::Realized(realized)),
            Err(error) => refusal(id, generation, &error),
        }
    }
}

/// What an answer that is none teaches.
pub fn refusal(id: Uuid, generation: u64, error: &CallError) -> Option<Learned> {
    let kind = error.fault().map(|fault| fault.kind);
    match kind {
        Some(FaultKind::Unavailable) => Some(Learned::Working(generation)),
        Some(FaultKind::Conflict | FaultKind::Invalid | FaultKind::OverLimit) => {
            Some(Learned::Refused(generation, error.to_string()))
        }
        _ => {
            tracing::info!(file = %id, %error, "told again later");
            None
        }
    }
}
