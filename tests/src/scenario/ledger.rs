//! A ledger in one database that several nodes write at once: every transaction must have seen what it could have seen had
//! all been made one after the other, in an order that no node's clock contradicts.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use proptest::{collection, prelude::*};
use serde::{Deserialize, Serialize};
use updraft_harness::{
    campaign::{Options, Run, Scenario},
    fault::{FaultKind, Targets},
    history::{Called, History, Spec},
    world::World,
};
use updraft_runtime::store::{Record, Store, StoreError, Txn};
use updraft_transport::NodeId;

use super::Case;

/// Most transactions of a case.
const ASKS_MAX: usize = 60;

/// For how long things go wrong.
const FAULTS_MAX: Duration = Duration::from_secs(2);

/// How long a transaction may take when everything goes wrong.
const SETTLES: Duration = Duration::from_secs(60);

const NODES: [&str; 3] = ["one", "two", "three"];

/// What goes wrong with a database, and with the nodes that use it.
const KINDS: [FaultKind; 9] = [
    FaultKind::DatabaseAway,
    FaultKind::LostBeforeCommit,
    FaultKind::UnknownNotApplied,
    FaultKind::UnknownApplied,
    FaultKind::Conflict,
    FaultKind::SlowCommit,
    FaultKind::Crash,
    FaultKind::Pause,
    FaultKind::Slow,
];

/// How many accounts there are.
const ACCOUNTS: usize = 4;

/// The scenario.
pub struct Ledger;

/// A transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// How long after the one before it, in milliseconds.
    pub after_ms: u8,
    /// By which node.
    pub node: u8,
    /// What.
    pub act: Act,
}

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Moves so much from one account to another.
    Move(u8, u8, u8),
    /// The same by balances that are looked up before, in a transaction of their own. Never drawn: it is there to show that
    /// the check fails.
    MoveCarelessly(u8, u8, u8),
    /// Reads all accounts.
    Audit,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after_ms, node, act } = self;
        write!(f, "after {after_ms} ms, node {node}: {act:?}")
    }
}

impl Scenario for Ledger {
    type Case = Case<Ask>;

    fn name(&self) -> &'static str {
        "ledger"
    }

    fn about(&self) -> &'static str {
        "nodes move sums between accounts of one database, and what each has seen has an order"
    }

    fn faults(&self) -> Vec<&'static str> {
        KINDS.iter().map(|kind| kind.name()).collect()
    }

    fn marks(&self) -> &'static [&'static str] {
        &["moved", "not moved", "moved or not"]
    }

    fn covers(&self) -> &'static [&'static str] {
        &["updraft_runtime::store"]
    }

    fn draw(&self, seed: u64, options: &Options) -> Case<Ask> {
        Case::draw(seed, options, &collection::vec(ask(), 10..=ASKS_MAX), targets())
    }

    fn run(&self, case: &Case<Ask>, run: &Run) {
        let mut world = World::on_tier(case.seed, run.tier());
        let shared = Shared::default();
        let nodes = NODES.map(|name| shared.node(&mut world, name));
        world.run_for(Duration::from_millis(10));
        let faults = case.faults.clone().later(world.now());
        let over = faults.ends();
        world.follow(faults);
        let clerks = Clerks { history: History::default(), run: run.clone() };
        for (number, ask) in case.steps.iter().enumerate() {
            world.run_for(Duration::from_millis(ask.after_ms.into()));
            world.tell_step(ask);
            clerks.begin(&mut world, &nodes[usize::from(ask.node)], number, ask.act);
        }
        world.run_for(over.saturating_sub(world.now()) + SETTLES);
        clerks.begin(&mut world, &nodes[0], case.steps.len(), Act::Audit);
        world.run_for(Duration::from_secs(1));
        if let Err(wrong) = clerks.history.check(&[0; ACCOUNTS]) {
            run.violated("what transactions see has an order", &wrong.to_string());
        }
        for (kind, times) in world.struck() {
            run.struck(&kind.to_string(), times);
        }
    }

    fn smaller(&self, case: &Case<Ask>) -> Vec<Case<Ask>> {
        case.smaller(&targets())
    }
}

fn targets() -> Targets {
    Targets { kinds: KINDS.to_vec(), ..Targets::new(&NODES, FAULTS_MAX) }
}

fn ask() -> impl Strategy<Value = Ask> {
    let account = || (0..ACCOUNTS).prop_map(account);
    let act = prop_oneof![
        4 => (account(), account(), 1..9_u8).prop_map(|(from, to, sum)| Act::Move(from, to, sum)),
        1 => Just(Act::Audit),
    ];
    let after_ms = prop_oneof![4 => 0..5_u8, 1 => any::<u8>()];
    (after_ms, 0..3_u8, act).prop_map(|(after_ms, node, act)| Ask { after_ms, node, act })
}

