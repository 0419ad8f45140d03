//! Roles of users and groups on projects, domains and the whole cloud.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{MethodRouter, get},
};
use serde_json::Value;
use updraft_edge::rest::{Auth, Links, Query, ServiceError};
use updraft_runtime::{
    policy::Target as PolicyTarget,
    store::{Record, Txn},
};

use super::{
    Shared, about, groups,
    list::{Resource, collection},
    projects, roles, users,
};
use crate::{
    core::Core,
    error::{Error, What},
    ledger::Change,
    rows::{Actor, DomainRow, GrantRow, GroupRow, ProjectRow, RoleRow, Target, UserRow},
};

/// Makes an actor of an id.
type MakeActor = fn(String) -> Actor;
/// Makes a target of an id.
type MakeTarget = fn(String) -> Target;

pub(super) fn routes() -> Router<Shared> {
    let mut router = Router::new();
    let actors: [(&str, MakeActor); 2] = [("users", Actor::User), ("groups", Actor::Group)];
    let targets: [(&str, MakeTarget); 2] =
        [("projects", Target::Project), ("domains", Target::Domain)];
    for (who, actor) in actors {
        for (place, target) in targets {
            let path = format!("/{place}/{{place_id}}/{who}/{{actor_id}}/roles");
            let one = format!("{path}/{{role_id}}");
            router = router.route(&path, list_in(target, actor)).route(&one, one_in(target, actor));
        }
        let path = format!("/system/{who}/{{actor_id}}/roles");
        let one = format!("{path}/{{role_id}}");
        router = router.route(&path, list_on_system(actor)).route(&one, one_on_system(actor));
    }
    router
}

fn list_in(target: MakeTarget, actor: MakeActor) -> MethodRouter<Shared> {
    get(
        move |State(core): State<Shared>,
              auth: Auth,
              links: Links,
              query: Query,
              Path((place, who)): Path<(String, String)>| async move {
            list(&core, &auth, &links, &query, target(place), actor(who)).await
        },
    )
}

fn one_in(target: MakeTarget, actor: MakeActor) -> MethodRouter<Shared> {
    type Ids = Path<(String, String, String)>;
    let row =
        move |place, who, role_id| GrantRow { actor: actor(who), target: target(place), role_id };
    get(move |State(core): State<Shared>, auth: Auth, Path((place, who, role)): Ids| async move {
        check(&core, &auth, row(place, who, role)).await
    })
    .put(move |State(core): State<Shared>, auth: Auth, Path((place, who, role)): Ids| async move {
        grant(&core, &auth, row(place, who, role)).await
    })
    .delete(
        move |State(core): State<Shared>, auth: Auth, Path((place, who, role)): Ids| async move {
            revoke(&core, &auth, row(place, who, role)).await
        },
    )
}

fn list_on_system(actor: MakeActor) -> MethodRouter<Shared> {
    get(
        move |State(core): State<Shared>,
              auth: Auth,
              links: Links,
              query: Query,
              Path(who): Path<String>| async move {
            list(&core, &auth, &links, &query, Target::System, actor(who)).await
        },
    )
}

fn one_on_system(actor: MakeActor) -> MethodRouter<Shared> {
    type Ids = Path<(String, String)>;
    let row = move |who, role_id| GrantRow { actor: actor(who), target: Target::System, role_id };
    get(move |State(core): State<Shared>, auth: Auth, Path((who, role)): Ids| async move {
        check(&core, &auth, row(who, role)).await
    })
    .put(move |State(core): State<Shared>, auth: Auth, Path((who, role)): Ids| async move {
        grant(&core, &auth, row(who, role)).await
    })
    .delete(
        move |State(core): State<Shared>, auth: Auth, Path((who, role)): Ids| async move {
            revoke(&core, &auth, row(who, role)).await
        },
    )
}

/// What is done with grants, and the rules for it.
#[derive(Clone, Copy)]
struct Rules {
    in_places: &'static str,
    of_users_on_system: &'static str,
    of_groups_on_system: &'static str,
}

