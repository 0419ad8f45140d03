//! Tokens: making one, and what its answer says.

use std::time::Duration;

use serde::Serialize;
use updraft_edge::{
    rest::time::iso_micros_z,
    token::{KeyRing, Methods, TokenContents, TokenScope, fresh_audit_id},
};
use updraft_protocol::identity::{
    AuditId, DomainRef, IdentitySnapshot, Interface, Principal, RoleRef, Scope, Token, UserRef,
};
use updraft_runtime::env::UnixMicros;

use crate::{core::Core, error::Error};

/// A token that somebody who proved to be a user asks for.
pub(crate) struct Wish {
    pub(crate) user_id: String,
    pub(crate) methods: Methods,
    pub(crate) scope: TokenScope,
    /// Of the token that it comes from, which it must not outlive.
    pub(crate) expires_at: Option<UnixMicros>,
    /// The first audit id of the chain that it continues.
    pub(crate) chain: Option<AuditId>,
}

impl Wish {
    /// How long it takes from this time until a token can be told from those that were revoked.
    ///
    /// A token's time has whole seconds: one of the second of a revocation counts as from before it.
    pub(crate) fn wait(&self, snapshot: &IdentitySnapshot, now: UnixMicros) -> Duration {
        let user = snapshot.users.get(&self.user_id);
        let project = match &self.scope {
            TokenScope::Project { project_id } => snapshot.projects.get(project_id),
            _ => None,
        };
        let domain = match &self.scope {
            TokenScope::Domain { domain_id } => Some(domain_id),
            _ => project.map(|project| &project.domain_id),
        };
        let domains = [user.map(|user| &user.domain_id), domain];
        let revoked = domains
            .into_iter()
            .flatten()
            .filter_map(|id| snapshot.domains.get(id)?.revoked_before)
            .chain(user.and_then(|user| user.revoked_before))
            .chain(project.and_then(|project| project.revoked_before))
            .max();
        match revoked {
            Some(at) if whole_seconds(now) <= at => {
                whole_seconds(at.plus(Duration::from_secs(1))).since(now)
            }
            _ => Duration::ZERO,
        }
    }
}

/// Makes a token as of this time, and says who it stands for. It passes on every node that holds this
/// snapshot.
pub(crate) fn issue(
    core: &Core,
    snapshot: &IdentitySnapshot,
    wish: Wish,
    at: UnixMicros,
) -> Result<(Token, Principal), Error> {
    let lifetime = core.config.token_lifetime;
    let mut audit_ids = vec![fresh_audit_id(&core.env)];
    audit_ids.extend(wish.chain);
    let contents = TokenContents {
        user_id: wish.user_id,
        methods: wish.methods,
        scope: wish.scope,
        expires_at: wish.expires_at.unwrap_or_else(|| whole_seconds(at.plus(lifetime))),
        audit_ids,
    };
    let keys = KeyRing::new(&snapshot.fernet_keys)
        .map_err(|_| Error::Internal("there are no keys: bootstrap comes first"))?;
    let token = keys.seal(&contents, whole_seconds(at))?;
    // Whatever would make it useless is found by the judge that it will meet.
    let verified = core.verifier.verify(token.reveal(), core.env.wall(), Duration::ZERO);
    let principal = verified.map_err(|error| {
        tracing::info!(%error, "a token is not issued because it would not pass");
        Error::Unauthenticated("its token would not pass")
    })?;
    Ok((token, principal))
}

fn whole_seconds(time: UnixMicros) -> UnixMicros {
    UnixMicros(time.secs().saturating_mul(1_000_000))
}

/// A token as Keystone describes it.
#[derive(Serialize)]
pub(crate) struct TokenBody<'a> {
    token: Described<'a>,
}

#[derive(Serialize)]
struct Described<'a> {
    methods: &'a [String],
    user: UserBody<'a>,
    audit_ids: Vec<String>,
    expires_at: String,
    issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<ProjectBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_domain: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a DomainRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<All>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<&'a [RoleRef]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    catalog: Option<Vec<CatalogBody<'a>>>,
}

#[derive(Serialize)]
struct UserBody<'a> {
    domain: &'a DomainRef,
    id: &'a str,
    name: &'a str,
    password_expires_at: Option<String>,
}

#[derive(Serialize)]
struct ProjectBody<'a> {
    domain: &'a DomainRef,
    id: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct All {
    all: bool,
}

/// A service of the catalog, with the addresses that are of use to one token.
#[derive(Serialize)]
pub(crate) struct CatalogBody<'a> {
    endpoints: Vec<EndpointBody<'a>>,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct EndpointBody<'a> {
    id: &'a str,
    interface: Interface,
    region_id: Option<&'a str>,
    url: String,
    region: Option<&'a str>,
}

