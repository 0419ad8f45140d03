//! Tokens in Keystone's Fernet format, byte for byte.
//!
//! Owns what a token holds ([`TokenContents`], all payload versions 0 to 10), the keys that seal and
//! open it ([`KeyRing`]) and their rotation. Reads what Keystone wrote and writes what Keystone
//! reads. It never decides whether a token may pass: that is [`crate::verify`].

mod keys;
mod methods;
mod payload;

use updraft_protocol::identity::AuditId;
use updraft_runtime::env::UnixMicros;
use uuid::Uuid;

pub use keys::{
    ACTIVE_KEYS_DEFAULT, ACTIVE_KEYS_MIN, CLOCK_SKEW_MAX, KeyRing, NoKeys, Opened, SealError,
    TOKEN_MAX_BYTES, Unreadable, first_keys, fresh_audit_id, fresh_key, rotate,
};
pub use methods::Methods;
pub use payload::{AUDIT_IDS_MAX, PayloadError};

/// What a token says, before anybody checked whether it is still so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenContents {
    /// The user.
    pub user_id: String,
    /// How the user proved to be the user.
    pub methods: Methods,
    /// What the token is for.
    pub scope: TokenScope,
    /// When it ends.
    pub expires_at: UnixMicros,
    /// Its own audit id, then that of the first token of its chain, if that is another.
    pub audit_ids: Vec<AuditId>,
}

/// What a token is for; each has a payload version of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenScope {
    /// Version 0: nothing but to get another token.
    Unscoped,
    /// Version 1: a domain.
    Domain {
        /// The domain.
        domain_id: String,
    },
    /// Version 2: a project.
    Project {
        /// The project.
        project_id: String,
    },
    /// Version 3: what another user entrusted.
    Trust {
        /// The project, if the trust is for one.
        project_id: Option<String>,
        /// The trust.
        trust_id: Uuid,
    },
    /// Version 4: a federated user, without a scope.
    FederatedUnscoped(Federation),
    /// Version 5: a federated user in a project.
    FederatedProject {
        /// The project.
        project_id: String,
        /// Where the user comes from.
        federation: Federation,
    },
    /// Version 6: a federated user in a domain.
    FederatedDomain {
        /// The domain.
        domain_id: String,
        /// Where the user comes from.
        federation: Federation,
    },
    /// Version 7: an OAuth1 consumer.
    AccessToken {
        /// The project.
        project_id: String,
        /// The OAuth1 access token.
        access_token_id: String,
    },
    /// Version 8: the whole cloud.
    System,
    /// Version 9: an application credential.
    ApplicationCredential {
        /// The project.
        project_id: String,
        /// The credential.
        credential_id: String,
    },
    /// Version 10: an OAuth2 client with a certificate.
    Certificate {
        /// The project, if it is for one.
        project_id: Option<String>,
        /// The domain, if it is for one.
        domain_id: Option<String>,
        /// The certificate's thumbprint.
        thumbprint: String,
    },
}

/// Where a federated user comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Federation {
    /// Ids of the groups that the user was mapped to.
    pub group_ids: Vec<String>,
    /// The identity provider.
    pub identity_provider_id: String,
    /// The protocol.
    pub protocol_id: String,
}
