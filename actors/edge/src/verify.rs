//! Whether a token may pass, decided on this node without a call.
//!
//! Owns the newest [`IdentitySnapshot`] and judges tokens by it: the signature, the end, what was
//! revoked, and that user, project, domain and roles are still there and enabled. Every look-up is
//! by key; none walks a list. It keeps no verdict, so a revocation holds from the moment its
//! snapshot arrives. Why a token was refused is for logs and tests alone: whoever sent it hears
//! the same in every case.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use updraft_protocol::{
    compute::Seal,
    identity::{
        AuthContext, Domain, DomainRef, IdentitySnapshot, Principal, Project, ProjectRef, RoleRef,
        Scope, User, UserRef,
    },
};
use updraft_runtime::{
    env::UnixMicros,
    planted::{Bug, is_planted},
    sometimes,
};

use crate::{
    seal::{Placement, SealKeys},
    token::{KeyRing, Opened, TokenScope, Unreadable},
};

/// How long after its end a user's token still passes when a service vouches for it: two days, as
/// in Keystone, so that the longest upload or migration is carried to its end.
pub const EXPIRED_GRACE: Duration = Duration::from_secs(48 * 60 * 60);

/// Why a token does not pass.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// This node has heard nothing from the identity service yet.
    #[error("nothing is known of users and keys yet")]
    NotReady,
    /// It is no token of this cloud.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It has ended.
    #[error("it expired at {}", crate::rest::time::iso_micros_z(*.0))]
    Expired(UnixMicros),
    /// It, its chain, its user, project or domain was revoked.
    #[error("it was revoked with its {0}")]
    Revoked(Entity),
    /// Something that it names does not exist.
    #[error("its {0} does not exist")]
    Unknown(Entity),
    /// Something that it names is disabled.
    #[error("its {0} is disabled")]
    Disabled(Entity),
    /// The user has no role any more where the token is for.
    #[error("its user has no role there")]
    NoRole,
    /// A kind of token that this cloud does not issue.
    #[error("tokens of this kind are not accepted: {0}")]
    Unsupported(&'static str),
    /// A context says something else than its token.
    #[error("its context names another user or scope")]
    Mismatch,
}

/// What of a token was found wanting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    /// The token itself.
    Token,
    /// All tokens that came from one authentication.
    Chain,
    /// The user.
    User,
    /// The domain of the user.
    UserDomain,
    /// The project.
    Project,
    /// The domain of the project.
    ProjectDomain,
    /// The domain that the token is for.
    Domain,
    /// The application credential.
    ApplicationCredential,
}

impl std::fmt::Display for Entity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Chain => "chain of tokens",
            Self::User => "user",
            Self::UserDomain => "user's domain",
            Self::Project => "project",
            Self::ProjectDomain => "project's domain",
            Self::Domain => "domain",
            Self::ApplicationCredential => "application credential",
        })
    }
}

/// Judges tokens; shared by all of a node's listeners and callees.
#[derive(Debug, Default)]
pub struct Verifier {
    state: RwLock<Arc<State>>,
}

#[derive(Debug, Default)]
struct State {
    snapshot: Arc<IdentitySnapshot>,
    keys: Option<KeyRing>,
    seals: SealKeys,
}

impl Verifier {
    /// A verifier that has heard nothing yet and refuses every token as [`TokenError::NotReady`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over a snapshot unless a newer one is held; says whether it did.
    pub fn publish(&self, snapshot: Arc<IdentitySnapshot>) -> bool {
        let keys = KeyRing::new(&snapshot.fernet_keys).ok();
        let seals = SealKeys::new(&snapshot.fernet_keys);
        let mut state = self.state.write();
        let newer = state.keys.is_none()
            || snapshot.version > state.snapshot.version
            || is_planted(Bug::OlderSnapshotPublished);
        sometimes!(
            state.keys.is_some() && snapshot.version < state.snapshot.version,
            "an older state of users comes after a newer one"
        );
        if newer {
            *state = Arc::new(State { snapshot, keys, seals });
        }
        newer
    }

    /// The snapshot that is held.
    #[must_use]
    pub fn snapshot(&self) -> Arc<IdentitySnapshot> {
        self.state.read().snapshot.clone()
    }

    /// This cloud's word that a server is placed so.
    pub fn seal(&self, placement: &Placement<'_>) -> Result<Seal, TokenError> {
        self.state.read().seals.seal(placement).ok_or(TokenError::NotReady)
    }

    /// Whether a seal is this cloud's word that a server is placed so.
    pub fn is_sealed(&self, placement: &Placement<'_>, seal: &Seal) -> Result<bool, TokenError> {
        let state = self.state.read().clone();
        if state.keys.is_none() {
            return Err(TokenError::NotReady);
        }
        Ok(state.seals.fits(placement, seal))
    }