const LIST: Rules = Rules {
    in_places: "identity:list_grants",
    of_users_on_system: "identity:list_system_grants_for_user",
    of_groups_on_system: "identity:list_system_grants_for_group",
};
const CHECK: Rules = Rules {
    in_places: "identity:check_grant",
    of_users_on_system: "identity:check_system_grant_for_user",
    of_groups_on_system: "identity:check_system_grant_for_group",
};
const GRANT: Rules = Rules {
    in_places: "identity:create_grant",
    of_users_on_system: "identity:create_system_grant_for_user",
    of_groups_on_system: "identity:create_system_grant_for_group",
};
const REVOKE: Rules = Rules {
    in_places: "identity:revoke_grant",
    of_users_on_system: "identity:revoke_system_grant_for_user",
    of_groups_on_system: "identity:revoke_system_grant_for_group",
};

impl Rules {
    fn of(self, actor: &Actor, target: &Target) -> &'static str {
        match (target, actor) {
            (Target::System, Actor::User(_)) => self.of_users_on_system,
            (Target::System, Actor::Group(_)) => self.of_groups_on_system,
            _ => self.in_places,
        }
    }
}

/// Whom and what a grant is about, as far as it exists.
struct Parties {
    target: PolicyTarget,
    /// The first that does not exist.
    missing: Option<Error>,
    role: Option<RoleRow>,
    /// The domain of the project that the grant is for.
    project_domain: Option<String>,
}

impl Parties {
    fn read(
        txn: &Txn,
        actor: &Actor,
        place: &Target,
        role_id: Option<&str>,
    ) -> Result<Self, Error> {
        let mut found =
            Self { target: PolicyTarget::new(), missing: None, role: None, project_domain: None };
        if let Some(id) = role_id {
            found.role = txn.get::<RoleRow>(id)?;
            match &found.role {
                Some(row) => found.target = roles::target(found.target, row),
                None => found.miss(What::Role, id),
            }
        }
        found.read_actor(txn, actor)?;
        found.read_place(txn, place)?;
        Ok(found)
    }

    fn read_actor(&mut self, txn: &Txn, actor: &Actor) -> Result<(), Error> {
        let target = std::mem::take(&mut self.target);
        match actor {
            Actor::User(id) => {
                let row = txn.get::<UserRow>(id)?;
                self.target = users::target(target, row.as_ref());
                if row.is_none() {
                    self.miss(What::User, id);
                }
            }
            Actor::Group(id) => {
                let row = txn.get::<GroupRow>(id)?;
                self.target = groups::target(target, row.as_ref());
                if row.is_none() {
                    self.miss(What::Group, id);
                }
            }
        }
        Ok(())
    }

    fn read_place(&mut self, txn: &Txn, place: &Target) -> Result<(), Error> {
        let target = std::mem::take(&mut self.target);
        match place {
            Target::Project(id) => match txn.get::<ProjectRow>(id)? {
                Some(row) => {
                    self.target = projects::target(target, Some(&row));
                    self.project_domain = Some(row.domain_id);
                }
                None => self.miss(What::Project, id),
            },
            Target::Domain(id) => match txn.get::<DomainRow>(id)? {
                Some(_) => self.target = about(target, "domain", &[("id", Some(id))]),
                None => self.miss(What::Domain, id),
            },
            Target::System => self.target = target,
        }
        Ok(())
    }

    fn miss(&mut self, what: What, id: &str) {
        self.missing.get_or_insert_with(|| what.not_found(id));
    }

    /// Refuses what the rules forbid, and then what cannot be.
    fn judge(self, core: &Core, auth: &Auth, rule: &'static str) -> Result<Self, Error> {
        core.enforce(&auth.principal, rule, &self.target)?;
        match self.missing {
            Some(missing) => Err(missing),
            None => Ok(self),
        }
    }
}

async fn parties(core: &Core, row: &GrantRow) -> Result<Parties, Error> {
    let read = |txn: &Txn| Parties::read(txn, &row.actor, &row.target, Some(&row.role_id));
    core.store.read(read).await
}

