//! The keys that seal and open tokens.
//!
//! Opening tries every key whichever one fits, so that how long it takes does not say which; the
//! comparison of signatures is constant-time inside the `fernet` crate.

use std::{collections::BTreeMap, fmt, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use fernet::Fernet;
use rand::RngCore;
use updraft_protocol::identity::{AuditId, FernetKey, FernetKeys, Token};
use updraft_runtime::{Env, env::UnixMicros};

use super::{PayloadError, TokenContents, payload};

/// Longest token that is looked at, in bytes. Keystone's own have 162 to 255; a federated user's
/// groups make them longer.
pub const TOKEN_MAX_BYTES: usize = 2_048;

/// How far the clock of whoever issued a token may be ahead of this node's; the `fernet` crate
/// refuses what is issued later than this.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);

/// How many keys are kept unless a setting says otherwise: staged, primary and one before it.
pub const ACTIVE_KEYS_DEFAULT: usize = 3;

/// Fewest keys that work: the staged one and the primary.
pub const ACTIVE_KEYS_MIN: usize = 2;

/// Where the header's time stands in a token's bytes: after the format's version.
const TIMESTAMP_BYTES: std::ops::Range<usize> = 1..9;

/// Characters of base64 that hold the first 9 bytes.
const TIMESTAMP_CHARS: usize = 12;

/// Keys, ready for use.
pub struct KeyRing {
    /// Newest first, which is the order that finds the key soonest.
    fernets: Vec<Fernet>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.fernets.len()).finish_non_exhaustive()
    }
}

/// A key ring without keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are no Fernet keys")]
pub struct NoKeys;

/// A token that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The payload cannot be written.
    #[error("the payload cannot be written")]
    Payload(#[from] rmp_serde::encode::Error),
    /// It would be longer than [`TOKEN_MAX_BYTES`].
    #[error("a token of {0} bytes is over the limit of {TOKEN_MAX_BYTES}")]
    TooLong(usize),
}

/// A text that is no token of these keys.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is longer than [`TOKEN_MAX_BYTES`].
    #[error("{0} bytes are more than the {TOKEN_MAX_BYTES} of a token")]
    TooLong(usize),
    /// Altered, foreign, of a key that is gone, issued in the future, or no token at all.
    #[error("no key opens it")]
    NoKeyFits,
    /// A key opens it, but what is inside is not a payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// What an opened token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The payload.
    pub contents: TokenContents,
    /// When it was issued, in whole seconds.
    pub issued_at: UnixMicros,
}

impl KeyRing {
    /// A ring of these keys.
    pub fn new(keys: &FernetKeys) -> Result<Self, NoKeys> {
        let newest_first = keys.0.values().rev();
        let fernets: Vec<Fernet> =
            newest_first.filter_map(|key| Fernet::new(&key.reveal())).collect();
        if fernets.is_empty() { Err(NoKeys) } else { Ok(Self { fernets }) }
    }

    /// A token of the primary key. The time is kept in whole seconds.
    pub fn seal(
        &self,
        contents: &TokenContents,
        issued_at: UnixMicros,
    ) -> Result<Token, SealError> {
        let payload = payload::encode(contents)?;
        let token = self
            .fernets
            .first()
            .map(|primary| primary.encrypt_at_time(&payload, issued_at.secs()))
            .unwrap_or_default();
        let token = token.trim_end_matches('=');
        if token.len() > TOKEN_MAX_BYTES {
            return Err(SealError::TooLong(token.len()));
        }
        Ok(Token::new(token))
    }

    /// What a token says, if one of the keys sealed it. Whether it has expired is not asked.
    pub fn open(&self, token: &str, now: UnixMicros) -> Result<Opened, Unreadable> {
        if token.len() > TOKEN_MAX_BYTES {
            return Err(Unreadable::TooLong(token.len()));
        }
        let mut payload = None;
        for fernet in &self.fernets {
            // No time to live: it is checked against the payload's own end, and the crate's sum
            // of an unchecked time and a limit could overflow.
            let opened = fernet.decrypt_at_time(token, None, now.secs()).ok();
            payload = payload.or(opened);
        }
        let payload = payload.ok_or(Unreadable::NoKeyFits)?;
        let issued_at = timestamp(token).ok_or(Unreadable::NoKeyFits)?;
        Ok(Opened { contents: payload::decode(&payload)?, issued_at })
    }
}

/// The time in a token's header, which its signature covers.
fn timestamp(token: &str) -> Option<UnixMicros> {
    let head = URL_SAFE_NO_PAD.decode(token.get(..TIMESTAMP_CHARS)?).ok()?;
    let seconds = u64::from_be_bytes(head.get(TIMESTAMP_BYTES)?.try_into().ok()?);
    Some(UnixMicros(seconds.saturating_mul(1_000_000)))
}

/// The keys of a new cloud: one staged, one primary.
#[must_use]
pub fn first_keys(staged: FernetKey, primary: FernetKey) -> FernetKeys {
    FernetKeys(BTreeMap::from([(0, staged), (1, primary)]))
}

/// The keys after one rotation: the staged key becomes the primary, the new one is staged, and the
/// oldest go until `active` are left.
///
/// Every node must know the staged key before the next rotation: then tokens of the new primary
/// are valid on nodes that have not heard of the rotation yet.
#[must_use]
pub fn rotate(keys: &FernetKeys, staged: FernetKey, active: usize) -> FernetKeys {
    let mut keys = keys.0.clone();
    let primary = keys.last_key_value().map_or(0, |(number, _)| number.saturating_add(1));
    if let Some(promoted) = keys.remove(&0) {
        keys.insert(primary.max(1), promoted);
    }
    while keys.len() >= active.max(ACTIVE_KEYS_MIN) {
        keys.pop_first();
    }
    keys.insert(0, staged);
    FernetKeys(keys)
}

/// A new key from the environment's entropy.
#[must_use]
pub fn fresh_key(env: &Env) -> FernetKey {
    let mut bytes = [0; 32];
    env.rng("fernet key").fill_bytes(&mut bytes);
    FernetKey::from_bytes(bytes)
}

/// A new audit id from the environment's entropy.
#[must_use]
pub fn fresh_audit_id(env: &Env) -> AuditId {
    let mut bytes = [0; 16];
    env.rng("audit id").fill_bytes(&mut bytes);
    AuditId(bytes)
}
