//! The payload inside a token: a MessagePack array that begins with its version.
//!
//! An id that is 32 lower-case hexadecimal digits is packed into 16 bytes; any other stays text, so
//! that every id comes back as it went in. Text that an old writer left as raw bytes is read too.

use std::io::Cursor;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny, SeqAccess, Visitor},
    ser::SerializeTuple,
};
use serde_bytes::Bytes;
use updraft_protocol::identity::AuditId;
use updraft_runtime::env::UnixMicros;
use uuid::Uuid;

use super::{Federation, Methods, TokenContents, TokenScope};

/// Most audit ids in a token: its own and that of its chain.
pub const AUDIT_IDS_MAX: usize = 2;

/// Deepest nesting of a payload: the array, a list of groups in it, a pair in that, its parts.
const DEPTH_MAX: usize = 8;

/// The scope of a system token; there is no other.
const SYSTEM: &str = "all";

/// Seconds in the payload are a float; the store and the wire count microseconds.
const MICROS_PER_SEC: f64 = 1_000_000.0;

/// Sealed bytes that are no payload.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Not a payload of any known version.
    #[error("the payload cannot be read: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    /// Bytes follow the payload.
    #[error("{0} bytes follow the payload")]
    Trailing(u64),
}

/// The bytes of a payload.
pub(super) fn encode(contents: &TokenContents) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let user = Packed::new(&contents.user_id);
    let methods = contents.methods.bits();
    let expires = seconds(contents.expires_at);
    let audits: Vec<&Bytes> = contents.audit_ids.iter().map(|id| Bytes::new(&id.0)).collect();
    match &contents.scope {
        TokenScope::Unscoped => rmp_serde::to_vec(&(0, user, methods, expires, audits)),
        TokenScope::Domain { domain_id } => {
            rmp_serde::to_vec(&(1, user, methods, Bare(domain_id), expires, audits))
        }
        TokenScope::Project { project_id } => {
            rmp_serde::to_vec(&(2, user, methods, Packed::new(project_id), expires, audits))
        }
        TokenScope::Trust { project_id, trust_id } => {
            let trust = Bytes::new(trust_id.as_bytes());
            let project = Packed(project_id.as_deref());
            rmp_serde::to_vec(&(3, user, methods, project, expires, audits, trust))
        }
        TokenScope::FederatedUnscoped(from) => {
            let (groups, provider, protocol) = packed_federation(from);
            rmp_serde::to_vec(&(4, user, methods, groups, provider, protocol, expires, audits))
        }
        TokenScope::FederatedProject { project_id: id, federation: from } => {
            encode_federated(5, contents, id, from)
        }
        TokenScope::FederatedDomain { domain_id: id, federation: from } => {
            encode_federated(6, contents, id, from)
        }
        TokenScope::AccessToken { project_id, access_token_id } => {
            let (project, token) = (Packed::new(project_id), Packed::new(access_token_id));
            rmp_serde::to_vec(&(7, user, methods, project, token, expires, audits))
        }
        TokenScope::System => rmp_serde::to_vec(&(8, user, methods, SYSTEM, expires, audits)),
        TokenScope::ApplicationCredential { project_id, credential_id } => {
            let (project, credential) = (Packed::new(project_id), Packed::new(credential_id));
            rmp_serde::to_vec(&(9, user, methods, project, expires, audits, credential))
        }
        TokenScope::Certificate { project_id, domain_id, thumbprint } => {
            let (project, domain) = (Packed(project_id.as_deref()), Packed(domain_id.as_deref()));
            let print = (false, thumbprint);
            rmp_serde::to_vec(&(10, user, methods, project, domain, expires, audits, print))
        }
    }
}

fn encode_federated(
    version: u8,
    contents: &TokenContents,
    scope_id: &str,
    from: &Federation,
) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let (groups, provider, protocol) = packed_federation(from);
    let audits: Vec<&Bytes> = contents.audit_ids.iter().map(|id| Bytes::new(&id.0)).collect();
    rmp_serde::to_vec(&(
        version,
        Packed::new(&contents.user_id),
        contents.methods.bits(),
        Packed::new(scope_id),
        groups,
        provider,
        protocol,
        seconds(contents.expires_at),
        audits,
    ))
}

fn packed_federation(from: &Federation) -> (Vec<Packed<'_>>, Packed<'_>, &str) {
    let groups = from.group_ids.iter().map(|id| Packed::new(id)).collect();
    (groups, Packed::new(&from.identity_provider_id), &from.protocol_id)
}

