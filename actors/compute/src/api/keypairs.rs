//! Key pairs of a user: brought by the client, or made here and given away at once.

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use md5::{Digest, Md5};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ssh_key::{LineEnding, PrivateKey, PublicKey, private::Ed25519Keypair};
use updraft_edge::rest::{JsonBody, Page, Query, Service, time};

use super::{
    Api,
    body::{Name, Text},
    call::Call,
    servers::json as answer,
};
use crate::{
    error::{Error, Outcome, bad_field, bad_request, conflict, not_found},
    quota,
    rows::KeyPairRow,
};

/// Longest public key, in characters, as nova takes it.
const PUBLIC_KEY_MAX_CHARS: usize = 16_384;

/// What kind of key pair there is: keys for OpenSSH.
const KIND: &str = "ssh";

/// The routes of key pairs.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/os-keypairs", get(index).post(create))
        .route("/os-keypairs/{name}", get(show).delete(delete))
}

/// A key pair as its user sees it.
#[derive(Serialize)]
struct View<'r> {
    name: &'r str,
    public_key: &'r str,
    fingerprint: &'r str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

fn view<'r>(call: &Call, row: &'r KeyPairRow) -> View<'r> {
    View {
        name: &row.name,
        public_key: &row.public_key,
        fingerprint: &row.fingerprint,
        kind: (call.version >= 2).then_some(KIND),
    }
}

/// Whose key pairs a request is about: the caller's, unless the version lets it name another user.
fn user<'c>(call: &'c Call, query: &'c Query, rule: &str) -> Outcome<&'c str> {
    let named = query.get("user_id").filter(|_| call.version >= 10);
    let user_id = named.unwrap_or(call.user_id());
    call.must_for(rule, user_id)?;
    Ok(user_id)
}

#[derive(Serialize)]
struct Wrapped<'r> {
    keypair: View<'r>,
}

#[derive(Serialize)]
struct Many<'r> {
    keypairs: Vec<Wrapped<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keypairs_links: Option<Value>,
}

async fn index(call: Call, query: Query) -> Outcome<Response> {
    let user_id = user(&call, &query, "os-keypairs:index")?;
    let mut rows =
        call.api.context.store.read(|txn| txn.find::<KeyPairRow>("user", user_id)).await?;
    let mut links = None;
    if call.version >= 35 {
        let page = Page::of(Service::Compute, &query)?;
        rows = page.cut(rows, |row| &row.name)?;
        links = page.links(&call.links, "os-keypairs", &query, &rows, |row| &row.name);
    }
    let keypairs = rows.iter().map(|row| Wrapped { keypair: view(&call, row) }).collect();
    answer(&Many { keypairs, keypairs_links: links })
}

async fn show(call: Call, query: Query, Path(name): Path<String>) -> Outcome<Response> {
    let user_id = user(&call, &query, "os-keypairs:show")?;
    let key = KeyPairRow::key_of(user_id, &name);
    let row = call.api.context.store.read(|txn| txn.get::<KeyPairRow>(&key)).await?;
    let row = row.ok_or_else(|| missing(&name, user_id))?;
    let mut keypair = json!({
        "name": row.name,
        "public_key": row.public_key,
        "fingerprint": row.fingerprint,
        "user_id": row.user_id,
        "created_at": time::iso_micros(row.created),
        "updated_at": null,
        "deleted_at": null,
        "deleted": false,
        // A number of its own, as clients expect one; the moment of its making is as good as a count.
        "id": row.created.millis(),
    });
    if call.version >= 2 {
        keypair["type"] = json!(KIND);
    }
    answer(&json!({"keypair": keypair}))
}

