//! Gives out tokens and certificates.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rand::RngCore;
use updraft_protocol::membership::{IssuedCertificate, Membership, RenewCertificate};
use updraft_runtime::{
    Env,
    rpc::{Fault, FaultKind, Service},
    store::{Store, StoreError, Txn},
};
use updraft_transport::{
    Incarnation, NodeId, PeerIdentity,
    ca::{CloudCa, Validity},
    certificate::Certificate,
    join::{Admission, Admitted, Applicant, Denial, Entrusted, JoinToken, SECRET_BYTES, Verdict},
    key::PublicKey,
};

use super::rows::{CONTROL, NodeRow, Removal, TokenRow, Use, key_text};

mod refusal;
mod revoking;

pub use refusal::Refusal;

/// How long a node's certificate lasts: long enough to survive a host that stands still for months, and
/// renewed long before (see `machine::renewal`).
pub const NODE_LASTS: Duration = Duration::from_secs(365 * 24 * 3600);

/// Longest life of a token: it is for a machine that is being set up now.
const TOKEN_LASTS_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long a token that is no longer good is remembered, so that who shows it is told why.
const TOKEN_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Tokens remembered at once: a cloud has 250 hosts, and a script that asks in a loop is stopped.
const TOKENS_MAX: usize = 1_000;

/// What a machine that joins may be.
fn roles(for_control: bool) -> [&'static str; 1] {
    if for_control { [CONTROL] } else { ["compute"] }
}

/// What is wanted of a token.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The control node to talk to.
    pub control: NodeId,
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// The one name that it shall be good for.
    pub node: Option<NodeId>,
    /// How long it shall be good.
    pub lasts: Duration,
    /// Whether it is to make a control node of the machine, and not a host.
    pub for_control: bool,
}

/// Decides who joins; cheap to clone.
#[derive(Clone)]
pub struct Registrar {
    office: Arc<Office>,
}

struct Office {
    env: Env,
    store: Store,
    ca: CloudCa,
    /// The nodes of the machine that this runs on. Nobody joins under the name of the first, which is this node's; none
    /// is removed.
    own: BTreeSet<NodeId>,
    local: NodeId,
    /// What a further control node is entrusted with; none where there can be no further one.
    entrusted: Option<Entrusted>,
}

impl Registrar {
    /// A registrar that keeps its rows in this store and signs with this CA.
    #[must_use]
    pub fn new(env: &Env, store: &Store, ca: CloudCa, local: NodeId) -> Self {
        Self::beside(env, store, ca, local, BTreeSet::new(), None)
    }

    /// The same on a machine where other nodes run too that are not to be removed, and of a cloud that entrusts further
    /// control nodes with this, if it can have any.
    #[must_use]
    pub fn beside(
        env: &Env,
        store: &Store,
        ca: CloudCa,
        local: NodeId,
        mut own: BTreeSet<NodeId>,
        entrusted: Option<Entrusted>,
    ) -> Self {
        let (env, store) = (env.clone(), store.scoped("membership/"));
        own.insert(local.clone());
        Self { office: Arc::new(Office { env, store, ca, own, local, entrusted }) }
    }

    /// A new token. It is durable that it was given out before anybody sees it.
    pub async fn invite(&self, wish: Wish) -> Result<JoinToken, Refusal> {
        let office = &self.office;
        if wish.lasts < Duration::from_secs(60) || wish.lasts > TOKEN_LASTS_MAX {
            return Err(Refusal::Lifetime);
        }
        if wish.for_control && office.entrusted.is_none() {
            return Err(Refusal::Alone);
        }
        let mut secret = [0; SECRET_BYTES];
        office.env.rng("join token").fill_bytes(&mut secret);
        let now = office.env.wall();
        let expires = now.plus(wish.lasts);
        let Wish { control, address, node, for_control, .. } = wish;
        let token =
            JoinToken::new(secret, office.ca.certificate(), control, address, expires.secs());
        let token = if for_control { token.for_control() } else { token };
        let digest = TokenRow::key_of(&token.digest());
        let row = TokenRow {
            digest,
            node,
            created: now,
            expires,
            used: None,
            control: for_control,
            issuer: Some(office.local.clone()),
        };
        office.store.transact(|txn| note(txn, &row)).await?;
        Ok(token)
    }

