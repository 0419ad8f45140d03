//! A shop: orders own items, which are made and unmade in a kitchen. The shop's world watches in every tick that no
//! order goes before its items, and no item before what was made for it.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use updraft_harness::world::{NodeContext, World};
use updraft_runtime::{
    Env,
    env::{BoxFuture, UnixMicros},
    rows::{Alarm, Engine, Kin, Kind, Owner, Owners, Plan},
    store::{CommitFate, Record, RowRef, Store, StoreError, StoreFaults, Txn},
};
use updraft_transport::NodeId;

/// How long an order or an item may take.
pub(crate) const SETTLES_WITHIN: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) name: String,
    pub(crate) dishes: Vec<String>,
    pub(crate) deadline: Option<UnixMicros>,
    pub(crate) cancelled: bool,
    pub(crate) failed: bool,
    /// Its items are written.
    pub(crate) begun: bool,
    pub(crate) ready: bool,
}

impl Order {
    pub(crate) fn new(name: &str, dishes: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            dishes: dishes.iter().map(ToString::to_string).collect(),
            deadline: None,
            cancelled: false,
            failed: false,
            begun: false,
            ready: false,
        }
    }
}

impl Record for Order {
    const TABLE: &'static str = "shop/order";

    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Owner for Order {
    fn is_going(&self) -> bool {
        self.cancelled || self.failed
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) order: String,
    pub(crate) dish: String,
    /// It shall be.
    pub(crate) wanted: bool,
    /// It may be in the kitchen; said before it is begun.
    pub(crate) made: bool,
    pub(crate) done: bool,
}

impl Record for Item {
    const TABLE: &'static str = "shop/item";

    fn key(&self) -> String {
        format!("{}/{}", self.order, self.dish)
    }

    fn owners(&self) -> Vec<RowRef> {
        vec![RowRef::to::<Order>(&self.order)]
    }
}

/// What is made, and what cannot be made or unmade now.
#[derive(Clone, Default)]
struct Kitchen {
    made: Arc<Mutex<BTreeSet<String>>>,
    sold_out: Arc<Mutex<BTreeSet<String>>>,
    /// The fence: what was unmade is not made by whoever comes late.
    unmade: Arc<Mutex<BTreeSet<String>>>,
}

impl Kitchen {
    /// Says whether it was done.
    fn work(&self, item: &Item, work: &Work) -> bool {
        if self.sold_out.lock().contains(&item.dish) {
            return false;
        }
        if *work == Work::Unmake {
            self.unmade.lock().insert(item.key());
            self.made.lock().remove(&item.dish);
        } else if !self.unmade.lock().contains(&item.key()) {
            self.made.lock().insert(item.dish.clone());
        }
        true
    }
}

struct Orders {
    store: Store,
}

struct OrderFacts {
    owns: bool,
    all_done: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Begin;

impl Kind for Orders {
    type Row = Order;
    type Facts = OrderFacts;
    type Effect = Begin;
    type Learned = ();

    const SETTLES_WITHIN: Option<Duration> = Some(SETTLES_WITHIN);
    const KIN: &'static [Kin] = &[Kin::owned::<Item>()];

    fn facts(&self, txn: &Txn, order: &Order) -> Result<OrderFacts, StoreError> {
        let owned = txn.owned_by::<Order>(&order.name, usize::MAX)?;
        let items: Result<Vec<_>, _> = owned.iter().map(|row| txn.get::<Item>(row.key())).collect();
        let all_done = items?.iter().flatten().all(|item| item.done);
        Ok(OrderFacts { owns: !owned.is_empty(), all_done })
    }

    fn plan(order: &Order, facts: &OrderFacts, now: UnixMicros) -> Plan<Self> {
        if order.is_going() {
            return match facts.owns {
                true => Plan::wait("its items to go"),
                false if order.cancelled => Plan::delete(),
                false => Plan::settled(),
            };
        }
        if order.ready {
            return Plan::settled();
        }
        if order.deadline.is_some_and(|deadline| now >= deadline) {
            return Plan::write(Order { failed: true, ..order.clone() });
        }
        match (order.begun, facts.all_done) {
            (false, _) => Plan::act(vec![Begin]),
            (true, true) => Plan::write(Order { ready: true, ..order.clone() }),
            // What the order waits for is told by its items.
            (true, false) => Plan::settled(),
        }
    }

    fn deadline(order: &Order) -> Option<UnixMicros> {
        order.deadline.filter(|_| !order.is_going() && !order.ready)
    }

    fn learn(order: &mut Order, (): (), _: UnixMicros) -> bool {
        !std::mem::replace(&mut order.begun, true)
    }

