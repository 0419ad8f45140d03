//! What a cloud begins with: a domain, an administrator, roles, the services' users, the catalog.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use updraft_edge::token::fresh_key;
use updraft_protocol::identity::{Interface, SERVICE_ROLE};

use crate::{
    core::Core,
    error::Error,
    keys,
    ledger::Change,
    rows::{
        Actor, DEFAULT_DOMAIN_ID, DomainRow, EndpointRow, Extra, GrantRow, KeysRow, ProjectRow,
        RegionRow, RoleRow, ServiceRow, Target, UserRow, name_in,
    },
};

const ADMIN: &str = "admin";
const SERVICE_PROJECT: &str = "service";

/// The users of OpenStack's own services.
const SERVICE_USERS: [&str; 4] = ["nova", "glance", "neutron", "cinder"];

/// Roles, each after the one that it implies.
const ROLES: [(&str, Option<&str>); 5] = [
    ("reader", None),
    ("member", Some("reader")),
    ("manager", Some("member")),
    (ADMIN, Some("manager")),
    (SERVICE_ROLE, None),
];

/// How a cloud begins.
#[derive(Clone)]
pub struct BootstrapConfig {
    /// The password of the user `admin`.
    pub admin_password: String,
    /// The password of the services' own users; without one they have none, and nobody gets in as
    /// them. Services of this cloud need none: they know each other by certificate.
    pub service_password: Option<String>,
    /// The region that all addresses belong to.
    pub region: String,
    /// Where the services are: [`catalog_at`], or any others.
    pub catalog: Vec<CatalogEntry>,
    /// Whether passwords that are set stay as they are, as for a further control node of a cloud.
    pub keeps_passwords: bool,
    /// Whether addresses that the catalog has stay as they are.
    pub keeps_addresses: bool,
}

impl std::fmt::Debug for BootstrapConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { region, catalog, .. } = self;
        f.debug_struct("BootstrapConfig")
            .field("region", region)
            .field("catalog", catalog)
            .finish_non_exhaustive()
    }
}

/// A service and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// What it is, such as `compute`.
    pub kind: String,
    /// What people call it.
    pub name: String,
    /// Its address for everybody.
    pub public_url: String,
    /// Its address for the cloud's own services.
    pub internal_url: String,
    /// Its address for administrators.
    pub admin_url: String,
}

/// The services of a cloud that answers at one address, such as `http://controller`, by DevStack's
/// paths.
#[must_use]
pub fn catalog_at(base_url: &str) -> Vec<CatalogEntry> {
    let base = base_url.trim_end_matches('/');
    let entry = |kind: &str, name: &str, path: &str| {
        let url = format!("{base}{path}");
        CatalogEntry {
            kind: kind.to_owned(),
            name: name.to_owned(),
            public_url: url.clone(),
            internal_url: url.clone(),
            admin_url: url,
        }
    };
    vec![
        entry("identity", "keystone", "/identity"),
        entry("image", "glance", "/image"),
        entry("compute", "nova", "/compute/v2.1"),
        entry("network", "neutron", "/networking"),
        entry("block-storage", "cinder", "/volume/v3"),
    ]
}

/// What is asked of the hasher before the transaction: `None` if the stored one is that of the given password.
struct Hashes {
    admin: Option<String>,
    service: Option<String>,
}

pub(crate) async fn bootstrap(core: &Core, config: &BootstrapConfig) -> Result<(), Error> {
    let hashes = hashes(core, config).await?;
    let lead = core.clock_lead().await;
    let (staged, primary) = (fresh_key(&core.env), fresh_key(&core.env));
    core.change(|change| {
        let mut seed = Seed { core, lead, keeps_addresses: config.keeps_addresses, change };
        if seed.change.get::<KeysRow>(KeysRow::KEY)?.is_none() {
            let row = keys::first(staged.clone(), primary.clone(), core.env.wall());
            seed.change.insert(&row)?;
        }
        seed.domain()?;
        let roles = seed.roles()?;
        seed.admin(&roles, hashes.admin.as_deref())?;
        seed.service_users(&roles, hashes.service.as_deref())?;
        seed.region(&config.region)?;
        for entry in &config.catalog {
            seed.catalog_entry(&config.region, entry)?;
        }
        Ok(())
    })
    .await
}

