//! `/role_assignments`: who may be what where, as it was granted or as it works out.

use std::collections::BTreeMap;

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Map, Value, json};
use updraft_edge::rest::{Auth, Links, Query, ServiceError};
use updraft_protocol::identity::Scope;
use updraft_runtime::{
    policy::Target as PolicyTarget,
    store::{StoreError, Txn},
};

use super::{Shared, grants, list::is_set};
use crate::{
    error::{Error, What},
    rows::{
        Actor, DomainRow, GrantRow, GroupRow, ProjectRow, RoleRow, Target, UserRow, implied_by,
        members_of,
    },
};

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/role_assignments", get(list))
}

/// One role of one actor in one place, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assignment {
    actor: Actor,
    place: Target,
    role_id: String,
    /// The group by which a user has it.
    by_group: Option<String>,
    /// The granted role that implies it.
    by_role: Option<String>,
}

/// What a query asks for.
struct Wanted<'a> {
    user: Option<&'a str>,
    group: Option<&'a str>,
    role: Option<&'a str>,
    project: Option<&'a str>,
    domain: Option<&'a str>,
    system: bool,
    effective: bool,
    /// Whether only inherited ones are wanted, of which there are none.
    inherited: bool,
    /// Whether the projects below the named one count too.
    subtree: bool,
}

impl<'a> Wanted<'a> {
    fn of(query: &'a Query) -> Result<Self, Error> {
        let get = |name| query.get(name).filter(|value: &&str| !value.is_empty());
        let inherited = query.get("scope.OS-INHERIT:inherited_to");
        let wanted = Self {
            user: get("user.id"),
            group: get("group.id"),
            role: get("role.id"),
            project: get("scope.project.id"),
            domain: get("scope.domain.id"),
            system: get("scope.system").is_some(),
            effective: is_set(query, "effective"),
            inherited: inherited == Some("projects"),
            subtree: is_set(query, "include_subtree"),
        };
        let refuse = |message: &str| Err(Error::Invalid(message.to_owned()));
        if wanted.domain.is_some() && wanted.project.is_some() {
            return refuse("Specify a domain or project, not both");
        }
        if wanted.domain.is_some() && wanted.system {
            return refuse("Specify system or domain, not both");
        }
        if wanted.project.is_some() && wanted.system {
            return refuse("Specify system or project, not both");
        }
        if wanted.user.is_some() && wanted.group.is_some() {
            return refuse("Specify a user or group, not both");
        }
        if wanted.effective && wanted.group.is_some() {
            return refuse(
                "Combining effective and group filter will always result in an empty list.",
            );
        }
        if wanted.effective && wanted.inherited && wanted.domain.is_some() {
            return refuse(
                "Combining effective, domain and inherited filters will always result in an empty \
                 list.",
            );
        }
        if wanted.subtree && wanted.project.is_none() {
            return refuse(
                "scope.project.id must be specified if include_subtree is also specified",
            );
        }
        Ok(wanted)
    }

    fn fits(&self, assignment: &Assignment, projects: &[String]) -> bool {
        let actor = match &assignment.actor {
            Actor::User(id) => self.group.is_none() && self.user.is_none_or(|user| user == id),
            Actor::Group(id) => self.user.is_none() && self.group.is_none_or(|group| group == id),
        };
        let place = match &assignment.place {
            Target::Project(id) => {
                self.domain.is_none()
                    && !self.system
                    && (self.project.is_none() || projects.contains(id))
            }
            Target::Domain(id) => {
                self.project.is_none()
                    && !self.system
                    && self.domain.is_none_or(|domain| domain == id)
            }
            Target::System => self.project.is_none() && self.domain.is_none(),
        };
        actor && place && self.role.is_none_or(|role| role == assignment.role_id)
    }
}