    /// Every name under which a node has joined, also of those that were removed.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.office.store.read(|txn| txn.scan::<NodeRow>(None, usize::MAX)).await
    }

    /// Uses a token up for an applicant; the same applicant may come again, since an answer may be lost.
    pub async fn admit(&self, applicant: &Applicant) -> Result<Admitted, Refusal> {
        let office = &self.office;
        let now = office.env.wall();
        let (former, for_control) = office
            .store
            .transact(|txn| {
                let key = TokenRow::key_of(&applicant.secret);
                let token = txn.get::<TokenRow>(&key)?.ok_or(Refusal::UnknownToken)?;
                let for_control = token.control;
                if for_control && office.entrusted.is_none() {
                    return Err(Refusal::Alone);
                }
                let known = txn.get::<NodeRow>(applicant.node.as_str())?;
                office.check(txn, &token, applicant, known.as_ref())?;
                let removals = known.map(|row| row.removals).unwrap_or_default();
                let former = former(&removals);
                if token.used.is_none() && now >= token.expires {
                    return Err(Refusal::Expired);
                }
                if token.used.is_none() {
                    let used = Use { node: applicant.node.clone(), at: now };
                    txn.put(&TokenRow { used: Some(used), ..token })?;
                    txn.put(&NodeRow {
                        node: applicant.node.clone(),
                        key: key_text(&applicant.key),
                        roles: roles(for_control).map(str::to_owned).to_vec(),
                        joined: now,
                        removals,
                    })?;
                }
                Ok::<_, Refusal>((former, for_control))
            })
            .await?;
        let admitted = office.certify(&applicant.node, &applicant.key, &roles(for_control))?;
        let entrusted = office.entrusted.clone().filter(|_| for_control).unwrap_or_default();
        Ok(Admitted { former, entrusted, ..admitted })
    }

    /// Notes the control node that this runs on as a node of the cloud, as those are that have joined. A name that
    /// another key has is taken over by the node that `founds` the cloud anew, as after its store was put back elsewhere.
    pub async fn enter(&self, key: &PublicKey, founds: bool) -> Result<(), Refusal> {
        let office = &self.office;
        let (node, key) = (office.local.clone(), key_text(key));
        office
            .store
            .transact(|txn| {
                let known = txn.get::<NodeRow>(node.as_str())?;
                match &known {
                    Some(row) if row.has_revoked(&key) => {
                        return Err(Refusal::Revoked(node.clone()));
                    }
                    Some(row) if row.key == key && row.is_control() => return Ok(()),
                    Some(row) if row.is_member() && row.key != key && !founds => {
                        return Err(Refusal::NameTaken(node.clone()));
                    }
                    _ => {}
                }
                let removals = known.map(|row| row.removals).unwrap_or_default();
                Ok(txn.put(&NodeRow {
                    node: node.clone(),
                    key: key.clone(),
                    roles: roles(true).map(str::to_owned).to_vec(),
                    joined: office.env.wall(),
                    removals,
                })?)
            })
            .await
    }

    /// The next certificate of a node that has joined.
    pub async fn renew(&self, node: &NodeId) -> Result<Admitted, Refusal> {
        let found = self.office.store.read(|txn| txn.get::<NodeRow>(node.as_str())).await;
        let unknown = || Refusal::UnknownNode(node.clone());
        let row = found.map_err(Refusal::Store)?.ok_or_else(unknown)?;
        if !row.is_member() {
            return Err(Refusal::Revoked(node.clone()));
        }
        let key = row.public_key().ok_or_else(unknown)?;
        let roles: Vec<_> = row.roles.iter().map(String::as_str).collect();
        self.office.certify(node, &key, &roles)
    }

    /// The service for nodes whose certificates near their end.
    #[must_use]
    pub fn service(&self) -> Service {
        let registrar = self.clone();
        Service::of::<Membership>()
            .call(move |ctx, RenewCertificate| {
                let registrar = registrar.clone();
                async move {
                    let admitted = registrar.renew(&ctx.peer.node).await.map_err(fault)?;
                    tracing::info!(node = %ctx.peer.node, "its certificate is renewed");
                    Ok(in_der(&admitted))
                }
            })
            .into()
    }
}