fn missing(name: &str, user_id: &str) -> Error {
    not_found(format!("Keypair {name} not found for user {user_id}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    keypair: Create,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: Name,
    public_key: Option<Text<0, PUBLIC_KEY_MAX_CHARS>>,
    #[serde(rename = "type")]
    kind: Option<String>,
    user_id: Option<String>,
}

impl Create {
    fn check(&self, version: u32) -> Outcome<()> {
        let early = match (&self.kind, &self.user_id) {
            (Some(_), _) if version < 2 => Some("type"),
            (_, Some(_)) if version < 10 => Some("user_id"),
            _ => None,
        };
        if let Some(name) = early {
            let reason = format!("Additional properties are not allowed ('{name}' was unexpected)");
            return Err(bad_field("keypair", "an object", &reason));
        }
        let legal = |c: char| {
            c.is_ascii_alphanumeric() || "-_ ".contains(c) || (version >= 92 && "@.".contains(c))
        };
        if !self.name.0.chars().all(legal) {
            return Err(bad_request(format!(
                "Keypair data is invalid: Keypair name '{}' contains unsafe characters",
                self.name.0
            )));
        }
        match self.kind.as_deref() {
            None | Some(KIND) => Ok(()),
            Some("x509") => Err(bad_request(
                "Keypair data is invalid: x509 certificates are not taken, only keys for OpenSSH",
            )),
            Some(other) => Err(bad_field(
                "keypair.type",
                format!("\"{other}\""),
                &format!("'{other}' is not one of ['ssh', 'x509']"),
            )),
        }
    }
}

/// A key pair to be, with its private half if it was made here.
struct Made {
    public_key: String,
    fingerprint: String,
    private_key: Option<String>,
}

async fn create(call: Call, JsonBody(body): JsonBody<Body>) -> Outcome<Response> {
    let wanted = body.keypair;
    wanted.check(call.version)?;
    let user_id = wanted.user_id.as_deref().unwrap_or(call.user_id()).to_owned();
    call.must_for("os-keypairs:create", &user_id)?;
    let made = match &wanted.public_key {
        Some(Text(key)) => import(key)?,
        None if call.version >= 92 => {
            return Err(bad_field("keypair", "an object", "'public_key' is a required property"));
        }
        None => generate(&call)?,
    };
    let row = KeyPairRow {
        user_id,
        name: wanted.name.0,
        public_key: made.public_key,
        fingerprint: made.fingerprint,
        created: call.api.context.env.wall(),
    };
    call.api.context.store.transact(|txn| insert(&call, txn, &row)).await?;
    let mut keypair = json!(view(&call, &row));
    keypair["user_id"] = json!(row.user_id);
    if let Some(private_key) = made.private_key {
        keypair["private_key"] = json!(private_key);
    }
    let status = if call.version < 2 { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, axum::Json(json!({"keypair": keypair}))).into_response())
}

fn insert(call: &Call, txn: &mut updraft_runtime::store::Txn, row: &KeyPairRow) -> Outcome<()> {
    let have = txn.find::<KeyPairRow>("user", &row.user_id)?;
    if have.iter().any(|other| other.name == row.name) {
        return Err(conflict(format!("Key pair '{}' already exists.", row.name)));
    }
    let allowed = match call.auth.principal.project_id() {
        Some(project) => quota::of(txn, project)?.key_pairs,
        None => crate::rows::QuotaRow::default_of("").key_pairs,
    };
    quota::one_more(have.len(), allowed, "Quota exceeded, too many key pairs.")?;
    Ok(txn.insert(row)?)
}

/// A public key that the client brings, as it stands.
fn import(text: &str) -> Outcome<Made> {
    let invalid = || bad_request("Keypair data is invalid: failed to generate fingerprint");
    let key = PublicKey::from_openssh(text.trim()).map_err(|_| invalid())?;
    Ok(Made {
        public_key: text.to_owned(),
        fingerprint: fingerprint(&key).ok_or_else(invalid)?,
        private_key: None,
    })
}

/// A fresh Ed25519 key pair in OpenSSH's own format.
fn generate(call: &Call) -> Outcome<Made> {
    let mut seed = [0; 32];
    call.api.context.env.rng("keypair").fill_bytes(&mut seed);
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    let public = key.public_key();
    let texts = (|| {
        let private = key.to_openssh(LineEnding::LF).ok()?.to_string();
        Some((public.to_openssh().ok()?, private, fingerprint(public)?))
    })();
    let (public_key, private_key, fingerprint) = texts.ok_or_else(|| {
        tracing::error!("a fresh key pair cannot be written");
        Error::from(Service::Compute.internal())
    })?;
    Ok(Made { public_key, fingerprint, private_key: Some(private_key) })
}

/// MD5 with colons: what nova shows, whoever else has moved on.
fn fingerprint(key: &PublicKey) -> Option<String> {
    let bytes = key.to_bytes().ok()?;
    let pairs: Vec<String> = Md5::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    Some(pairs.join(":"))
}

async fn delete(call: Call, query: Query, Path(name): Path<String>) -> Outcome<StatusCode> {
    let user_id = user(&call, &query, "os-keypairs:delete")?;
    let key = KeyPairRow::key_of(user_id, &name);
    let deleted = call.api.context.store.transact(|txn| txn.delete::<KeyPairRow>(&key)).await?;
    deleted.ok_or_else(|| missing(&name, user_id))?;
    Ok(if call.version < 2 { StatusCode::ACCEPTED } else { StatusCode::NO_CONTENT })
}
