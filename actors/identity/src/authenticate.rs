//! Who asks for a token, and for where.
//!
//! Promises that a wrong password, an unknown user, a disabled one and an unknown domain cannot be
//! told apart, by answer or by time, and that scopes are looked at only for who proved to be somebody.

use std::time::Duration;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;
use updraft_edge::token::{Methods, TokenScope};
use updraft_protocol::identity::{IdentitySnapshot, Principal, Scope};
use updraft_runtime::store::Txn;

use crate::{
    core::Core,
    error::{Error, expecting},
    issue::Wish,
    rows::{DomainRow, ProjectRow, UserRow, name_in},
};

/// The body of a request for a token.
#[derive(Debug, Deserialize)]
pub(crate) struct TokenRequest {
    pub(crate) auth: Option<Auth>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Auth {
    identity: IdentityPart,
    scope: Option<ScopePart>,
}

#[derive(Debug, Deserialize)]
struct IdentityPart {
    methods: Vec<String>,
    password: Option<PasswordPart>,
    token: Option<TokenPart>,
}

#[derive(Debug, Deserialize)]
struct PasswordPart {
    user: Option<UserPart>,
}

#[derive(Deserialize)]
struct UserPart {
    id: Option<String>,
    name: Option<String>,
    domain: Option<NamePart>,
    password: Option<String>,
}

impl std::fmt::Debug for UserPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserPart").field("id", &self.id).field("name", &self.name).finish()
    }
}

#[derive(Deserialize)]
struct TokenPart {
    id: String,
}

impl std::fmt::Debug for TokenPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenPart")
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct NamePart {
    id: Option<String>,
    name: Option<String>,
}

/// `"unscoped"`, or an object with one key.
#[derive(Debug)]
enum ScopePart {
    Word(String),
    Places(Box<Places>),
}

impl<'de> Deserialize<'de> for ScopePart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScopeVisitor;
        impl<'de> Visitor<'de> for ScopeVisitor {
            type Value = ScopePart;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object or a string")
            }
            fn visit_str<E>(self, word: &str) -> Result<ScopePart, E> {
                Ok(ScopePart::Word(word.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ScopePart, A::Error> {
                let places = Places::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ScopePart::Places(Box::new(places)))
            }
        }
        deserializer.deserialize_any(ScopeVisitor)
    }
}

