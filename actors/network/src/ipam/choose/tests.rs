//! No address is ever given twice, whatever transactions run at once.

use std::{any::Any, collections::BTreeMap, time::Duration};

use proptest::{prelude::*, test_runner::TestCaseError};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use updraft_runtime::{
    Env,
    env::{BlockingWork, BoxFuture, Gone, UnixMicros, World},
    store::Store,
};

use super::*;
use crate::{
    ipam::default_pools,
    rows::{SCOPE, Standard},
};

/// A world in which nothing happens: the store of memory needs no more.
struct Still;

impl World for Still {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn wall(&self) -> UnixMicros {
        UnixMicros(0)
    }

    fn seed(&self, _stream: &'static str) -> [u8; 32] {
        [7; 32]
    }

    fn spawn(&self, _name: &'static str, _task: BoxFuture<'static, ()>) {}

    fn blocking(
        &self,
        work: BlockingWork,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send>, Gone>> {
        Box::pin(async move { Ok(work()) })
    }
}

fn subnet(cidr: &str) -> SubnetRow {
    let cidr = cidr.parse().unwrap();
    SubnetRow {
        id: Uuid::from_u128(1),
        project_id: "p".to_owned(),
        name: String::new(),
        network: Uuid::from_u128(2),
        cidr,
        gateway: None,
        pools: default_pools(cidr, None),
        enable_dhcp: true,
        dns_servers: Vec::new(),
        host_routes: Vec::new(),
        ipv6_ra_mode: None,
        ipv6_address_mode: None,
        standard: Standard::new(None, UnixMicros(0)),
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// What one of several writers does next.
#[derive(Clone, Debug)]
enum Step {
    /// It begins a transaction, chooses an address for a new port, and does not commit yet.
    Choose,
    /// The same with this host number of the subnet.
    Take(u8),
    /// The same, giving back the address of the port that has had one for longest.
    GiveBack,
    /// It commits what it began; a conflict is the end of that.
    Commit,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        4 => Just(Step::Choose),
        2 => (1_u8..15).prop_map(Step::Take),
        1 => Just(Step::GiveBack),
        6 => Just(Step::Commit),
    ];
    (0_usize..4, step)
}

/// What a writer's transaction would change, by port.
#[derive(Clone, Copy)]
enum Change {
    Given(Uuid, IpAddr),
    Returned(Uuid),
}

#[derive(Default)]
struct Model {
    holders: BTreeMap<Uuid, IpAddr>,
    conflicts: usize,
    last_port: u128,
}

impl Model {
    fn port(&mut self) -> Uuid {
        self.last_port += 1;
        Uuid::from_u128(1_000 + self.last_port)
    }

    fn commit(&mut self, change: Change) -> Result<(), TestCaseError> {
        match change {
            Change::Given(port, address) => {
                let twice = self.holders.iter().find(|(_, held)| **held == address);
                prop_assert!(twice.is_none(), "{address} was given to {port} and to {twice:?}");
                self.holders.insert(port, address);
            }
            Change::Returned(port) => {
                self.holders.remove(&port);
            }
        }
        Ok(())
    }
}

async fn begin(
    store: &Store,
    model: &mut Model,
    rng: &mut ChaCha8Rng,
    subnet: &SubnetRow,
    step: Step,
) -> Option<(Txn, Change)> {
    let mut txn = store.begin().await.unwrap();
    match step {
        Step::Choose => {
            let port = model.port();
            let address = choose(&mut txn, rng, subnet, port).unwrap()?;
            Some((txn, Change::Given(port, address)))
        }
        Step::Take(host) => {
            let (port, address) = (model.port(), subnet.pools[0].nth(u128::from(host) - 1));
            take(&mut txn, subnet.id, address, port).ok()?;
            Some((txn, Change::Given(port, address)))
        }
        Step::GiveBack => {
            let (port, address) = model.holders.first_key_value()?;
            release(&mut txn, subnet.id, *address, *port).unwrap();
            Some((txn, Change::Returned(*port)))
        }
        Step::Commit => None,
    }
}

async fn all(steps: Vec<(usize, Step)>, seed: u64) -> Result<usize, TestCaseError> {
    let store = Store::memory(Env::new(Still)).scoped(SCOPE);
    let (subnet, mut model) = (subnet("10.0.0.0/28"), Model::default());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut open: [Option<(Txn, Change)>; 4] = [None, None, None, None];
    for (writer, step) in steps {
        let begun = matches!(step, Step::Commit).then(|| open[writer].take()).flatten();
        let Some((txn, change)) = begun else {
            if open[writer].is_none() {
                open[writer] = begin(&store, &mut model, &mut rng, &subnet, step).await;
            }
            continue;
        };
        match txn.commit().await {
            Ok(_) => model.commit(change)?,
            Err(StoreError::Conflict) => model.conflicts += 1,
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }
    let txn = store.begin().await.unwrap();
    let rows = txn.find::<AllocationRow>("subnet", &subnet.id.to_string()).unwrap();
    let stored: BTreeMap<Uuid, IpAddr> =
        rows.into_iter().map(|row| (row.port, row.address)).collect();
    prop_assert_eq!(stored, model.holders);
    Ok(model.conflicts)
}

proptest! {
    #[test]
    fn transactions_that_overlap_never_share_an_address(
        steps in prop::collection::vec(step(), 0..120),
        seed in any::<u64>(),
    ) {
        run(all(steps, seed))?;
    }
}

/// The property would hold without effect if nothing ever clashed.
#[test]
fn two_who_take_the_same_address_at_once_conflict() {
    let steps = vec![(0, Step::Take(3)), (1, Step::Take(3)), (0, Step::Commit), (1, Step::Commit)];
    assert_eq!(run(all(steps, 1)).unwrap(), 1);
}

#[test]
fn every_address_of_a_subnet_is_given_once_before_there_is_none() {
    run(async {
        let store = Store::memory(Env::new(Still)).scoped(SCOPE);
        let (subnet, mut rng) = (subnet("10.0.0.0/27"), ChaCha8Rng::seed_from_u64(3));
        let mut given = BTreeSet::new();
        for port in 0..30 {
            let mut txn = store.begin().await.unwrap();
            let address = choose(&mut txn, &mut rng, &subnet, Uuid::from_u128(port)).unwrap();
            assert!(given.insert(address.expect("there are 30")), "{address:?} came twice");
            txn.commit().await.unwrap();
        }
        let mut txn = store.begin().await.unwrap();
        let none = choose(&mut txn, &mut rng, &subnet, Uuid::from_u128(99)).unwrap();
        assert_eq!(none, None);
    });
}

#[test]
fn an_address_is_taken_back_from_its_holder_alone() {
    run(async {
        let store = Store::memory(Env::new(Still)).scoped(SCOPE);
        let (subnet, address) = (Uuid::from_u128(1), IpAddr::from([10, 0, 0, 9]));
        let mut txn = store.begin().await.unwrap();
        take(&mut txn, subnet, address, Uuid::from_u128(5)).unwrap();
        release(&mut txn, subnet, address, Uuid::from_u128(6)).unwrap();
        let error = take(&mut txn, subnet, address, Uuid::from_u128(6)).unwrap_err();
        assert_eq!(error.name(), Some("IpAddressAlreadyAllocated"));
        release(&mut txn, subnet, address, Uuid::from_u128(5)).unwrap();
        take(&mut txn, subnet, address, Uuid::from_u128(6)).unwrap();
    });
}