async fn list(
    core: &Core,
    auth: &Auth,
    links: &Links,
    query: &Query,
    place: Target,
    actor: Actor,
) -> Result<Json<Value>, ServiceError> {
    let rule = LIST.of(&actor, &place);
    let found = core.store.read(|txn| Parties::read(txn, &actor, &place, None)).await?;
    found.judge(core, auth, rule)?;
    let found: Vec<Resource> = core
        .store
        .read(|txn| {
            let grants = txn.find::<GrantRow>(GrantRow::BY_ACTOR, &actor.to_string())?;
            let here = grants.iter().filter(|grant| grant.target == place);
            let rows = here.filter_map(|grant| txn.get::<RoleRow>(&grant.role_id).transpose());
            rows.map(|row| Ok::<_, Error>(roles::view(links, row?))).collect()
        })
        .await?;
    Ok(Json(collection(links, &path_of(&place, &actor), "roles", query, &[], found)?))
}

/// Where the grants of an actor in a place are, below the API.
pub(super) fn path_of(place: &Target, actor: &Actor) -> String {
    let place = match place {
        Target::Project(id) => format!("projects/{id}"),
        Target::Domain(id) => format!("domains/{id}"),
        Target::System => "system".to_owned(),
    };
    match actor {
        Actor::User(id) => format!("{place}/users/{id}/roles"),
        Actor::Group(id) => format!("{place}/groups/{id}/roles"),
    }
}

fn not_granted(row: &GrantRow) -> Error {
    let place = match &row.target {
        Target::Project(id) | Target::Domain(id) => id,
        Target::System => "system",
    };
    Error::NotFound(format!(
        "Could not find role assignment with role: {}, user or group: {}, project, domain, or \
         system: {place}.",
        row.role_id,
        row.actor.id()
    ))
}

async fn check(core: &Core, auth: &Auth, row: GrantRow) -> Result<StatusCode, ServiceError> {
    let rule = CHECK.of(&row.actor, &row.target);
    parties(core, &row).await?.judge(core, auth, rule)?;
    let found = core.store.read(|txn| txn.get::<GrantRow>(&row.key())).await;
    match found.map_err(Error::from)? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(not_granted(&row).into()),
    }
}

async fn grant(core: &Core, auth: &Auth, row: GrantRow) -> Result<StatusCode, ServiceError> {
    let rule = GRANT.of(&row.actor, &row.target);
    parties(core, &row).await?.judge(core, auth, rule)?;
    core.change(|change| {
        // Read again: none of them may go while this is written.
        let found = Parties::read(change, &row.actor, &row.target, Some(&row.role_id))?;
        if let Some(missing) = found.missing {
            return Err(missing);
        }
        let of_domain = found.role.and_then(|role| role.domain_id);
        if of_domain.is_some() && row.target == Target::System {
            return Err(Error::Invalid(format!(
                "Role {} is a domain-specific role. Unable to use a domain-specific role in a \
                 system assignment.",
                row.role_id
            )));
        }
        if of_domain.is_some()
            && found.project_domain.is_some()
            && of_domain != found.project_domain
        {
            return Err(Error::Forbidden(
                "You are not authorized to perform the requested action.".to_owned(),
            ));
        }
        if change.get::<GrantRow>(&row.key())?.is_none() {
            change.insert(&row)?;
        }
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke(core: &Core, auth: &Auth, row: GrantRow) -> Result<StatusCode, ServiceError> {
    let rule = REVOKE.of(&row.actor, &row.target);
    parties(core, &row).await?.judge(core, auth, rule)?;
    core.change(|change| match remove(change, &row)? {
        true => Ok(()),
        false => Err(not_granted(&row)),
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a grant away; says whether there was one.
pub(super) fn remove(change: &mut Change<'_>, row: &GrantRow) -> Result<bool, Error> {
    Ok(change.delete::<GrantRow>(&row.key())?.is_some())
}

/// Takes away everything that somebody may be anywhere.
pub(super) fn remove_of(change: &mut Change<'_>, actor: &Actor) -> Result<(), Error> {
    for grant in change.find::<GrantRow>(GrantRow::BY_ACTOR, &actor.to_string())? {
        remove(change, &grant)?;
    }
    Ok(())
}

/// Takes away everything that anybody may be in a place.
pub(super) fn remove_on(change: &mut Change<'_>, place: &Target) -> Result<(), Error> {
    for grant in change.find::<GrantRow>(GrantRow::BY_TARGET, &place.to_string())? {
        remove(change, &grant)?;
    }
    Ok(())
}
