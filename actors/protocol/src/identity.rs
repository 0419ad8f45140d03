//! Who is who: what the identity service publishes, and what an accepted token says.
//!
//! Every edge node holds an [`IdentitySnapshot`] and decides by it alone, without a call. A token
//! that was accepted becomes a [`Principal`]; with the token it travels as the [`AuthContext`] of
//! every inner call. Secrets ([`Token`], [`FernetKey`]) never show themselves in a log.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use base64::{Engine, engine::general_purpose::URL_SAFE, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use updraft_runtime::env::UnixMicros;

mod sync;

pub use sync::{
    Changed, GetSnapshot, Held, Identity, KEEPER, Keeper, PIECE_MAX_BYTES, POLL, Received,
    RotateKeys, Rotated, SnapshotChanges, SnapshotPiece, TOPIC,
};

/// Longest encoded [`AuthContext`], in bytes: a call's header carries 8 KiB, some of it its own.
pub const AUTH_CONTEXT_MAX_BYTES: usize = 7 * 1024;

/// The role of OpenStack's own services. Who holds it may let a user's expired token pass.
pub const SERVICE_ROLE: &str = "service";

/// All that it takes to judge a token, as of one moment.
///
/// Assignments are effective ones: the identity service resolves groups and inheritance before it
/// publishes. Implied roles are followed by whoever reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentitySnapshot {
    /// Grows with every publication.
    pub version: u64,
    /// The keys of tokens.
    pub fernet_keys: FernetKeys,
    /// Users by id.
    pub users: BTreeMap<String, User>,
    /// Projects by id.
    pub projects: BTreeMap<String, Project>,
    /// Domains by id.
    pub domains: BTreeMap<String, Domain>,
    /// Roles by id.
    pub roles: BTreeMap<String, Role>,
    /// What each user, by id, may be where.
    pub assignments: BTreeMap<String, Assignments>,
    /// Application credentials by id.
    pub application_credentials: BTreeMap<String, ApplicationCredential>,
    /// Where the services are.
    pub catalog: Vec<CatalogService>,
    /// Tokens that were revoked one by one.
    pub revocations: Revocations,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Unique in the domain.
    pub name: String,
    /// The domain that owns the user.
    pub domain_id: String,
    /// Whether the user may act.
    pub enabled: bool,
    /// Tokens issued in this second or before it are void: password change, disabling.
    pub revoked_before: Option<UnixMicros>,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Unique in the domain.
    pub name: String,
    /// The domain that owns the project.
    pub domain_id: String,
    /// Whether anybody may act in it.
    pub enabled: bool,
    /// Tokens for it issued in this second or before it are void.
    pub revoked_before: Option<UnixMicros>,
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Unique in the cloud.
    pub name: String,
    /// Whether its users may act, and anybody in its projects.
    pub enabled: bool,
    /// Tokens of its users and for it or its projects, issued in this second or before it, are void.
    pub revoked_before: Option<UnixMicros>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// What policies call it.
    pub name: String,
    /// Ids of roles that whoever has this one has too.
    pub implies: BTreeSet<String>,
}

/// The roles of one user, as ids, by where they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignments {
    /// By project id.
    pub projects: BTreeMap<String, BTreeSet<String>>,
    /// By domain id.
    pub domains: BTreeMap<String, BTreeSet<String>>,
    /// On the whole cloud.
    pub system: BTreeSet<String>,
}

/// A password for programs that stands for some of a user's roles in one project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationCredential {
    /// Whose it is.
    pub user_id: String,
    /// Where it holds.
    pub project_id: String,
    /// Ids of the roles that it may give, as far as the user still has them.
    pub role_ids: BTreeSet<String>,
    /// When it ends.
    pub expires_at: Option<UnixMicros>,
}

/// A service of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogService {
    /// Its id.
    pub id: String,
    /// What it is, such as `compute`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What people call it.
    pub name: String,
    /// Where it answers.
    pub endpoints: Vec<Endpoint>,
}

/// One address of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// For whom it is.
    pub interface: Interface,
    /// The region that it serves.
    pub region_id: String,
    /// The address, which may hold `$(project_id)s`.
    pub url: String,
}

/// For whom an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// Everybody.
    Public,
    /// The cloud's own services.
    Internal,
    /// Administrators.
    Admin,
}

/// Tokens that were revoked one by one. An entry may go once every token it meets has expired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocations {
    /// By the token's own audit id; when it was revoked.
    pub audit_ids: BTreeMap<AuditId, UnixMicros>,
    /// By the audit id of the first token of a chain; the whole chain is void.
    pub chain_ids: BTreeMap<AuditId, UnixMicros>,
}

/// The keys of Fernet tokens by number: 0 is staged (the next primary, reads only), the highest is
/// the primary (it writes), those between only read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FernetKeys(pub BTreeMap<u32, FernetKey>);

