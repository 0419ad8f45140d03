//! Rows that belong to other rows.

use serde::{Deserialize, Serialize};
use updraft_runtime::store::{
    Record, RowRef, Store, StoreError,
    limits::{OWNED_WALK_MAX, OWNERS_MAX},
};

use crate::support::{Server, keys};

/// A row that belongs to rows of its own kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) of: Vec<RowRef>,
}

impl Part {
    /// A part of these.
    pub(crate) fn new(name: &str, of: &[&str]) -> Self {
        let of = of.iter().map(|owner| RowRef::to::<Self>(*owner)).collect();
        Self { name: name.to_owned(), of }
    }
}

impl Record for Part {
    const TABLE: &'static str = "shop/part";

    fn key(&self) -> String {
        self.name.clone()
    }

    fn owners(&self) -> Vec<RowRef> {
        self.of.clone()
    }
}

/// A row of the same service that belongs to nobody.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Shelf;

impl Record for Shelf {
    const TABLE: &'static str = "shop/shelf";

    fn key(&self) -> String {
        "the/shelf".to_owned()
    }
}

async fn put(store: &Store, part: &Part) -> Result<(), StoreError> {
    store.transact(|txn| txn.put(part)).await
}

async fn owned(store: &Store, owner: &str) -> Vec<String> {
    let owned = store.read(|txn| txn.owned_by::<Part>(owner, usize::MAX)).await.unwrap();
    owned.iter().map(|row| row.key().to_owned()).collect()
}

fn reason(result: Result<(), StoreError>) -> &'static str {
    match result {
        Err(StoreError::BadOwner { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn what_a_row_owns_is_found_and_follows_the_references(store: Store) {
    store.transact(|txn| txn.put(&Shelf)).await.unwrap();
    put(&store, &Part::new("car", &[])).await.unwrap();
    put(&store, &Part::new("wheel", &["car"])).await.unwrap();
    let mut both = Part::new("tyre", &["car", "wheel"]);
    both.of.push(RowRef::to::<Shelf>("the/shelf"));
    put(&store, &both).await.unwrap();
    assert_eq!(owned(&store, "car").await, ["tyre", "wheel"]);
    let shelved = store.read(|txn| txn.owned_by::<Shelf>("the/shelf", 9)).await.unwrap();
    assert_eq!(shelved, [RowRef::to::<Part>("tyre")]);
    put(&store, &Part::new("tyre", &["wheel"])).await.unwrap();
    assert_eq!(owned(&store, "car").await, ["wheel"]);
    store.transact(|txn| txn.delete::<Part>("wheel")).await.unwrap();
    assert_eq!(owned(&store, "car").await, Vec::<String>::new());
    assert_eq!(owned(&store, "wheel").await, ["tyre"], "an owner that is gone still owns");
    store.transact(|txn| txn.delete::<Part>("tyre")).await.unwrap();
    store.transact(|txn| txn.delete::<Part>("car")).await.unwrap();
    let left = keys(&store.begin().await.unwrap(), "");
    assert_eq!(left, ["shop/shelf/the/shelf"]);
}

pub(super) async fn an_owner_that_is_not_there_is_refused_when_it_is_gained(store: Store) {
    let refused = put(&store, &Part::new("wheel", &["car"])).await;
    assert!(reason(refused).contains("not there"));
    put(&store, &Part::new("car", &[])).await.unwrap();
    let wheel = Part::new("wheel", &["car"]);
    put(&store, &wheel).await.unwrap();
    store.transact(|txn| txn.delete::<Part>("car")).await.unwrap();
    // An orphan may be written, to let go of what it has.
    put(&store, &wheel).await.unwrap();
}

pub(super) async fn a_row_is_not_born_while_its_owner_is_deleted(store: Store) {
    put(&store, &Part::new("car", &[])).await.unwrap();
    let mut birth = store.begin().await.unwrap();
    birth.insert(&Part::new("wheel", &["car"])).unwrap();
    let mut end = store.begin().await.unwrap();
    assert_eq!(end.owned_by::<Part>("car", 1).unwrap(), []);
    end.delete::<Part>("car").unwrap();
    end.commit().await.unwrap();
    assert_eq!(birth.commit().await, Err(StoreError::Conflict));
}

pub(super) async fn an_owner_that_saw_nothing_of_a_birth_is_not_deleted(store: Store) {
    put(&store, &Part::new("car", &[])).await.unwrap();
    let mut end = store.begin().await.unwrap();
    assert_eq!(end.owned_by::<Part>("car", 1).unwrap(), []);
    end.delete::<Part>("car").unwrap();
    put(&store, &Part::new("wheel", &["car"])).await.unwrap();
    assert_eq!(end.commit().await, Err(StoreError::Conflict));
}

pub(super) async fn a_row_never_owns_itself_however_far_away(store: Store) {
    put(&store, &Part::new("car", &[])).await.unwrap();
    put(&store, &Part::new("axle", &["car"])).await.unwrap();
    put(&store, &Part::new("wheel", &["axle"])).await.unwrap();
    for part in [Part::new("car", &["wheel"]), Part::new("car", &["axle"]), Part::new("x", &["x"])]
    {
        assert!(reason(put(&store, &part).await).contains("own itself"), "{part:?}");
    }
    // One that comes again under the key of one that is gone owns what that one owned.
    store.transact(|txn| txn.delete::<Part>("car")).await.unwrap();
    assert!(reason(put(&store, &Part::new("car", &["wheel"])).await).contains("own itself"));
}

pub(super) async fn of_two_that_would_own_each_other_one_conflicts(store: Store) {
    put(&store, &Part::new("hen", &[])).await.unwrap();
    put(&store, &Part::new("egg", &[])).await.unwrap();
    let (mut one, mut other) = (store.begin().await.unwrap(), store.begin().await.unwrap());
    one.put(&Part::new("hen", &["egg"])).unwrap();
    other.put(&Part::new("egg", &["hen"])).unwrap();
    one.commit().await.unwrap();
    assert_eq!(other.commit().await, Err(StoreError::Conflict));
}

pub(super) async fn an_owner_of_another_service_is_refused(store: Store) {
    let server = Server::new("1", "web", None);
    store.transact(|txn| txn.put(&server)).await.unwrap();
    let part = Part { of: vec![RowRef::to::<Server>("1")], ..Part::new("disk", &[]) };
    assert!(reason(put(&store, &part).await).contains("another service"));
}

pub(super) async fn owners_and_the_walk_through_what_is_owned_are_bounded(store: Store) {
    let names: Vec<String> = (0..=OWNERS_MAX).map(|number| number.to_string()).collect();
    for name in &names {
        put(&store, &Part::new(name, &[])).await.unwrap();
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let refused = put(&store, &Part::new("many", &all)).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { limit: OWNERS_MAX, .. })), "{refused:?}");
    put(&store, &Part::new("many", &all[1..])).await.unwrap();
    store
        .transact(|txn| {
            (0..OWNED_WALK_MAX).try_for_each(|n| txn.put(&Part::new(&format!("of-{n}"), &["many"])))
        })
        .await
        .unwrap();
    // It gains nothing.
    put(&store, &Part::new("many", &all[2..])).await.unwrap();
    let refused = put(&store, &Part::new("many", &all[1..])).await.unwrap_err();
    assert!(refused.to_string().contains("many"), "{refused}");
    assert!(matches!(refused, StoreError::TooLarge { limit: OWNED_WALK_MAX, .. }));
}
