//! A control process from its start to its end: the cloud and the name that it has in the store, and what it serves.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use tokio::net::TcpListener;
use updraft_runtime::{Env, node::Parts, revocations::Revocations, store::Store};
use updraft_transport::{
    NodeId, PeerIdentity,
    ca::CloudCa,
    key::{NodeKey, PublicKey},
    quic::Quic,
};

use super::{
    super::{
        bootstrap::{Beginning, bootstrap},
        config::Settings,
        data_dir::DataDir,
        database::{self, DatabaseError},
        enlist,
        enrol::{self, EnrolError},
        estate::{self, Passwords},
        image_folder,
        keeper::{Keeper, OWN_NODE},
        link::{self, Failure, Side},
        node::CELL,
        renewal, revoked,
    },
    ADDRESS_FILE, config, quic_address, serve, show_metrics,
};
use crate::{
    control::{Control, ControlConfig, migrate},
    membership::{Claim, ControlRow, Refusal, Registrar, Roster, Seat, authority_text},
};

/// The id of the control node with which a cloud begins.
const CONTROL_NODE: &str = "control-1";

/// A control process that has its folder and its address.
pub(super) struct Entered {
    pub(super) env: Env,
    pub(super) data: DataDir,
    pub(super) settings: Settings,
    pub(super) node: NodeId,
    /// Whether it is a further control node, and not the one with which the cloud began.
    pub(super) further: bool,
}

impl Entered {
    /// Takes the node's place among the control nodes of the store, and serves until told to end.
    pub(super) async fn serve(
        &self,
        store: &Store,
        database: Option<String>,
        listener: TcpListener,
    ) -> Result<(), Failure> {
        let Self { env, data, settings, .. } = self;
        // Before the roster and the registrar, whose rows are among those that may be of another version.
        migrate(store).await?;
        let address = listener.local_addr()?;
        let roster = Roster::new(env, store);
        let (ca, claim) = self.claim(&roster, database.as_deref()).await?;
        let passwords = estate::passwords(env, data)?;
        let key = link::key(env, data, self.node.as_str())?;
        let registrar = self.registrar(store, ca, &passwords, database.is_some())?;
        registrar.enter(&key.public(), claim == Claim::Founded).await.map_err(not_a_member)?;
        let others = roster.others(&self.node).await?;
        image_folder::settle(env, settings, data, &roster, others.is_empty()).await?;
        let refused = registrar.revoked().await?;
        let (parts, quic, quic_address) = self.parts(&registrar, &key, &others)?;
        // Before anything else runs: nobody who was removed is heard even once.
        quic.revoke(&refused.keys)?;
        let base = format!("http://{address}");
        let seat = self.seat(&roster, database.is_some(), quic_address, &base).await?;
        let beginning = Beginning { further: self.further, alone: others.is_empty() };
        let bootstrap = bootstrap(data, settings, &passwords, &base, beginning)?;
        let config =
            ControlConfig { registrar: Some(registrar.clone()), ..config(settings, data)? };
        let control = Control::start(parts, store.clone(), config, &bootstrap).await?;
        let revocations = control.node().rpc().directory().revocations();
        revocations.take(refused);
        revoked::follow(env, quic, None, revocations);
        data.write("run/quic-address", &quic_address.to_string())?;
        show_metrics(env, settings, data, &control).await?;
        settings.export_spans(env, control.node());
        let keeper = (!self.further).then(|| Keeper {
            env: env.clone(),
            data: data.clone(),
            registrar,
            control: self.node.clone(),
            control_address: quic_address,
        });
        // Last: whoever waits for the cloud reads the others when this is there.
        data.write(ADDRESS_FILE, &address.to_string())?;
        let unseated = unseated(seat.clone(), revocations.clone(), key.public(), &self.node);
        let ended = serve(env, &control, keeper, listener, unseated).await;
        // The compute process has ended: nothing more is to be heard of it.
        let _ = data.remove(ADDRESS_FILE);
        if let Some(seat) = seat
            && let Err(error) = seat.leave().await
        {
            tracing::debug!(%error, "the store is not told that this node ends");
        }
        control.node().stop().await;
        ended
    }

    /// The CA, and whose the store was; refuses a store of another cloud.
    async fn claim(
        &self,
        roster: &Roster,
        database: Option<&str>,
    ) -> Result<(CloudCa, Claim), Failure> {
        let (env, data) = (&self.env, &self.data);
        let other = || -> Failure {
            let folder = data.root().display().to_string();
            match database {
                Some(place) => DatabaseError::OtherCloud { place: place.to_owned(), folder }.into(),
                None => format!("the store in {folder} is of another cloud than its CA").into(),
            }
        };
        let known = roster.cloud().await?;
        if let (true, None, Some(place)) = (self.further, &known, database) {
            return Err(DatabaseError::Empty { place: place.to_owned() }.into());
        }
        let ca = match link::kept_ca(data)? {
            Some(ca) => ca,
            // No CA is made that nobody would ever believe.
            None if known.is_some() => return Err(other()),
            None => link::ca(env, data)?,
        };
        let claim = roster.claim(&authority_text(&ca.certificate().fingerprint())).await?;
        if claim == Claim::Other {
            return Err(other());
        }
        if let Some(place) = database {
            database::mark(data, place)?;
        }
        Ok((ca, claim))
    }