    /// Who a token stands for, if it passes. A token passes until `expired_grace` after its end.
    pub fn verify(
        &self,
        token: &str,
        now: UnixMicros,
        expired_grace: Duration,
    ) -> Result<Principal, TokenError> {
        let state = self.state.read().clone();
        let keys = state.keys.as_ref().ok_or(TokenError::NotReady)?;
        let opened = keys.open(token, now)?;
        let lenient = is_planted(Bug::ExpiredTokenFromAnyone);
        let expired_grace = if lenient { EXPIRED_GRACE } else { expired_grace };
        Judge { snapshot: &state.snapshot, token: &opened, now, expired_grace }.principal()
    }

    /// Who an inner call is made for, if the token that it carries passes and says what the context
    /// says. Only a caller whose node is a service may bring an expired one.
    pub fn verify_context(
        &self,
        context: &AuthContext,
        now: UnixMicros,
        caller_is_service: bool,
    ) -> Result<Principal, TokenError> {
        let grace = if caller_is_service { EXPIRED_GRACE } else { Duration::ZERO };
        let principal = self.verify(context.token.reveal(), now, grace)?;
        let claimed = &context.principal;
        let same = claimed.user.id == principal.user.id
            && same_scope(&claimed.scope, &principal.scope)
            && claimed.audit_ids == principal.audit_ids;
        if same { Ok(principal) } else { Err(TokenError::Mismatch) }
    }
}

fn same_scope(a: &Scope, b: &Scope) -> bool {
    match (a, b) {
        (Scope::Unscoped, Scope::Unscoped) | (Scope::System, Scope::System) => true,
        (Scope::Project(a), Scope::Project(b)) => a.id == b.id,
        (Scope::Domain(a), Scope::Domain(b)) => a.id == b.id,
        _ => false,
    }
}

/// One opened token before one snapshot.
struct Judge<'a> {
    snapshot: &'a IdentitySnapshot,
    token: &'a Opened,
    now: UnixMicros,
    expired_grace: Duration,
}