async fn hashes(core: &Core, config: &BootstrapConfig) -> Result<Hashes, Error> {
    let keeps = config.keeps_passwords;
    let admin = new_hash(core, ADMIN, &config.admin_password, keeps).await?;
    // The services' users have one password: what holds of the first holds of all.
    let service = match &config.service_password {
        Some(password) => new_hash(core, SERVICE_USERS[0], password, keeps).await?,
        None => None,
    };
    Ok(Hashes { admin, service })
}

/// The password's hash, unless the user has this password, or one that stays.
async fn new_hash(
    core: &Core,
    user: &str,
    password: &str,
    keeps: bool,
) -> Result<Option<String>, Error> {
    let by_name = name_in(DEFAULT_DOMAIN_ID, user);
    let user = core.store.read(|txn| txn.find_one::<UserRow>(UserRow::BY_NAME, &by_name)).await?;
    let stored = user.and_then(|user| user.password_hash);
    if stored.is_some() && keeps {
        return Ok(None);
    }
    if stored.is_some() && core.hasher.check(password.to_owned(), stored).await? {
        return Ok(None);
    }
    Ok(Some(core.hasher.hash(password.to_owned()).await?))
}

/// Puts in what is missing.
struct Seed<'a, 'b> {
    core: &'a Core,
    /// How far another node's clock is ahead.
    lead: Duration,
    keeps_addresses: bool,
    change: &'a mut Change<'b>,
}

impl Seed<'_, '_> {
    fn id(&self) -> String {
        self.core.env.uuid().simple().to_string()
    }

    fn domain(&mut self) -> Result<(), Error> {
        if self.change.get::<DomainRow>(DEFAULT_DOMAIN_ID)?.is_some() {
            return Ok(());
        }
        Ok(self.change.insert(&DomainRow {
            id: DEFAULT_DOMAIN_ID.to_owned(),
            name: "Default".to_owned(),
            description: Some("The default domain".to_owned()),
            enabled: true,
            tags: Vec::new(),
            options: Extra::new(),
            revoked_before: None,
            extra: Extra::new(),
        })?)
    }