/// The accounts, one after the other: a transaction returns all that it has read.
struct Accounts;

impl Spec for Accounts {
    type State = [i64; ACCOUNTS];
    type Op = Act;
    type Return = Vec<i64>;

    fn apply(state: &mut [i64; ACCOUNTS], op: &Act) -> Vec<i64> {
        let before = *state;
        match op {
            Act::Audit => before.to_vec(),
            Act::Move(from, to, sum) | Act::MoveCarelessly(from, to, sum) => {
                state[usize::from(*from)] -= i64::from(*sum);
                state[usize::from(*to)] += i64::from(*sum);
                vec![before[usize::from(*from)], before[usize::from(*to)]]
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    number: u8,
    balance: i64,
}

impl Record for Account {
    const TABLE: &'static str = "ledger/account";

    fn key(&self) -> String {
        self.number.to_string()
    }
}

/// The database, which the first node that needs it makes.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Option<Store>>>);

impl Shared {
    fn node(&self, world: &mut World, name: &str) -> NodeId {
        let shared = self.clone();
        world.node(name, &["control"], move |context| {
            let env = context.env.clone();
            let store = shared.0.lock().get_or_insert_with(|| Store::memory(env)).clone();
            let store = store.with_faults(context.store_faults());
            let handles = context.handles();
            async move {
                handles.keep(|| store);
            }
        })
    }
}

fn balance(txn: &Txn, number: u8) -> Result<i64, StoreError> {
    Ok(txn.get::<Account>(&number.to_string())?.map_or(0, |account| account.balance))
}

fn account(number: usize) -> u8 {
    u8::try_from(number).unwrap_or_default()
}

/// Those who write the ledger.
#[derive(Clone)]
struct Clerks {
    history: History<Accounts>,
    run: Run,
}

impl Clerks {
    /// Begins a transaction on a node, if it runs.
    fn begin(&self, world: &mut World, node: &NodeId, number: usize, act: Act) {
        let Some(store) = world.handle::<Store>(node) else { return };
        let called = self.history.call(&format!("{number} by {node}"), act);
        let clerk = self.clone();
        let task = async move {
            let seen = match act {
                Act::Audit => audit(&store).await,
                Act::Move(from, to, sum) => moved(&store, (from, to), sum, None).await,
                Act::MoveCarelessly(from, to, sum) => match balances(&store, from, to).await {
                    Ok(known) => moved(&store, (from, to), sum, Some(known)).await,
                    Err(error) => Err(error),
                },
            };
            clerk.note(called, act, seen);
        };
        // What a node that crashes would have heard, nobody knows.
        let _ = world.begin(node, task);
    }

    fn note(&self, called: Called, act: Act, seen: Result<Vec<i64>, StoreError>) {
        let moves = act != Act::Audit;
        match seen {
            Ok(seen) => {
                self.run.reached(if moves { "moved" } else { "audited" });
                self.history.returns(called, seen);
            }
            Err(StoreError::Unknown) => {
                self.run.reached("moved or not");
                self.history.unknown(called);
            }
            Err(_) => {
                self.run.reached(if moves { "not moved" } else { "not audited" });
                self.history.refused(called);
            }
        }
    }
}

async fn audit(store: &Store) -> Result<Vec<i64>, StoreError> {
    let all = |txn: &Txn| (0..ACCOUNTS).map(|number| balance(txn, account(number))).collect();
    store.read(all).await
}

fn both(txn: &Txn, (from, to): (u8, u8)) -> Result<Vec<i64>, StoreError> {
    Ok(vec![balance(txn, from)?, balance(txn, to)?])
}

async fn balances(store: &Store, from: u8, to: u8) -> Result<Vec<i64>, StoreError> {
    store.read(|txn| both(txn, (from, to))).await
}

/// Moves a sum by what it finds, or by what is known.
async fn moved(
    store: &Store,
    (from, to): (u8, u8),
    sum: u8,
    known: Option<Vec<i64>>,
) -> Result<Vec<i64>, StoreError> {
    let change = |txn: &mut Txn| {
        let before = match &known {
            Some(known) => known.clone(),
            None => both(txn, (from, to))?,
        };
        let less = before[0] - i64::from(sum);
        txn.put(&Account { number: from, balance: less })?;
        let rest = if from == to { less } else { before[1] };
        txn.put(&Account { number: to, balance: rest + i64::from(sum) })?;
        Ok(before)
    };
    store.transact(change).await
}