impl Judge<'_> {
    fn principal(&self) -> Result<Principal, TokenError> {
        let contents = &self.token.contents;
        self.lasts_until(contents.expires_at)?;
        self.audit_ids()?;
        let user = self.user()?;
        let (scope, roles) = self.scope()?;
        let credential_id = match &contents.scope {
            TokenScope::ApplicationCredential { credential_id, .. } => Some(credential_id.clone()),
            _ => None,
        };
        Ok(Principal {
            user,
            scope,
            roles,
            methods: contents.methods.names().into_iter().map(str::to_owned).collect(),
            audit_ids: contents.audit_ids.clone(),
            issued_at: self.token.issued_at,
            expires_at: contents.expires_at,
            application_credential_id: credential_id,
        })
    }

    fn lasts_until(&self, end: UnixMicros) -> Result<(), TokenError> {
        let over = self.now >= end.plus(self.expired_grace);
        sometimes!(over, "a token is too old");
        sometimes!(!over && self.now >= end, "an expired token passes between services");
        if over { Err(TokenError::Expired(end)) } else { Ok(()) }
    }

    fn audit_ids(&self) -> Result<(), TokenError> {
        let revoked = &self.snapshot.revocations;
        let ids = &self.token.contents.audit_ids;
        let own = if is_planted(Bug::RevokedTokenAccepted) { ids.last() } else { ids.first() };
        if own.is_some_and(|own| revoked.audit_ids.contains_key(own)) {
            sometimes!(true, "a token comes after it was revoked");
            return Err(TokenError::Revoked(Entity::Token));
        }
        if ids.last().is_some_and(|first| revoked.chain_ids.contains_key(first)) {
            return Err(TokenError::Revoked(Entity::Chain));
        }
        Ok(())
    }

    fn user(&self) -> Result<UserRef, TokenError> {
        let id = &self.token.contents.user_id;
        let user: &User = find(&self.snapshot.users, id, Entity::User)?;
        self.stands(Entity::User, user.enabled, user.revoked_before)?;
        let domain = self.domain(&user.domain_id, Entity::UserDomain)?;
        Ok(UserRef { id: id.clone(), name: user.name.clone(), domain })
    }

    fn scope(&self) -> Result<(Scope, Vec<RoleRef>), TokenError> {
        match &self.token.contents.scope {
            TokenScope::Unscoped => Ok((Scope::Unscoped, Vec::new())),
            TokenScope::Project { project_id } => {
                let project = self.project(project_id)?;
                Ok((Scope::Project(project), self.held(self.in_project(project_id))?))
            }
            TokenScope::Domain { domain_id } => {
                let domain = self.domain(domain_id, Entity::Domain)?;
                Ok((Scope::Domain(domain), self.held(self.in_domain(domain_id))?))
            }
            TokenScope::System => Ok((Scope::System, self.held(self.in_system())?)),
            TokenScope::ApplicationCredential { project_id, credential_id } => {
                let project = self.project(project_id)?;
                Ok((Scope::Project(project), self.lent(project_id, credential_id)?))
            }
            TokenScope::Trust { .. } => Err(TokenError::Unsupported("trust")),
            TokenScope::FederatedUnscoped(_)
            | TokenScope::FederatedProject { .. }
            | TokenScope::FederatedDomain { .. } => Err(TokenError::Unsupported("federation")),
            TokenScope::AccessToken { .. } => Err(TokenError::Unsupported("OAuth1")),
            TokenScope::Certificate { .. } => Err(TokenError::Unsupported("OAuth2 certificate")),
        }
    }

    fn project(&self, id: &str) -> Result<ProjectRef, TokenError> {
        let project: &Project = find(&self.snapshot.projects, id, Entity::Project)?;
        self.stands(Entity::Project, project.enabled, project.revoked_before)?;
        let domain = self.domain(&project.domain_id, Entity::ProjectDomain)?;
        Ok(ProjectRef { id: id.to_owned(), name: project.name.clone(), domain })
    }

    fn domain(&self, id: &str, as_what: Entity) -> Result<DomainRef, TokenError> {
        let domain: &Domain = find(&self.snapshot.domains, id, as_what)?;
        self.stands(as_what, domain.enabled, domain.revoked_before)?;
        Ok(DomainRef { id: id.to_owned(), name: domain.name.clone() })
    }

    /// A token's time has whole seconds: one issued in the second of a revocation counts as before.
    fn stands(
        &self,
        what: Entity,
        enabled: bool,
        revoked_before: Option<UnixMicros>,
    ) -> Result<(), TokenError> {
        if !enabled {
            return Err(TokenError::Disabled(what));
        }
        if revoked_before.is_some_and(|revoked| self.token.issued_at <= revoked) {
            return Err(TokenError::Revoked(what));
        }
        Ok(())
    }

    fn in_project(&self, id: &str) -> Option<&BTreeSet<String>> {
        self.snapshot.assignments.get(&self.token.contents.user_id)?.projects.get(id)
    }

    fn in_domain(&self, id: &str) -> Option<&BTreeSet<String>> {
        self.snapshot.assignments.get(&self.token.contents.user_id)?.domains.get(id)
    }

    fn in_system(&self) -> Option<&BTreeSet<String>> {
        Some(&self.snapshot.assignments.get(&self.token.contents.user_id)?.system)
    }

    /// The roles of an assignment, with those they imply; an error if there is none.
    fn held(&self, assigned: Option<&BTreeSet<String>>) -> Result<Vec<RoleRef>, TokenError> {
        self.named(with_implied(self.snapshot, assigned.into_iter().flatten()))
    }

    /// The roles of an application credential, as far as its user still has them.
    fn lent(&self, project_id: &str, credential_id: &str) -> Result<Vec<RoleRef>, TokenError> {
        let what = Entity::ApplicationCredential;
        let credential = find(&self.snapshot.application_credentials, credential_id, what)?;
        let user_id = &self.token.contents.user_id;
        if credential.user_id != *user_id || credential.project_id != project_id {
            return Err(TokenError::Unknown(what));
        }
        credential.expires_at.map_or(Ok(()), |end| self.lasts_until(end))?;
        let held = with_implied(self.snapshot, self.in_project(project_id).into_iter().flatten());
        self.named(held.into_iter().filter(|id| credential.role_ids.contains(*id)).collect())
    }

    fn named(&self, ids: BTreeSet<&str>) -> Result<Vec<RoleRef>, TokenError> {
        let roles: Vec<RoleRef> = ids
            .into_iter()
            .filter_map(|id| Some((id, self.snapshot.roles.get(id)?)))
            .map(|(id, role)| RoleRef { id: id.to_owned(), name: role.name.clone() })
            .collect();
        if roles.is_empty() { Err(TokenError::NoRole) } else { Ok(roles) }
    }
}

fn find<'a, T>(all: &'a BTreeMap<String, T>, id: &str, what: Entity) -> Result<&'a T, TokenError> {
    all.get(id).ok_or(TokenError::Unknown(what))
}

/// Ids of these roles and of all that they imply, directly or through others.
pub fn with_implied<'a>(
    snapshot: &'a IdentitySnapshot,
    role_ids: impl IntoIterator<Item = &'a String>,
) -> BTreeSet<&'a str> {
    let mut open: Vec<&str> = role_ids.into_iter().map(String::as_str).collect();
    let mut held = BTreeSet::new();
    while let Some(id) = open.pop() {
        if held.insert(id) {
            let implied = snapshot.roles.get(id).into_iter().flat_map(|role| &role.implies);
            open.extend(implied.map(String::as_str));
        }
    }
    held
}