/// What the bytes of a payload say.
pub(super) fn decode(bytes: &[u8]) -> Result<TokenContents, PayloadError> {
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(bytes));
    reader.set_max_depth(DEPTH_MAX);
    let Payload(contents) = Payload::deserialize(&mut reader)?;
    let trailing = (bytes.len() as u64).saturating_sub(reader.position());
    if trailing > 0 { Err(PayloadError::Trailing(trailing)) } else { Ok(contents) }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "microseconds since 1970 fit 53 bits until the year 2255; as seconds they come back exactly until 2242"
)]
fn seconds(time: UnixMicros) -> f64 {
    time.0 as f64 / MICROS_PER_SEC
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from float saturates: a time before 1970 or none at all has long passed"
)]
fn from_seconds(seconds: f64) -> UnixMicros {
    let micros = (seconds.fract() * MICROS_PER_SEC).round() as u64;
    UnixMicros((seconds.trunc() as u64).saturating_mul(1_000_000).saturating_add(micros))
}

/// An id as 16 bytes, if it is 32 lower-case hexadecimal digits.
fn packed(id: &str) -> Option<[u8; 16]> {
    let hex = id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    hex.then(|| Uuid::try_parse(id).ok()).flatten().map(Uuid::into_bytes)
}

/// `[true, 16 bytes]`, `[false, text]` or `[false, nil]`.
struct Packed<'a>(Option<&'a str>);

impl<'a> Packed<'a> {
    fn new(id: &'a str) -> Self {
        Self(Some(id))
    }
}

impl Serialize for Packed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pair = serializer.serialize_tuple(2)?;
        if let Some(bytes) = self.0.and_then(packed) {
            pair.serialize_element(&true)?;
            pair.serialize_element(Bytes::new(&bytes))?;
        } else {
            pair.serialize_element(&false)?;
            pair.serialize_element(&self.0)?;
        }
        pair.end()
    }
}

/// 16 bytes or text, without a flag in front.
struct Bare<'a>(&'a str);

impl Serialize for Bare<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match packed(self.0) {
            Some(bytes) => serializer.serialize_bytes(&bytes),
            None => serializer.serialize_str(self.0),
        }
    }
}

struct Payload(TokenContents);

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PayloadVisitor).map(Self)
    }
}

struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = TokenContents;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a token's payload")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<TokenContents, A::Error> {
        let seq = &mut seq;
        let version: u8 = next(seq)?;
        let user_id = next::<_, Id>(seq)?.required()?;
        let methods = Methods::from_bits(next(seq)?);
        let (scope, expires_at, audit_ids) = match version {
            0 => tail(seq, TokenScope::Unscoped)?,
            1 => {
                let domain_id = next::<_, Raw>(seq)?.bare()?;
                tail(seq, TokenScope::Domain { domain_id })?
            }
            2 => {
                let project_id = next::<_, Id>(seq)?.required()?;
                tail(seq, TokenScope::Project { project_id })?
            }
            3 => trust(seq)?,
            4 => {
                let from = federation(seq)?;
                tail(seq, TokenScope::FederatedUnscoped(from))?
            }
            5 => {
                let project_id = next::<_, Id>(seq)?.required()?;
                let federation = federation(seq)?;
                tail(seq, TokenScope::FederatedProject { project_id, federation })?
            }
            6 => {
                let domain_id = next::<_, Id>(seq)?.required()?;
                let federation = federation(seq)?;
                tail(seq, TokenScope::FederatedDomain { domain_id, federation })?
            }
            7 => {
                let project_id = next::<_, Id>(seq)?.required()?;
                let access_token_id = next::<_, Id>(seq)?.required()?;
                tail(seq, TokenScope::AccessToken { project_id, access_token_id })?
            }
            8 => {
                if next::<_, Raw>(seq)?.text()? != SYSTEM {
                    return Err(A::Error::custom("a system scope other than \"all\""));
                }
                tail(seq, TokenScope::System)?
            }
            9 => application_credential(seq)?,
            10 => certificate(seq)?,
            other => return Err(A::Error::custom(format!("payload version {other} is unknown"))),
        };
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(A::Error::custom("more elements than the version has"));
        }
        Ok(TokenContents { user_id, methods, scope, expires_at, audit_ids })
    }
}

type Tail = (TokenScope, UnixMicros, Vec<AuditId>);

fn next<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| A::Error::custom("fewer elements than the version has"))
}

fn tail<'de, A: SeqAccess<'de>>(seq: &mut A, scope: TokenScope) -> Result<Tail, A::Error> {
    let Seconds(expires_at) = next(seq)?;
    let AuditIds(audit_ids) = next(seq)?;
    Ok((scope, expires_at, audit_ids))
}