impl Admission for Registrar {
    fn judge(&self, applicant: Applicant) -> Verdict {
        let registrar = self.clone();
        Box::pin(async move { registrar.admit(&applicant).await.map_err(Denial::from) })
    }
}

impl Office {
    /// Whether this token lets this key have this name, of which this is `known`.
    fn check(
        &self,
        txn: &Txn,
        token: &TokenRow,
        applicant: &Applicant,
        known: Option<&NodeRow>,
    ) -> Result<(), Refusal> {
        let (name, key) = (&applicant.node, key_text(&applicant.key));
        let mut rows = txn.scan::<NodeRow>(None, usize::MAX)?.into_iter();
        if let Some(former) = rows.find(|row| row.has_revoked(&key)) {
            return Err(Refusal::Revoked(former.node));
        }
        let same_key = |row: &NodeRow| row.key == key;
        if let Some(used) = &token.used {
            let again = used.node == *name && known.is_some_and(same_key);
            return if again { Ok(()) } else { Err(Refusal::Used(used.node.clone())) };
        }
        if let Some(wanted) = token.node.as_ref().filter(|wanted| *wanted != name) {
            return Err(Refusal::OtherName(wanted.clone()));
        }
        if *name == self.local || known.is_some_and(|row| row.is_member() && !same_key(row)) {
            return Err(Refusal::NameTaken(name.clone()));
        }
        Ok(())
    }

    fn certify(&self, node: &NodeId, key: &PublicKey, roles: &[&str]) -> Result<Admitted, Refusal> {
        let identity = PeerIdentity::new(node.clone(), roles);
        let validity = Validity::starting(self.env.wall().secs(), NODE_LASTS);
        let certificate = self.ca.issue(&identity, key, validity)?;
        let authorities = vec![self.ca.certificate().clone()];
        let (former, entrusted) = (Incarnation::default(), Entrusted::default());
        Ok(Admitted { certificate, authorities, former, entrusted })
    }
}

/// How many starts a name has room for before each removal of its node: more than any node can begin.
const STARTS_PER_LIFE: u64 = 1 << 32;

/// Behind which incarnation the next node of a name counts its starts, so that nobody takes it for an earlier start of
/// those that were removed.
fn former(removals: &[Removal]) -> Incarnation {
    Incarnation(removals.len() as u64 * STARTS_PER_LIFE)
}

/// Writes a token's row, and forgets the rows that no refusal needs any more.
fn note(txn: &mut Txn, row: &TokenRow) -> Result<(), Refusal> {
    let mut kept = 0;
    for old in txn.scan::<TokenRow>(None, usize::MAX)? {
        if row.created.since(old.expires) > TOKEN_KEPT {
            txn.delete::<TokenRow>(&old.digest)?;
        } else {
            kept += 1;
        }
    }
    if kept >= TOKENS_MAX {
        return Err(Refusal::TooMany);
    }
    Ok(txn.insert(row)?)
}

fn fault(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Store(error) => error.into(),
        other => Fault::new(FaultKind::NotFound, "NotAMember", other.to_string()),
    }
}

fn in_der(admitted: &Admitted) -> IssuedCertificate {
    let der = |certificate: &Certificate| certificate.der().to_vec().into();
    IssuedCertificate {
        certificate: der(&admitted.certificate),
        authorities: admitted.authorities.iter().map(der).collect(),
    }
}

#[cfg(test)]
mod tests;
