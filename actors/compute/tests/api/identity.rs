//! Who there is in the tests' cloud, and their tokens.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use updraft_edge::{
    token::{KeyRing, Methods, TokenContents, TokenScope},
    verify::Verifier,
};
use updraft_protocol::identity::*;
use updraft_runtime::env::UnixMicros;

/// 2025-01-01, when all of this begins.
pub(crate) const START: UnixMicros = UnixMicros(1_735_689_600_000_000);

pub(crate) const DEMO: &str = "d0000000000000000000000000000000";
pub(crate) const OTHER: &str = "e0000000000000000000000000000000";

const HOUR: Duration = Duration::from_secs(3_600);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Admin,
    Member,
    Reader,
    Other,
}

impl Who {
    const ALL: [Self; 4] = [Self::Admin, Self::Member, Self::Reader, Self::Other];

    pub(crate) fn user(self) -> &'static str {
        match self {
            Self::Admin => "a1000000000000000000000000000000",
            Self::Member => "a2000000000000000000000000000000",
            Self::Reader => "a3000000000000000000000000000000",
            Self::Other => "a4000000000000000000000000000000",
        }
    }

    fn role(self) -> &'static str {
        match self {
            Self::Admin => "r-admin",
            Self::Member | Self::Other => "r-member",
            Self::Reader => "r-reader",
        }
    }

    pub(crate) fn project(self) -> &'static str {
        if self == Self::Other { OTHER } else { DEMO }
    }

    /// A token of this user for an hour.
    pub(crate) fn token(self) -> String {
        let contents = TokenContents {
            user_id: self.user().to_owned(),
            methods: Methods::of(["password"]),
            scope: TokenScope::Project { project_id: self.project().to_owned() },
            expires_at: START.plus(HOUR),
            audit_ids: vec![AuditId([1; 16])],
        };
        let keys = KeyRing::new(&snapshot().fernet_keys).expect("two keys");
        keys.seal(&contents, START).expect("short").reveal().to_owned()
    }
}

pub(crate) fn verifier() -> Arc<Verifier> {
    let verifier = Verifier::new();
    verifier.publish(Arc::new(snapshot()));
    Arc::new(verifier)
}

fn snapshot() -> IdentitySnapshot {
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    let role = |name: &str, implies: &[&str]| Role { name: name.to_owned(), implies: ids(implies) };
    let project = |name: &str| Project {
        name: name.to_owned(),
        domain_id: "default".to_owned(),
        enabled: true,
        revoked_before: None,
    };
    let user = |who: Who| User {
        name: format!("{who:?}"),
        domain_id: "default".to_owned(),
        enabled: true,
        revoked_before: None,
    };
    let assigned = |who: Who| Assignments {
        projects: BTreeMap::from([(who.project().to_owned(), ids(&[who.role()]))]),
        ..Assignments::default()
    };
    let domain = Domain { name: "Default".to_owned(), enabled: true, revoked_before: None };
    let key = |byte| FernetKey::from_bytes([byte; 32]);
    IdentitySnapshot {
        version: 1,
        fernet_keys: updraft_edge::token::first_keys(key(0), key(1)),
        users: Who::ALL.map(|who| (who.user().to_owned(), user(who))).into(),
        projects: [DEMO, OTHER].map(|id| (id.to_owned(), project(id))).into(),
        domains: BTreeMap::from([("default".to_owned(), domain)]),
        roles: BTreeMap::from([
            ("r-admin".to_owned(), role("admin", &["r-member"])),
            ("r-member".to_owned(), role("member", &["r-reader"])),
            ("r-reader".to_owned(), role("reader", &[])),
        ]),
        assignments: Who::ALL.map(|who| (who.user().to_owned(), assigned(who))).into(),
        ..IdentitySnapshot::default()
    }
}