fn trust<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<Tail, A::Error> {
    let project_id = next::<_, Id>(seq)?.0;
    let (_, expires_at, audit_ids) = tail(seq, TokenScope::Unscoped)?;
    let trust_id = Uuid::from_bytes(next::<_, Raw>(seq)?.sixteen()?);
    Ok((TokenScope::Trust { project_id, trust_id }, expires_at, audit_ids))
}

fn application_credential<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<Tail, A::Error> {
    let project_id = next::<_, Id>(seq)?.required()?;
    let (_, expires_at, audit_ids) = tail(seq, TokenScope::Unscoped)?;
    let credential_id = next::<_, Id>(seq)?.required()?;
    let scope = TokenScope::ApplicationCredential { project_id, credential_id };
    Ok((scope, expires_at, audit_ids))
}

fn certificate<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<Tail, A::Error> {
    let project_id = next::<_, Id>(seq)?.0;
    let domain_id = next::<_, Id>(seq)?.0;
    let (_, expires_at, audit_ids) = tail(seq, TokenScope::Unscoped)?;
    let thumbprint = next::<_, Id>(seq)?.required()?;
    let scope = TokenScope::Certificate { project_id, domain_id, thumbprint };
    Ok((scope, expires_at, audit_ids))
}

fn federation<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<Federation, A::Error> {
    let groups: Vec<Id> = next(seq)?;
    Ok(Federation {
        group_ids: groups.into_iter().map(Id::required).collect::<Result<_, A::Error>>()?,
        identity_provider_id: next::<_, Id>(seq)?.required()?,
        protocol_id: next::<_, Raw>(seq)?.text()?,
    })
}

/// What [`Packed`] wrote.
struct Id(Option<String>);

impl Id {
    fn required<E: serde::de::Error>(self) -> Result<String, E> {
        self.0.ok_or_else(|| E::custom("an id is missing"))
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (packed, raw): (bool, Option<Raw>) = Deserialize::deserialize(deserializer)?;
        let id = match raw {
            None => None,
            Some(raw) if packed => Some(unpacked(raw.sixteen()?)),
            Some(raw) => Some(raw.text()?),
        };
        Ok(Self(id))
    }
}

fn unpacked(bytes: [u8; 16]) -> String {
    Uuid::from_bytes(bytes).simple().to_string()
}

/// Bytes or text. Old writers had one form for both.
struct Raw {
    bytes: Vec<u8>,
    is_text: bool,
}

impl Raw {
    fn text<E: serde::de::Error>(self) -> Result<String, E> {
        String::from_utf8(self.bytes).map_err(|_| E::custom("text that is not UTF-8"))
    }

    fn sixteen<E: serde::de::Error>(self) -> Result<[u8; 16], E> {
        self.bytes.try_into().map_err(|_| E::custom("an id that is not 16 bytes"))
    }

    /// What [`Bare`] wrote.
    fn bare<E: serde::de::Error>(self) -> Result<String, E> {
        match <[u8; 16]>::try_from(self.bytes.as_slice()) {
            Ok(bytes) if !self.is_text => Ok(unpacked(bytes)),
            _ => self.text(),
        }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;
        impl Visitor<'_> for RawVisitor {
            type Value = Raw;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes or text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw { bytes: text.as_bytes().to_vec(), is_text: true })
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw { bytes: bytes.to_vec(), is_text: false })
            }
        }
        deserializer.deserialize_any(RawVisitor)
    }
}

struct AuditIds(Vec<AuditId>);

impl<'de> Deserialize<'de> for AuditIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ids: Vec<Raw> = Deserialize::deserialize(deserializer)?;
        if ids.is_empty() || ids.len() > AUDIT_IDS_MAX {
            return Err(D::Error::custom(format!("{} audit ids", ids.len())));
        }
        ids.into_iter().map(|id| id.sixteen().map(AuditId)).collect::<Result<_, _>>().map(Self)
    }
}

struct Seconds(UnixMicros);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecondsVisitor;
        impl Visitor<'_> for SecondsVisitor {
            type Value = UnixMicros;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("seconds since 1970")
            }
            fn visit_f64<E>(self, seconds: f64) -> Result<UnixMicros, E> {
                Ok(from_seconds(seconds))
            }
            fn visit_u64<E>(self, seconds: u64) -> Result<UnixMicros, E> {
                Ok(UnixMicros(seconds.saturating_mul(1_000_000)))
            }
        }
        deserializer.deserialize_any(SecondsVisitor).map(Self)
    }
}