#[derive(Debug, Deserialize)]
struct Places {
    project: Option<ProjectPart>,
    domain: Option<NamePart>,
    system: Option<Value>,
    unscoped: Option<Value>,
    #[serde(rename = "OS-TRUST:trust")]
    trust: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ProjectPart {
    id: Option<String>,
    name: Option<String>,
    domain: Option<NamePart>,
}

/// What somebody proved, and what it hangs on.
pub(crate) struct Proof {
    user_id: String,
    /// The stored hash that the password fitted to.
    password_hash: Option<String>,
    /// The token that was shown.
    token: Option<String>,
}

/// Who asks, and for where; an error if that is nobody.
pub(crate) async fn prove(core: &Core, auth: Auth) -> Result<(Asked, Proof), Error> {
    check_form(&auth)?;
    let asked = auth.scope.map_or(Ok(Asked::Nothing), asked_scope)?;
    let proof = prove_identity(core, auth.identity).await?;
    Ok((asked, proof))
}

/// What token a proof is worth, if it still is one.
pub(crate) async fn wish(
    core: &Core,
    snapshot: &IdentitySnapshot,
    asked: &Asked,
    proof: &Proof,
) -> Result<Wish, Error> {
    if let Some(hash) = &proof.password_hash {
        let find = |txn: &Txn| user_who_may_act(txn, txn.get::<UserRow>(&proof.user_id)?);
        let user = core.store.read(find).await?;
        if user.and_then(|user| user.password_hash).as_ref() != Some(hash) {
            return Err(Error::Unauthenticated("the password was changed meanwhile"));
        }
    }
    let token = proof.token.as_deref().map(|token| verified(core, token)).transpose()?;
    let of_system = token.as_ref().is_some_and(|token| token.scope == Scope::System);
    if of_system && matches!(asked, Asked::Project(_) | Asked::Domain(_)) {
        return Err(Error::Forbidden(
            "You are not authorized to perform the requested action: Using a system-scoped token \
             to create a project-scoped or domain-scoped token is not allowed.."
                .to_owned(),
        ));
    }
    let scope = match asked {
        Asked::Nothing => default_scope(core, snapshot, &proof.user_id).await?,
        asked => find_scope(core, asked).await?,
    };
    let mut methods = Methods::default();
    if proof.password_hash.is_some() {
        methods = methods.and(Methods::of(["password"]));
    }
    if let Some(token) = &token {
        methods = methods.and(Methods::of(["token"]));
        methods = methods.and(Methods::of(token.methods.iter().map(String::as_str)));
    }
    Ok(Wish {
        user_id: proof.user_id.clone(),
        methods,
        scope,
        expires_at: token.as_ref().map(|token| token.expires_at),
        chain: token.and_then(|token| token.audit_ids.last().copied()),
    })
}

/// Refuses what could not be a request whoever sent it.
fn check_form(auth: &Auth) -> Result<(), Error> {
    let identity = &auth.identity;
    if identity.methods.is_empty() {
        return Err(expecting("methods", "identity"));
    }
    for method in &identity.methods {
        match method.as_str() {
            "password" => check_user(identity.password.as_ref())?,
            "token" if identity.token.is_none() => return Err(expecting("token", "identity")),
            "token" => {}
            _ => return Err(Error::Unauthenticated("the method is not supported")),
        }
    }
    Ok(())
}

fn check_user(part: Option<&PasswordPart>) -> Result<(), Error> {
    let part = part.ok_or_else(|| expecting("password", "identity"))?;
    let user = part.user.as_ref().ok_or_else(|| expecting("user", "password"))?;
    if user.id.is_none() && user.name.is_none() {
        return Err(missing_id_or_name("identity/password/user"));
    }
    match &user.domain {
        None if user.name.is_some() => Err(expecting("domain", "user")),
        Some(domain) => check_name(domain, "identity/password/user/domain"),
        None => Ok(()),
    }
}

fn check_name(part: &NamePart, path: &str) -> Result<(), Error> {
    if part.id.is_none() && part.name.is_none() { Err(missing_id_or_name(path)) } else { Ok(()) }
}

fn missing_id_or_name(path: &str) -> Error {
    Error::Invalid(format!("Invalid input for field {path}: id or name must be present."))
}

/// A scope that was asked for by name or id.
#[derive(Debug)]
pub(crate) enum Asked {
    /// None was named.
    Nothing,
    Unscoped,
    System,
    Project(ProjectPart),
    Domain(NamePart),
}

fn asked_scope(part: ScopePart) -> Result<Asked, Error> {
    let one = || expecting("system, project, domain, OS-TRUST:trust or unscoped", "scope");
    let places = match part {
        ScopePart::Word(word) if word == "unscoped" => return Ok(Asked::Unscoped),
        ScopePart::Word(_) => return Err(one()),
        ScopePart::Places(places) => *places,
    };
    match places {
        Places {
            project: Some(project),
            domain: None,
            system: None,
            unscoped: None,
            trust: None,
        } => {
            if project.id.is_none() && project.name.is_none() {
                return Err(missing_id_or_name("scope/project"));
            }
            match &project.domain {
                None if project.name.is_some() => return Err(expecting("domain", "project")),
                Some(domain) => check_name(domain, "scope/project/domain")?,
                None => {}
            }
            Ok(Asked::Project(project))
        }
        Places {
            project: None,
            domain: Some(domain),
            system: None,
            unscoped: None,
            trust: None,
        } => {
            check_name(&domain, "scope/domain")?;
            Ok(Asked::Domain(domain))
        }
        Places { project: None, domain: None, system: Some(_), unscoped: None, trust: None } => {
            Ok(Asked::System)
        }
        Places { project: None, domain: None, system: None, unscoped: Some(_), trust: None } => {
            Ok(Asked::Unscoped)
        }
        Places { project: None, domain: None, system: None, unscoped: None, trust: Some(_) } => {
            Err(Error::Unauthenticated("there are no trusts"))
        }
        _ => Err(one()),
    }
}

/// Who the methods prove the caller to be. All of them must, and agree.
async fn prove_identity(core: &Core, identity: IdentityPart) -> Result<Proof, Error> {
    let asked = |method: &str| identity.methods.iter().any(|other| other == method);
    let token = identity.token.as_ref().filter(|_| asked("token"));
    let by_token = token.map(|token| verified(core, &token.id)).transpose()?;
    let token = token.map(|token| token.id.clone());
    let part = identity.password.and_then(|part| part.user);
    let by_password = match part {
        Some(user) if identity.methods.iter().any(|method| method == "password") => {
            Some(prove_by_password(core, user).await?)
        }
        _ => None,
    };
    match (by_token, by_password) {
        (Some(principal), Some(proof)) if principal.user.id == proof.user_id => {
            Ok(Proof { token, ..proof })
        }
        (Some(principal), None) => {
            Ok(Proof { user_id: principal.user.id, password_hash: None, token })
        }
        (None, Some(proof)) => Ok(proof),
        _ => Err(Error::Unauthenticated("the methods do not prove one user")),
    }
}

fn verified(core: &Core, token: &str) -> Result<Principal, Error> {
    core.verifier.verify(token, core.env.wall(), Duration::ZERO).map_err(|error| {
        tracing::info!(%error, "a token that was to prove a user does not pass");
        Error::Unauthenticated("the token does not pass")
    })
}

async fn prove_by_password(core: &Core, part: UserPart) -> Result<Proof, Error> {
    let user = core.store.read(|txn| find_user(txn, &part)).await?;
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let right = core.hasher.check(part.password.unwrap_or_default(), hash.clone()).await?;
    match user {
        Some(user) if right => Ok(Proof { user_id: user.id, password_hash: hash, token: None }),
        _ => Err(Error::Unauthenticated("the user or the password is wrong")),
    }
}

/// The user, if there is one who may get in at all.
fn find_user(txn: &Txn, part: &UserPart) -> Result<Option<UserRow>, Error> {
    let user = match (&part.name, &part.id) {
        (Some(name), _) => match find_domain(txn, part.domain.as_ref())? {
            Some(domain) => {
                txn.find_one::<UserRow>(UserRow::BY_NAME, &name_in(&domain.id, name))?
            }
            None => None,
        },
        (None, Some(id)) => txn.get::<UserRow>(id)?,
        (None, None) => None,
    };
    user_who_may_act(txn, user)
}

/// The user, unless it or its domain is disabled.
fn user_who_may_act(txn: &Txn, user: Option<UserRow>) -> Result<Option<UserRow>, Error> {
    let Some(user) = user.filter(|user| user.enabled) else { return Ok(None) };
    let domain = txn.get::<DomainRow>(&user.domain_id)?;
    Ok(domain.filter(|domain| domain.enabled).map(|_| user))
}

fn find_domain(txn: &Txn, part: Option<&NamePart>) -> Result<Option<DomainRow>, Error> {
    Ok(match part {
        Some(NamePart { name: Some(name), .. }) => {
            txn.find_one::<DomainRow>(DomainRow::BY_NAME, name)?
        }
        Some(NamePart { id: Some(id), .. }) => txn.get::<DomainRow>(id)?,
        _ => None,
    })
}

/// A scope that exists. Whether the user has a role there is asked when the token is made.
async fn find_scope(core: &Core, asked: &Asked) -> Result<TokenScope, Error> {
    let nowhere = || Error::Unauthenticated("the scope does not exist");
    core.store
        .read(|txn| match asked {
            Asked::Nothing | Asked::Unscoped => Ok(TokenScope::Unscoped),
            Asked::System => Ok(TokenScope::System),
            Asked::Domain(part) => {
                let domain = find_domain(txn, Some(part))?.ok_or_else(nowhere)?;
                Ok(TokenScope::Domain { domain_id: domain.id })
            }
            Asked::Project(part) => {
                let project = match (&part.name, &part.id) {
                    (Some(name), _) => {
                        let domain = find_domain(txn, part.domain.as_ref())?.ok_or_else(nowhere)?;
                        let name = name_in(&domain.id, name);
                        txn.find_one::<ProjectRow>(ProjectRow::BY_NAME, &name)?
                    }
                    (None, Some(id)) => txn.get::<ProjectRow>(id)?,
                    (None, None) => None,
                };
                Ok(TokenScope::Project { project_id: project.ok_or_else(nowhere)?.id })
            }
        })
        .await
}

/// The user's default project if the user can get into it, else none.
async fn default_scope(
    core: &Core,
    snapshot: &IdentitySnapshot,
    user_id: &str,
) -> Result<TokenScope, Error> {
    let user = core.store.read(|txn| txn.get::<UserRow>(user_id)).await?;
    let project_id = user.and_then(|user| user.default_project_id).filter(|id| {
        let Some(project) = snapshot.projects.get(id) else { return false };
        let domain = snapshot.domains.get(&project.domain_id);
        let held = snapshot.assignments.get(user_id).and_then(|held| held.projects.get(id));
        project.enabled
            && domain.is_some_and(|domain| domain.enabled)
            && held.is_some_and(|roles| !roles.is_empty())
    });
    Ok(project_id.map_or(TokenScope::Unscoped, |project_id| TokenScope::Project { project_id }))
}