    /// Writes the items, each on its own, so that the order may go in between.
    fn perform(&self, order: Order, Begin: Begin) -> BoxFuture<'static, Option<()>> {
        let store = self.store.clone();
        Box::pin(async move {
            for dish in &order.dishes {
                store.env().sleep(Duration::from_millis(10)).await;
                let (order, dish) = (order.name.clone(), dish.clone());
                let item = Item { order, dish, wanted: true, made: false, done: false };
                match store.transact(|txn| txn.insert(&item)).await {
                    Ok(()) | Err(StoreError::Exists { .. }) => {}
                    Err(_) => return None,
                }
            }
            Some(())
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Work {
    Make,
    Unmake,
}

struct Items {
    kitchen: Kitchen,
    env: Env,
}

impl Kind for Items {
    type Row = Item;
    type Facts = Owners;
    type Effect = Work;
    type Learned = Work;

    const SETTLES_WITHIN: Option<Duration> = Some(SETTLES_WITHIN);
    const KIN: &'static [Kin] = &[Kin::owner::<Order>()];

    fn facts(&self, txn: &Txn, item: &Item) -> Result<Owners, StoreError> {
        Owners::of::<Self>(txn, item)
    }

    fn plan(item: &Item, owners: &Owners, _: UnixMicros) -> Plan<Self> {
        match (item.wanted, item.made, item.done) {
            (true, ..) if owners.leaving().is_some() => {
                Plan::write(Item { wanted: false, done: false, ..item.clone() })
            }
            (true, false, _) => Plan::write(Item { made: true, ..item.clone() }),
            (true, true, false) => Plan::act(vec![Work::Make]),
            (true, true, true) => Plan::settled(),
            (false, true, _) => Plan::act(vec![Work::Unmake]),
            (false, false, _) => Plan::delete(),
        }
    }

    fn learn(item: &mut Item, done: Work, _: UnixMicros) -> bool {
        let before = item.clone();
        match done {
            Work::Make if item.wanted => item.done = true,
            Work::Unmake if !item.wanted => item.made = false,
            // Of a want that is over.
            Work::Make | Work::Unmake => {}
        }
        *item != before
    }

    fn perform(&self, item: Item, work: Work) -> BoxFuture<'static, Option<Work>> {
        let (kitchen, env) = (self.kitchen.clone(), self.env.clone());
        Box::pin(async move {
            let done = kitchen.work(&item, &work);
            env.sleep(Duration::from_millis(5)).await;
            done.then_some(work)
        })
    }
}

/// What goes wrong at a commit of the engines.
#[derive(Default)]
struct Trouble {
    commits: AtomicUsize,
    planned: Mutex<Option<(usize, CommitFate, bool)>>,
    /// The node whose commit it was is to crash.
    crash: Mutex<Option<String>>,
}

struct OfNode(String, Arc<Trouble>);

impl StoreFaults for OfNode {
    fn on_commit(&self, _: &[Arc<str>]) -> CommitFate {
        let Self(node, trouble) = self;
        if trouble.crash.lock().as_ref() == Some(node) {
            return CommitFate::UnknownNotApplied;
        }
        let number = trouble.commits.fetch_add(1, Ordering::Relaxed) + 1;
        match *trouble.planned.lock() {
            Some((at, fate, crash)) if at == number => {
                if crash {
                    *trouble.crash.lock() = Some(node.clone());
                }
                fate
            }
            _ => CommitFate::Proceed,
        }
    }
}

/// What the engines of a node are asked for.
#[derive(Clone)]
struct Engines(Engine<Orders>, Engine<Items>);

/// What there is at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Now {
    pub(crate) orders: Vec<Order>,
    pub(crate) items: Vec<Item>,
    pub(crate) made: Vec<String>,
}

impl Now {
    pub(crate) fn order(&self, name: &str) -> Option<&Order> {
        self.orders.iter().find(|order| order.name == name)
    }

    /// No order goes before its items, and no item before what was made for it.
    fn check(&self, orphans: bool) {
        for item in &self.items {
            assert!(orphans || self.order(&item.order).is_some(), "an orphan: {self:?}");
        }
        for dish in &self.made {
            let of = self.items.iter().find(|item| item.dish == *dish);
            assert!(of.is_some_and(|item| item.made), "{dish} was forgotten: {self:?}");
        }
    }
}

/// The shop in its world. A node of its own, `desk`, takes orders and never crashes.
pub(crate) struct Shop {
    pub(crate) world: World,
    kitchen: Kitchen,
    database: Arc<OnceLock<Store>>,
    trouble: Arc<Trouble>,
    /// An order was deleted by hand, before its items.
    orphans: bool,
}

impl Shop {
    pub(crate) fn open(seed: u64, nodes: &[&str]) -> Self {
        let (kitchen, trouble) = (Kitchen::default(), Arc::<Trouble>::default());
        let database: Arc<OnceLock<Store>> = Arc::default();
        let mut world = World::new(seed);
        let made = database.clone();
        world.node("desk", &["control"], move |node| {
            made.get_or_init(|| Store::memory(node.env.clone()));
            async {}
        });
        world.run_until(Duration::from_secs(1), |_| database.get().is_some());
        for name in nodes {
            let (store, kitchen, trouble) =
                (database.get().unwrap().clone(), kitchen.clone(), trouble.clone());
            world.node(name, &["control"], move |node| {
                serve(&node, &store, &kitchen, &trouble);
                async {}
            });
        }
        let mut shop = Self { world, kitchen, database, trouble, orphans: false };
        shop.world.run_for(Duration::from_millis(10));
        shop.trouble.commits.store(0, Ordering::Relaxed);
        shop
    }