async fn list(
    State(core): State<Shared>,
    auth: Auth,
    links: Links,
    query: Query,
) -> Result<Json<Value>, ServiceError> {
    let own = match &auth.principal.scope {
        Scope::Domain(domain) => Some(domain.id.clone()),
        _ => None,
    };
    let tree = is_set(&query, "include_subtree");
    let rule = if tree {
        "identity:list_role_assignments_for_tree"
    } else {
        "identity:list_role_assignments"
    };
    let about = match query.get("scope.project.id").filter(|_| tree) {
        Some(id) => {
            let row = core.store.read(|txn| txn.get::<ProjectRow>(id)).await;
            Some(row.map_err(Error::from)?.ok_or_else(|| What::Project.not_found(id))?.domain_id)
        }
        None => own.clone(),
    };
    let target = about.map_or_else(PolicyTarget::new, |domain_id| {
        PolicyTarget::new().with("target.domain_id", domain_id)
    });
    core.enforce(&auth.principal, rule, &target)?;
    let wanted = Wanted::of(&query)?;
    let with_names = is_set(&query, "include_names");
    let answer: Vec<Value> = core
        .store
        .read(|txn| {
            let mut found = find(txn, &wanted)?;
            if let Some(own) = &own {
                found = keep_of_domain(txn, found, own)?;
            }
            let mut names = with_names.then(|| Names::new(txn));
            found.iter().map(|one| shown(&links, one, names.as_mut())).collect()
        })
        .await?;
    let own = match query.with("", None) {
        text if text.is_empty() => links.api("role_assignments"),
        text => format!("{}?{text}", links.api("role_assignments")),
    };
    Ok(Json(json!({
        "role_assignments": answer,
        "links": {"self": own, "previous": null, "next": null},
    })))
}

/// The assignments that a query asks for.
fn find(txn: &Txn, wanted: &Wanted<'_>) -> Result<Vec<Assignment>, Error> {
    if wanted.inherited {
        return Ok(Vec::new());
    }
    let projects = projects(txn, wanted)?;
    let grants = match (wanted.effective, wanted.user, wanted.group) {
        (false, Some(user), _) => of_actor(txn, &Actor::User(user.to_owned()))?,
        (false, None, Some(group)) => of_actor(txn, &Actor::Group(group.to_owned()))?,
        _ => txn.scan::<GrantRow>(None, usize::MAX)?,
    };
    let mut found = Vec::new();
    let mut implied = BTreeMap::new();
    for grant in grants {
        let direct = Assignment {
            actor: grant.actor,
            place: grant.target,
            role_id: grant.role_id,
            by_group: None,
            by_role: None,
        };
        if !wanted.effective {
            found.push(direct);
            continue;
        }
        for assignment in by_users(txn, direct)? {
            let role_id = assignment.role_id.clone();
            if !implied.contains_key(&role_id) {
                implied.insert(role_id.clone(), implied_by(txn, &role_id)?);
            }
            let roles = implied.get(&role_id).into_iter().flatten();
            // A role for one domain alone works only through those that it implies.
            let roles = roles.filter(|role| role.domain_id.is_none());
            found.extend(roles.map(|role| Assignment {
                by_role: (role.id != role_id).then(|| role_id.clone()),
                role_id: role.id.clone(),
                ..assignment.clone()
            }));
        }
    }
    found.retain(|assignment| wanted.fits(assignment, &projects));
    Ok(found)
}

fn of_actor(txn: &Txn, actor: &Actor) -> Result<Vec<GrantRow>, StoreError> {
    txn.find(GrantRow::BY_ACTOR, &actor.to_string())
}

/// Ids of the projects that a query names.
fn projects(txn: &Txn, wanted: &Wanted<'_>) -> Result<Vec<String>, Error> {
    let mut ids: Vec<String> = wanted.project.into_iter().map(str::to_owned).collect();
    let mut next = 0;
    while wanted.subtree && next < ids.len() {
        let below = txn.find::<ProjectRow>(ProjectRow::BY_PARENT, &ids[next])?;
        ids.extend(below.into_iter().map(|row| row.id));
        next += 1;
    }
    Ok(ids)
}

/// What is granted to a group, as its members have it.
fn by_users(txn: &Txn, direct: Assignment) -> Result<Vec<Assignment>, Error> {
    let Actor::Group(group_id) = &direct.actor else { return Ok(vec![direct]) };
    let members = members_of(txn, group_id)?.into_iter();
    Ok(members
        .map(|user_id| Assignment {
            actor: Actor::User(user_id),
            by_group: Some(group_id.clone()),
            ..direct.clone()
        })
        .collect())
}

/// Those in a domain or its projects, which is all that a token for the domain may see.
fn keep_of_domain(
    txn: &Txn,
    found: Vec<Assignment>,
    domain_id: &str,
) -> Result<Vec<Assignment>, Error> {
    let mut kept = Vec::new();
    for assignment in found {
        let within = match &assignment.place {
            Target::Domain(id) => id == domain_id,
            Target::Project(id) => {
                txn.get::<ProjectRow>(id)?.is_some_and(|row| row.domain_id == domain_id)
            }
            Target::System => false,
        };
        if within {
            kept.push(assignment);
        }
    }
    Ok(kept)
}

