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
use updraft_protocol::identity::{AuditId, IdentitySnapshot, Scope};
use updraft_runtime::{env::UnixMicros, store::Txn};

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
struct NamePart {
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
struct ProjectPart {
    id: Option<String>,
    name: Option<String>,
    domain: Option<NamePart>,
}

/// Somebody who proved to be a user.
#[derive(Debug)]
struct Proven {
    user_id: String,
    methods: Methods,
    /// What the token that was shown adds.
    from_token: Option<FromToken>,
}

#[derive(Debug)]
struct FromToken {
    expires_at: UnixMicros,
    chain: AuditId,
    is_system: bool,
}

/// What token a request is worth.
pub(crate) async fn wish(
    core: &Core,
    snapshot: &IdentitySnapshot,
    auth: Auth,
) -> Result<Wish, Error> {
    check_form(&auth)?;
    let scope = auth.scope.map(asked_scope).transpose()?;
    let proven = prove(core, auth.identity).await?;
    let of_system = proven.from_token.as_ref().is_some_and(|token| token.is_system);
    if of_system && matches!(scope, Some(Asked::Project(_) | Asked::Domain(_))) {
        return Err(Error::Forbidden(
            "You are not authorized to perform the requested action: Using a system-scoped token \
             to create a project-scoped or domain-scoped token is not allowed.."
                .to_owned(),
        ));
    }
    let scope = match scope {
        Some(asked) => find_scope(core, asked).await?,
        None => default_scope(core, snapshot, &proven.user_id).await?,
    };
    Ok(Wish {
        user_id: proven.user_id,
        methods: proven.methods,
        scope,
        expires_at: proven.from_token.as_ref().map(|token| token.expires_at),
        chain: proven.from_token.map(|token| token.chain),
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
enum Asked {
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
async fn prove(core: &Core, identity: IdentityPart) -> Result<Proven, Error> {
    let asked = |method: &str| identity.methods.iter().any(|other| other == method);
    let by_token = match &identity.token {
        Some(token) if asked("token") => Some(prove_by_token(core, token)?),
        _ => None,
    };
    let by_password = match identity.password.and_then(|part| part.user) {
        Some(user) if identity.methods.iter().any(|method| method == "password") => {
            Some(prove_by_password(core, user).await?)
        }
        _ => None,
    };
    match (by_token, by_password) {
        (Some(token), Some(password)) if token.user_id == password.user_id => {
            Ok(Proven { methods: token.methods.and(password.methods), ..token })
        }
        (Some(proven), None) | (None, Some(proven)) => Ok(proven),
        _ => Err(Error::Unauthenticated("the methods do not prove one user")),
    }
}

fn prove_by_token(core: &Core, token: &TokenPart) -> Result<Proven, Error> {
    let verified = core.verifier.verify(&token.id, core.env.wall(), Duration::ZERO);
    let principal = verified.map_err(|error| {
        tracing::info!(%error, "a token that was to prove a user does not pass");
        Error::Unauthenticated("the token does not pass")
    })?;
    let chain = principal.audit_ids.last().copied();
    let chain = chain.ok_or(Error::Unauthenticated("the token has no audit id"))?;
    let methods = Methods::of(principal.methods.iter().map(String::as_str));
    Ok(Proven {
        user_id: principal.user.id,
        methods: methods.and(Methods::of(["token"])),
        from_token: Some(FromToken {
            expires_at: principal.expires_at,
            chain,
            is_system: principal.scope == Scope::System,
        }),
    })
}

async fn prove_by_password(core: &Core, part: UserPart) -> Result<Proven, Error> {
    let user = find_user(core, &part).await?;
    let hash = user.as_ref().and_then(|user| user.password_hash.clone());
    let right = core.hasher.check(part.password.clone().unwrap_or_default(), hash).await?;
    // A turn can take seconds: the password may have been changed, or the user disabled, meanwhile.
    let still = find_user(core, &part).await?.and_then(|user| user.password_hash);
    match user {
        Some(user) if right && still == user.password_hash => {
            Ok(Proven { user_id: user.id, methods: Methods::of(["password"]), from_token: None })
        }
        _ => Err(Error::Unauthenticated("the user or the password is wrong")),
    }
}

/// The user, if there is one who may get in at all.
async fn find_user(core: &Core, part: &UserPart) -> Result<Option<UserRow>, Error> {
    core.store
        .read(|txn| {
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
            let Some(user) = user.filter(|user| user.enabled) else { return Ok(None) };
            let domain = txn.get::<DomainRow>(&user.domain_id)?;
            Ok(domain.filter(|domain| domain.enabled).map(|_| user))
        })
        .await
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
async fn find_scope(core: &Core, asked: Asked) -> Result<TokenScope, Error> {
    let nowhere = || Error::Unauthenticated("the scope does not exist");
    core.store
        .read(|txn| match &asked {
            Asked::Unscoped => Ok(TokenScope::Unscoped),
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