    pub(crate) fn store(&self) -> Store {
        self.database.get().unwrap().clone()
    }

    pub(crate) fn on_store<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.world.on(&id("desk"), Duration::from_secs(5), work).unwrap()
    }

    pub(crate) fn with_store<T: Send + 'static>(
        &mut self,
        mut work: impl FnMut(&mut Txn) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        let store = self.store();
        self.on_store(async move { store.transact(|txn| work(txn)).await.unwrap() })
    }

    pub(crate) fn order(&mut self, order: Order) {
        self.with_store(move |txn| txn.insert(&order));
    }

    pub(crate) fn cancel(&mut self, name: &'static str) {
        self.with_store(move |txn| {
            let order = txn.get::<Order>(name)?.unwrap();
            txn.put(&Order { cancelled: true, ..order })
        });
    }

    /// Deletes an order that does not wait for what it owns.
    pub(crate) fn delete_order(&mut self, name: &'static str) {
        self.orphans = true;
        self.with_store(move |txn| txn.delete::<Order>(name).map(drop));
    }

    pub(crate) fn sell_out(&self, dish: &str) {
        self.kitchen.sold_out.lock().insert(dish.to_owned());
    }

    pub(crate) fn restock(&self, dish: &str) {
        self.kitchen.sold_out.lock().remove(dish);
    }

    pub(crate) fn crash(&mut self, node: &str) {
        self.world.crash(&id(node));
    }

    pub(crate) fn start(&mut self, node: &str) {
        self.world.start(&id(node));
    }

    /// At the engines' commit of this number, this happens, and its node crashes if it shall.
    pub(crate) fn trouble(&self, at: usize, fate: CommitFate, crash: bool) {
        *self.trouble.planned.lock() = Some((at, fate, crash));
    }

    pub(crate) fn commits(&self) -> usize {
        self.trouble.commits.load(Ordering::Relaxed)
    }

    pub(crate) fn alarms(&self, node: &str) -> Vec<Alarm> {
        self.world.handle::<Engines>(&id(node)).unwrap().1.alarms()
    }

    pub(crate) fn order_alarms(&self, node: &str) -> Vec<Alarm> {
        self.world.handle::<Engines>(&id(node)).unwrap().0.alarms()
    }

    pub(crate) fn look(&mut self) -> Now {
        let kitchen = self.kitchen.clone();
        self.with_store(move |txn| {
            let (orders, items) = (txn.scan(None, usize::MAX)?, txn.scan(None, usize::MAX)?);
            Ok(Now { orders, items, made: kitchen.made.lock().iter().cloned().collect() })
        })
    }

    /// Goes on until this holds; what shall crash crashes on the way, and is started again.
    pub(crate) fn settles(&mut self, limit: Duration, holds: impl Fn(&Now) -> bool) -> bool {
        let end = self.world.now() + limit;
        loop {
            let down = self.trouble.crash.lock().take();
            if let Some(node) = down {
                self.crash(&node);
                self.start(&node);
            }
            let now = self.look();
            now.check(self.orphans);
            if holds(&now) {
                return true;
            }
            if self.world.now() >= end {
                return false;
            }
            self.world.step();
        }
    }
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn serve(node: &NodeContext, store: &Store, kitchen: &Kitchen, trouble: &Arc<Trouble>) {
    let env = node.env.clone();
    let faults = OfNode(node.node().to_string(), trouble.clone());
    let store = store.clone().scoped("shop/").with_faults(Arc::new(faults));
    let owns: updraft_runtime::rows::Owns = Arc::new(|_| true);
    let orders = Engine::new(&env, store.clone(), Orders { store: store.clone() }, owns.clone());
    let items = Items { kitchen: kitchen.clone(), env: env.clone() };
    let items = Engine::new(&env, store, items, owns);
    orders.start();
    items.start();
    node.handles().keep(|| Engines(orders.clone(), items.clone()));
}