/// Looks up the names of what assignments are made of.
struct Names<'a> {
    txn: &'a Txn,
    domains: BTreeMap<String, Value>,
}

impl<'a> Names<'a> {
    fn new(txn: &'a Txn) -> Self {
        Self { txn, domains: BTreeMap::new() }
    }

    fn domain(&mut self, id: &str) -> Result<Value, Error> {
        if !self.domains.contains_key(id) {
            let name = self.txn.get::<DomainRow>(id)?.map(|row| row.name);
            self.domains.insert(id.to_owned(), json!({"id": id, "name": name.unwrap_or_default()}));
        }
        Ok(self.domains.get(id).cloned().unwrap_or_default())
    }

    fn named(&mut self, id: &str, named: Option<(String, String)>) -> Result<Value, Error> {
        let (name, domain_id) = named.unwrap_or_default();
        Ok(json!({"id": id, "name": name, "domain": self.domain(&domain_id)?}))
    }

    fn actor(&mut self, actor: &Actor) -> Result<Value, Error> {
        let named = match actor {
            Actor::User(id) => self.txn.get::<UserRow>(id)?.map(|row| (row.name, row.domain_id)),
            Actor::Group(id) => self.txn.get::<GroupRow>(id)?.map(|row| (row.name, row.domain_id)),
        };
        self.named(actor.id(), named)
    }

    fn project(&mut self, id: &str) -> Result<Value, Error> {
        let row = self.txn.get::<ProjectRow>(id)?;
        self.named(id, row.map(|row| (row.name, row.domain_id)))
    }

    fn role(&mut self, id: &str) -> Result<Value, Error> {
        let row = self.txn.get::<RoleRow>(id)?;
        let mut role = json!({"id": id, "name": row.as_ref().map(|row| &row.name)});
        if let Some(domain_id) = row.and_then(|row| row.domain_id) {
            role["domain"] = self.domain(&domain_id)?;
        }
        Ok(role)
    }
}

/// An assignment as it is answered.
fn shown(
    links: &Links,
    one: &Assignment,
    mut names: Option<&mut Names<'_>>,
) -> Result<Value, Error> {
    let id = |id: &str| json!({ "id": id });
    let (kind, actor) = match &one.actor {
        Actor::User(_) => ("user", &one.actor),
        Actor::Group(_) => ("group", &one.actor),
    };
    let actor = match &mut names {
        Some(names) => names.actor(actor)?,
        None => id(actor.id()),
    };
    let scope = match (&one.place, &mut names) {
        (Target::System, _) => json!({"system": {"all": true}}),
        (Target::Project(project), Some(names)) => json!({"project": names.project(project)?}),
        (Target::Project(project), None) => json!({"project": id(project)}),
        (Target::Domain(domain), Some(names)) => json!({"domain": names.domain(domain)?}),
        (Target::Domain(domain), None) => json!({"domain": id(domain)}),
    };
    let role = match &mut names {
        Some(names) => names.role(&one.role_id)?,
        None => id(&one.role_id),
    };
    Ok(json!({ kind: actor, "scope": scope, "role": role, "links": links_of(links, one) }))
}

/// Where the grant is from which an assignment follows.
fn links_of(links: &Links, one: &Assignment) -> Map<String, Value> {
    let mut found = Map::new();
    let granted_to = match &one.by_group {
        Some(group) => Actor::Group(group.clone()),
        None => one.actor.clone(),
    };
    let granted = one.by_role.as_ref().unwrap_or(&one.role_id);
    let path = format!("{}/{granted}", grants::path_of(&one.place, &granted_to));
    found.insert("assignment".to_owned(), json!(links.api(&path)));
    if let Some(group) = &one.by_group {
        let path = format!("groups/{group}/users/{}", one.actor.id());
        found.insert("membership".to_owned(), json!(links.api(&path)));
    }
    if let Some(prior) = &one.by_role {
        let path = format!("prior_role/{prior}/implies/{}", one.role_id);
        found.insert("prior_role".to_owned(), json!(links.api(&path)));
    }
    found
}