    /// Ids of the roles by name.
    fn roles(&mut self) -> Result<BTreeMap<&'static str, String>, Error> {
        let mut ids: BTreeMap<&'static str, String> = BTreeMap::new();
        for (name, implies) in ROLES {
            let implied = implies.and_then(|implied| ids.get(implied)).cloned();
            let by_name = name_in("", name);
            let id = match self.change.find_one::<RoleRow>(RoleRow::BY_NAME, &by_name)? {
                Some(role) => self.implying(role, implied)?,
                None => self.role(name, implied)?,
            };
            ids.insert(name, id);
        }
        Ok(ids)
    }

    fn role(&mut self, name: &str, implied: Option<String>) -> Result<String, Error> {
        let id = self.id();
        self.change.insert(&RoleRow {
            id: id.clone(),
            name: name.to_owned(),
            domain_id: None,
            description: None,
            implies: implied.into_iter().collect(),
            options: Extra::from_iter([("immutable".to_owned(), Value::Bool(true))]),
            extra: Extra::new(),
        })?;
        Ok(id)
    }

    fn implying(&mut self, mut role: RoleRow, implied: Option<String>) -> Result<String, Error> {
        if implied.is_some_and(|implied| role.implies.insert(implied)) {
            self.change.put(&role)?;
        }
        Ok(role.id)
    }

    fn admin(
        &mut self,
        roles: &BTreeMap<&str, String>,
        new_hash: Option<&str>,
    ) -> Result<(), Error> {
        let project_id = self.project(ADMIN, "The administrators' project.")?;
        let mut user = self.user(ADMIN)?;
        if new_hash.is_some() || !user.enabled {
            user.enabled = true;
            self.set_password(&mut user, new_hash);
            self.change.put(&user)?;
        }
        let role_id = roles.get(ADMIN).cloned().unwrap_or_default();
        for target in [Target::Project(project_id), Target::System] {
            self.grant(Actor::User(user.id.clone()), target, &role_id)?;
        }
        Ok(())
    }

    /// Sets another password, if there is one; tokens that were had for the former end.
    fn set_password(&self, user: &mut UserRow, new_hash: Option<&str>) {
        let Some(new_hash) = new_hash else { return };
        if user.password_hash.is_some() {
            let now = self.core.env.wall().plus(self.lead);
            user.revoked_before = user.revoked_before.max(Some(now));
        }
        user.password_hash = Some(new_hash.to_owned());
    }

    fn service_users(
        &mut self,
        roles: &BTreeMap<&str, String>,
        hash: Option<&str>,
    ) -> Result<(), Error> {
        let project_id = self.project(SERVICE_PROJECT, "The services' own users.")?;
        let role_id = roles.get(SERVICE_ROLE).cloned().unwrap_or_default();
        for name in SERVICE_USERS {
            let mut user = self.user(name)?;
            if hash.is_some() {
                self.set_password(&mut user, hash);
                self.change.put(&user)?;
            }
            let target = Target::Project(project_id.clone());
            self.grant(Actor::User(user.id), target, &role_id)?;
        }
        Ok(())
    }

    fn project(&mut self, name: &str, description: &str) -> Result<String, Error> {
        let by_name = name_in(DEFAULT_DOMAIN_ID, name);
        if let Some(row) = self.change.find_one::<ProjectRow>(ProjectRow::BY_NAME, &by_name)? {
            return Ok(row.id);
        }
        let id = self.id();
        self.change.insert(&ProjectRow {
            id: id.clone(),
            name: name.to_owned(),
            domain_id: DEFAULT_DOMAIN_ID.to_owned(),
            parent_id: DEFAULT_DOMAIN_ID.to_owned(),
            description: Some(description.to_owned()),
            enabled: true,
            tags: Vec::new(),
            options: Extra::new(),
            revoked_before: None,
            extra: Extra::new(),
        })?;
        Ok(id)
    }

    /// The user of this name; a new one has no password.
    fn user(&mut self, name: &str) -> Result<UserRow, Error> {
        let by_name = name_in(DEFAULT_DOMAIN_ID, name);
        if let Some(row) = self.change.find_one::<UserRow>(UserRow::BY_NAME, &by_name)? {
            return Ok(row);
        }
        let row = UserRow {
            id: self.id(),
            name: name.to_owned(),
            domain_id: DEFAULT_DOMAIN_ID.to_owned(),
            enabled: true,
            default_project_id: None,
            password_hash: None,
            options: Extra::new(),
            revoked_before: None,
            extra: Extra::new(),
        };
        self.change.insert(&row)?;
        Ok(row)
    }

    fn grant(&mut self, actor: Actor, target: Target, role_id: &str) -> Result<(), Error> {
        let row = GrantRow { actor, target, role_id: role_id.to_owned() };
        let key = updraft_runtime::store::Record::key(&row);
        if self.change.get::<GrantRow>(&key)?.is_none() {
            self.change.insert(&row)?;
        }
        Ok(())
    }

    fn region(&mut self, id: &str) -> Result<(), Error> {
        if self.change.get::<RegionRow>(id)?.is_some() {
            return Ok(());
        }
        Ok(self.change.insert(&RegionRow {
            id: id.to_owned(),
            description: String::new(),
            parent_region_id: None,
            extra: Extra::new(),
        })?)
    }

    fn catalog_entry(&mut self, region: &str, entry: &CatalogEntry) -> Result<(), Error> {
        let services = self.change.find::<ServiceRow>(ServiceRow::BY_TYPE, &entry.kind)?;
        let service_id = match services.into_iter().next() {
            Some(row) => row.id,
            None => {
                let id = self.id();
                self.change.insert(&ServiceRow {
                    id: id.clone(),
                    kind: entry.kind.clone(),
                    name: entry.name.clone(),
                    enabled: true,
                    extra: Extra::new(),
                })?;
                id
            }
        };
        let wanted = [
            (Interface::Public, &entry.public_url),
            (Interface::Internal, &entry.internal_url),
            (Interface::Admin, &entry.admin_url),
        ];
        for (interface, url) in wanted {
            self.endpoint(region, &service_id, interface, url)?;
        }
        Ok(())
    }

    fn endpoint(
        &mut self,
        region: &str,
        service_id: &str,
        interface: Interface,
        url: &str,
    ) -> Result<(), Error> {
        let all = self.change.find::<EndpointRow>(EndpointRow::BY_SERVICE, service_id)?;
        let same = |row: &EndpointRow| {
            row.interface == interface && row.region_id.as_deref() == Some(region)
        };
        let row = match all.into_iter().find(same) {
            Some(row) if row.url == url || self.keeps_addresses => return Ok(()),
            Some(row) => EndpointRow { url: url.to_owned(), ..row },
            None => EndpointRow {
                id: self.id(),
                service_id: service_id.to_owned(),
                interface,
                region_id: Some(region.to_owned()),
                url: url.to_owned(),
                enabled: true,
                extra: Extra::new(),
            },
        };
        Ok(self.change.put(&row)?)
    }
}