    /// Lets others join; further control nodes too, where they reach the store.
    fn registrar(
        &self,
        store: &Store,
        ca: CloudCa,
        passwords: &Passwords,
        shared: bool,
    ) -> Result<Registrar, Failure> {
        let entrusted = shared.then(|| estate::hand_over(&ca, passwords)).transpose()?;
        let own = if self.further { None } else { Some(NodeId::new(OWN_NODE)?) };
        let own = BTreeSet::from_iter(own);
        Ok(Registrar::beside(&self.env, store, ca, self.node.clone(), own, entrusted))
    }

    /// The node's hold on its name, where another process could have it too.
    async fn seat(
        &self,
        roster: &Roster,
        shared: bool,
        address: SocketAddr,
        apis: &str,
    ) -> Result<Option<Seat>, Failure> {
        if !shared {
            return Ok(None);
        }
        let row = ControlRow {
            node: self.node.clone(),
            address,
            apis: apis.to_owned(),
            run: self.env.uuid(),
            place: self.data.place()?,
            ticks: 0,
            ended: false,
        };
        Ok(Some(roster.take_seat(row).await?))
    }

    /// The node's link, and where others reach it.
    fn parts(
        &self,
        registrar: &Registrar,
        key: &NodeKey,
        others: &[ControlRow],
    ) -> Result<(Parts, Arc<Quic>, SocketAddr), Failure> {
        let (env, data, node) = (&self.env, &self.data, &self.node);
        let ca = Arc::new(link::ca(env, data)?);
        let identity = PeerIdentity::new(node.clone(), &["control"]);
        let issue = {
            let (env, key) = (env.clone(), key.clone());
            move || link::credentials(&env, &ca, key.clone(), &identity)
        };
        let credentials = issue()?;
        let incarnation = data.next_incarnation(env, node.as_str())?;
        let side = Side::Control(Arc::new(registrar.clone()));
        let listen = self.settings.quic_listen;
        let (quic, events) = link::link(env, credentials.clone(), incarnation, listen, side)?;
        let address = quic_address(&self.settings, quic.local_addr()?)?;
        renewal::of_control(env, quic.clone(), credentials, issue);
        let mut seeds = vec![(node.clone(), address)];
        seeds.extend(others.iter().map(|other| (other.node.clone(), other.address)));
        let parts = Parts {
            env: env.clone(),
            transport: quic.clone(),
            events,
            incarnation,
            address,
            cell: CELL.to_owned(),
            seeds,
        };
        Ok((parts, quic, address))
    }
}

/// That this node is none of the cloud any more, in words for whoever starts it.
fn not_a_member(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Revoked(node) => EnrolError::ControlRemoved(node).into(),
        other => other.into(),
    }
}

/// Returns when this process may not serve any more, with the reason: another has its name, or the node was removed.
async fn unseated(
    seat: Option<Seat>,
    revocations: Revocations,
    key: PublicKey,
    node: &NodeId,
) -> Failure {
    let lost = async {
        match seat {
            Some(seat) => seat.keep().await,
            None => std::future::pending().await,
        }
    };
    let mut changes = revocations.changes();
    let removed = changes.wait_for(|revoked| revoked.keys.contains(&key));
    tokio::select! {
        biased;
        lost = lost => lost.into(),
        _ = removed => EnrolError::ControlRemoved(node.clone()).into(),
    }
}

/// Which node the control process of a cloud's first machine is. A folder that belongs to a host of another cloud, or to
/// a further control node, is not made a cloud of its own.
pub(in crate::machine) fn first_node(data: &DataDir) -> Result<NodeId, Failure> {
    let root = data.root().display();
    if let Some(node) = enlist::further_control(data)? {
        return Err(format!(
            "{root} belongs to control node {node}; start it with 'updraft control', or give another folder with --data-dir"
        )
        .into());
    }
    match enrol::membership(data)? {
        Some(known) if known.node.as_str() != OWN_NODE => Err(format!(
            "{root} belongs to node {} of the cloud at {}; start it with 'updraft node', or give another folder with \
             --data-dir",
            known.node, known.control_address
        )
        .into()),
        _ => Ok(NodeId::new(CONTROL_NODE)?),
    }
}