/// What a token says, with the catalog if it is wanted and the token has a scope.
pub(crate) fn describe<'a>(
    principal: &'a Principal,
    snapshot: &'a IdentitySnapshot,
    with_catalog: bool,
) -> TokenBody<'a> {
    let UserRef { id, name, domain } = &principal.user;
    let project = principal.project();
    let scoped = principal.scope != Scope::Unscoped;
    TokenBody {
        token: Described {
            methods: &principal.methods,
            user: UserBody { domain, id, name, password_expires_at: None },
            audit_ids: principal.audit_ids.iter().map(ToString::to_string).collect(),
            expires_at: iso_micros_z(principal.expires_at),
            issued_at: iso_micros_z(principal.issued_at),
            project: project.map(|project| ProjectBody {
                domain: &project.domain,
                id: &project.id,
                name: &project.name,
            }),
            is_domain: project.map(|_| false),
            domain: match &principal.scope {
                Scope::Domain(domain) => Some(domain),
                _ => None,
            },
            system: (principal.scope == Scope::System).then_some(All { all: true }),
            roles: scoped.then_some(&principal.roles),
            catalog: (scoped && with_catalog).then(|| catalog_for(principal, snapshot)),
        },
    }
}

/// The catalog as the holder of a token sees it.
pub(crate) fn catalog_for<'a>(
    principal: &Principal,
    snapshot: &'a IdentitySnapshot,
) -> Vec<CatalogBody<'a>> {
    let service = |service: &'a updraft_protocol::identity::CatalogService| CatalogBody {
        endpoints: service
            .endpoints
            .iter()
            .filter_map(|endpoint| {
                let region = Some(endpoint.region_id.as_str()).filter(|id| !id.is_empty());
                Some(EndpointBody {
                    id: &endpoint.id,
                    interface: endpoint.interface,
                    region_id: region,
                    url: filled_in(&endpoint.url, principal)?,
                    region,
                })
            })
            .collect(),
        id: &service.id,
        kind: &service.kind,
        name: &service.name,
    };
    snapshot.catalog.iter().map(service).collect()
}

/// An address with its blanks, such as `$(project_id)s`, filled in; `None` if one cannot be.
fn filled_in(template: &str, principal: &Principal) -> Option<String> {
    let mut url = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(at) = rest.find(['$', '%']) {
        let (before, blank) = rest.split_at(at);
        url.push_str(before);
        let Some(name) = blank[1..].strip_prefix('(') else {
            url.push_str(&blank[..1]);
            rest = &blank[1..];
            continue;
        };
        let (name, after) = name.split_once(")s")?;
        url.push_str(match name {
            "project_id" | "tenant_id" => principal.project_id()?,
            "user_id" => &principal.user.id,
            _ => return None,
        });
        rest = after;
    }
    url.push_str(rest);
    Some(url)
}

#[cfg(test)]
mod tests {
    use updraft_protocol::identity::ProjectRef;

    use super::*;

    fn principal(scope: Scope) -> Principal {
        let domain = DomainRef { id: "default".to_owned(), name: "Default".to_owned() };
        Principal {
            user: UserRef { id: "u1".to_owned(), name: "demo".to_owned(), domain },
            scope,
            roles: Vec::new(),
            methods: vec!["password".to_owned()],
            audit_ids: vec![AuditId([0; 16])],
            issued_at: UnixMicros(0),
            expires_at: UnixMicros(1_000_000),
            application_credential_id: None,
        }
    }

    fn in_project() -> Principal {
        let domain = DomainRef { id: "default".to_owned(), name: "Default".to_owned() };
        let project = ProjectRef { id: "p1".to_owned(), name: "demo".to_owned(), domain };
        principal(Scope::Project(project))
    }

    #[test]
    fn blanks_in_addresses_are_filled_in() {
        let table = [
            ("http://c/v3", Some("http://c/v3")),
            ("http://c/v1/AUTH_$(project_id)s", Some("http://c/v1/AUTH_p1")),
            ("http://c/%(tenant_id)s/%(user_id)s/x", Some("http://c/p1/u1/x")),
            ("http://c/100%/$5", Some("http://c/100%/$5")),
            ("http://c/$(secret)s", None),
            ("http://c/$(project_id", None),
        ];
        for (template, url) in table {
            assert_eq!(filled_in(template, &in_project()).as_deref(), url, "{template}");
        }
    }

    #[test]
    fn an_address_of_a_project_is_left_out_for_who_is_in_none() {
        assert_eq!(filled_in("http://c/$(project_id)s", &principal(Scope::System)), None);
        assert_eq!(
            filled_in("http://c/v3", &principal(Scope::System)).as_deref(),
            Some("http://c/v3")
        );
    }

    #[test]
    fn a_token_without_scope_says_nothing_of_roles_and_services() {
        let (principal, snapshot) = (principal(Scope::Unscoped), IdentitySnapshot::default());
        let body = serde_json::to_value(describe(&principal, &snapshot, true)).expect("plain data");
        assert_eq!(
            body,
            serde_json::json!({"token": {
                "methods": ["password"],
                "user": {
                    "domain": {"id": "default", "name": "Default"},
                    "id": "u1",
                    "name": "demo",
                    "password_expires_at": null,
                },
                "audit_ids": ["AAAAAAAAAAAAAAAAAAAAAA"],
                "expires_at": "1970-01-01T00:00:01.000000Z",
                "issued_at": "1970-01-01T00:00:00.000000Z",
            }})
        );
    }
}