/// A Fernet key: 16 bytes to sign, 16 to encrypt. It shows itself only when serialized.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FernetKey([u8; 32]);

impl FernetKey {
    /// A key of these bytes, which must come from a cryptographic generator.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key as it stands in a key file: base64url with padding.
    #[must_use]
    pub fn reveal(&self) -> String {
        URL_SAFE.encode(self.0)
    }
}

impl fmt::Debug for FernetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FernetKey(..)")
    }
}

impl From<FernetKey> for String {
    fn from(key: FernetKey) -> Self {
        key.reveal()
    }
}

impl TryFrom<String> for FernetKey {
    type Error = MalformedKey;
    fn try_from(text: String) -> Result<Self, MalformedKey> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| MalformedKey)?;
        bytes.try_into().map(Self).map_err(|_| MalformedKey)
    }
}

/// A text that is no Fernet key. It does not say what the text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a Fernet key is 32 bytes in base64url")]
pub struct MalformedKey;

/// What names a token without giving it away; written as 22 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuditId(pub [u8; 16]);

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<AuditId> for String {
    fn from(id: AuditId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for AuditId {
    type Error = MalformedAuditId;
    fn try_from(text: String) -> Result<Self, MalformedAuditId> {
        let bytes = URL_SAFE_NO_PAD.decode(&text).map_err(|_| MalformedAuditId(text.clone()))?;
        bytes.try_into().map(Self).map_err(|_| MalformedAuditId(text))
    }
}

/// A text that is no audit id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an audit id: 16 bytes in base64url without padding")]
pub struct MalformedAuditId(String);

/// A token as a client sends it. It shows itself only when serialized or revealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Wraps a token.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Who acts, where, and as what: what an accepted token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The user.
    pub user: UserRef,
    /// Where the roles hold.
    pub scope: Scope,
    /// All roles, implied ones too, by name. None for an unscoped token.
    pub roles: Vec<RoleRef>,
    /// How the user proved to be the user, such as `password`.
    pub methods: Vec<String>,
    /// The token's audit id, then that of the first token of its chain if that is another.
    pub audit_ids: Vec<AuditId>,
    /// When the token was issued, in whole seconds.
    pub issued_at: UnixMicros,
    /// When the token expires.
    pub expires_at: UnixMicros,
    /// The application credential that the token came from.
    pub application_credential_id: Option<String>,
}

impl Principal {
    /// The project that the token is for.
    #[must_use]
    pub fn project(&self) -> Option<&ProjectRef> {
        match &self.scope {
            Scope::Project(project) => Some(project),
            _ => None,
        }
    }

    /// The id of the project that the token is for.
    #[must_use]
    pub fn project_id(&self) -> Option<&str> {
        self.project().map(|project| project.id.as_str())
    }

    /// Whether a role of this name, in letters of any case, is among the roles.
    #[must_use]
    pub fn has_role(&self, name: &str) -> bool {
        self.roles.iter().any(|role| role.name.eq_ignore_ascii_case(name))
    }
}

/// Where a token's roles hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Nowhere.
    Unscoped,
    /// In a project.
    Project(ProjectRef),
    /// In a domain.
    Domain(DomainRef),
    /// On the whole cloud.
    System,
}

/// A user by id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRef {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The owning domain.
    pub domain: DomainRef,
}

/// A project by id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRef {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The owning domain.
    pub domain: DomainRef,
}

/// A domain by id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRef {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
}

/// A role by id and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleRef {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
}

/// On whose behalf an inner call is made: the `context` of its header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthContext {
    /// The user's token, for the callee to verify.
    pub token: Token,
    /// What the edge found the token to say when it accepted the request.
    pub principal: Principal,
    /// The request that began it, `req-` and a UUID.
    pub request_id: String,
}

impl AuthContext {
    /// The bytes for a header.
    pub fn encode(&self) -> Result<Vec<u8>, AuthContextError> {
        let bytes = postcard::to_stdvec(self).map_err(AuthContextError::Malformed)?;
        if bytes.len() > AUTH_CONTEXT_MAX_BYTES {
            return Err(AuthContextError::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    /// What a header's bytes say.
    pub fn decode(bytes: &[u8]) -> Result<Self, AuthContextError> {
        if bytes.len() > AUTH_CONTEXT_MAX_BYTES {
            return Err(AuthContextError::TooLarge(bytes.len()));
        }
        postcard::from_bytes(bytes).map_err(AuthContextError::Malformed)
    }
}

/// Bytes that carry no [`AuthContext`], or one that no header holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthContextError {
    /// It takes more than [`AUTH_CONTEXT_MAX_BYTES`].
    #[error("a caller's context of {0} bytes is over the limit of {AUTH_CONTEXT_MAX_BYTES}")]
    TooLarge(usize),
    /// Not the bytes of a context.
    #[error("a caller's context cannot be read")]
    Malformed(#[source] postcard::Error),
}
