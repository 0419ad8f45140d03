//! Rows that converge: a trip owns the rooms that are booked for it at a hotel, on another node.
//!
//! A room is booked anew before the hotel forgets it (a timer), and cancelled when its trip goes (an owner). A trip that
//! is not booked in time is given up (a deadline), here while its agency is dead and so is the hotel; a row that does
//! not settle for long is reported (an alarm). `--real`, `--quic` and `--seed NUMBER` choose where it runs.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "an example")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use updraft_harness::world::{NodeContext, World};
use updraft_runtime::{
    env::{BoxFuture, UnixMicros},
    message, protocol,
    rows::{Alarm, Engine, Kin, Kind, Owner, Owners, Owns, Plan},
    rpc::{Cx, Rpc, Service, TraceContext},
    store::{Record, RowRef, Store, StoreError, Txn},
};
use updraft_transport::NodeId;

/// What keeps rooms.
struct Hotel;
protocol!(Hotel = "hotel");

/// "Keep this room", or keep it no longer. The hotel refuses an older generation of what is wanted.
#[derive(Serialize, Deserialize)]
struct Keep {
    room: String,
    generation: u64,
    kept: bool,
}
message!(call Keep = Hotel / "keep", Fenced, from ["control"], to ["hotel"], reply (), deadline_ms 500);

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Trip {
    name: String,
    book_by: UnixMicros,
    booked: bool,
    cancelled: bool,
    given_up: bool,
}

impl Record for Trip {
    const TABLE: &'static str = "agency/trip";

    fn key(&self) -> String {
        self.name.clone()
    }
}

impl Owner for Trip {
    fn is_going(&self) -> bool {
        self.cancelled || self.given_up
    }
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Room {
    trip: String,
    number: u32,
    wanted: bool,
    /// Grows when what is wanted changes.
    generation: u64,
    booked_at: Option<UnixMicros>,
    cancelled: bool,
}

impl Record for Room {
    const TABLE: &'static str = "agency/room";

    fn key(&self) -> String {
        format!("{}-{}", self.trip, self.number)
    }

    fn owners(&self) -> Vec<RowRef> {
        vec![RowRef::to::<Trip>(&self.trip)]
    }
}

/// What the plan of a trip knows of its rooms.
#[derive(Clone, Copy, PartialEq)]
enum Rooms {
    None,
    Some,
    AllBooked,
}

struct Trips;

impl Kind for Trips {
    type Row = Trip;
    type Facts = Rooms;
    type Effect = ();
    type Learned = ();

    /// Its rooms report what they wait for; a trip that goes waits for them.
    const SETTLES_WITHIN: Option<Duration> = Some(Duration::from_secs(60));
    const KIN: &'static [Kin] = &[Kin::owned::<Room>()];

    fn facts(&self, txn: &Txn, trip: &Trip) -> Result<Rooms, StoreError> {
        let owned = txn.owned_by::<Trip>(&trip.name, usize::MAX)?;
        let rooms: Result<Vec<_>, _> = owned.iter().map(|row| txn.get::<Room>(row.key())).collect();
        Ok(match rooms?.iter().flatten().all(|room| room.booked_at.is_some()) {
            _ if owned.is_empty() => Rooms::None,
            true => Rooms::AllBooked,
            false => Rooms::Some,
        })
    }

    fn plan(trip: &Trip, rooms: &Rooms, now: UnixMicros) -> Plan<Self> {
        match (trip.is_going(), rooms) {
            (true, Rooms::None) if trip.cancelled => Plan::delete(),
            (true, Rooms::None) => Plan::settled(),
            (true, _) => Plan::wait("its rooms to be cancelled"),
            (false, _) if trip.booked => Plan::settled(),
            (false, Rooms::AllBooked) => Plan::write(Trip { booked: true, ..trip.clone() }),
            (false, _) if now >= trip.book_by => {
                Plan::write(Trip { given_up: true, ..trip.clone() })
            }
            (false, _) => Plan::wait("its rooms to be booked"),
        }
    }

    fn deadline(trip: &Trip) -> Option<UnixMicros> {
        (!trip.booked && !trip.is_going()).then_some(trip.book_by)
    }

    fn learn(_: &mut Trip, (): (), _: UnixMicros) -> bool {
        false
    }

    fn perform(&self, _: Trip, (): ()) -> BoxFuture<'static, Option<()>> {
        Box::pin(async { None })
    }
}

/// How long after a room was booked it is booked again.
const BOOK_AGAIN: Duration = Duration::from_secs(1);

struct RoomKind(Rpc);

impl Kind for RoomKind {
    type Row = Room;
    type Facts = Owners;
    /// To tell the hotel this generation of what is wanted.
    type Effect = u64;
    /// The hotel has heard it.
    type Learned = u64;

    const SETTLES_WITHIN: Option<Duration> = Some(Duration::from_secs(2));
    const KIN: &'static [Kin] = &[Kin::owner::<Trip>()];

    fn facts(&self, txn: &Txn, room: &Room) -> Result<Owners, StoreError> {
        Owners::of::<Self>(txn, room)
    }

    fn plan(room: &Room, trip: &Owners, now: UnixMicros) -> Plan<Self> {
        if room.wanted && trip.leaving().is_some() {
            let generation = room.generation + 1;
            return Plan::write(Room { wanted: false, generation, ..room.clone() });
        }
        match room.booked_at.map(|at| at.plus(BOOK_AGAIN)) {
            _ if room.cancelled => Plan::delete(),
            _ if !room.wanted => {
                Plan::act(vec![room.generation]).waiting_for("the hotel to let go of it")
            }
            Some(again) if now < again => Plan::settled().wake_at(again),
            Some(_) | None => Plan::act(vec![room.generation]).waiting_for("the hotel to keep it"),
        }
    }

    fn learn(room: &mut Room, heard: u64, now: UnixMicros) -> bool {
        let current = heard == room.generation;
        match room.wanted {
            true if current => room.booked_at = Some(now),
            false if current => room.cancelled = true,
            // The answer to what is wanted no longer.
            _ => {}
        }
        current
    }

    fn perform(&self, room: Room, generation: u64) -> BoxFuture<'static, Option<u64>> {
        let rpc = self.0.clone();
        Box::pin(async move {
            let cx = Cx::new("agency", TraceContext::default());
            let message = Keep { room: room.key(), generation, kept: room.wanted };
            rpc.client::<Hotel>().call(&message, &cx).await.is_ok().then_some(generation)
        })
    }
}

/// What the scenario asks the agency's node for.
#[derive(Clone)]
struct Agency(Store, Engine<RoomKind>);

impl Agency {
    /// Two rooms, in one transaction with the trip.
    async fn book(self, name: &'static str, within: Duration) {
        let book_by = self.0.env().wall().plus(within);
        let trip =
            Trip { name: name.into(), book_by, booked: false, cancelled: false, given_up: false };
        let room = |number| {
            let trip = name.to_owned();
            Room { trip, number, wanted: true, generation: 1, booked_at: None, cancelled: false }
        };
        let write = |txn: &mut Txn| {
            txn.insert(&trip)?;
            [1, 2].into_iter().try_for_each(|number| txn.insert(&room(number)))
        };
        self.0.transact(write).await.expect("it is written");
    }

    async fn cancel(self, name: &'static str) {
        let write = |txn: &mut Txn| {
            let trip = txn.get::<Trip>(name)?;
            trip.map_or(Ok(()), |trip| txn.put(&Trip { cancelled: true, ..trip }))
        };
        self.0.transact(write).await.expect("it is written");
    }

    /// A trip, and how many of its rooms there are.
    async fn look(self, name: &'static str) -> (Option<Trip>, usize) {
        let read =
            |txn: &Txn| Ok::<_, StoreError>((txn.get(name)?, txn.owned_by::<Trip>(name, 9)?));
        let (trip, rooms) = self.0.read(read).await.expect("it is read");
        (trip, rooms.len())
    }
}

async fn agency(node: NodeContext) {
    let (env, handles) = (node.env.clone(), node.handles());
    let store = node.disk.keep(|| Store::memory(node.env.clone()));
    node.serve(&[], |prepared| vec![prepared.directory().service()]).await;
    let Some(rpc) = handles.get::<Rpc>() else { return };
    let all: Owns = Arc::new(|_| true);
    let rooms = RoomKind(rpc.clone());
    let rooms = Engine::new(&env, store.clone(), rooms, all.clone()).shown_on(rpc.alarms());
    let trips = Engine::new(&env, store.clone(), Trips, all).shown_on(rpc.alarms());
    rooms.start();
    trips.start();
    handles.keep(|| Agency(store, rooms));
}

/// Of each room the generation that the hotel last heard, and whether it keeps the room.
type Register = Arc<Mutex<BTreeMap<String, (u64, bool)>>>;

async fn hotel(node: NodeContext) {
    let register: Register = node.disk.keep(Register::default);
    node.serve(&["agency"], |_| {
        let handlers = Service::of::<Hotel>().call(move |_, Keep { room, generation, kept }| {
            let mut register = register.lock();
            if register.get(&room).is_none_or(|(known, _)| *known <= generation) {
                register.insert(room, (generation, kept));
            }
            async { Ok(()) }
        });
        vec![handlers.into()]
    })
    .await;
}

const MINUTE: Duration = Duration::from_secs(60);

/// Goes on until this holds of a trip and the number of its rooms.
fn until(
    world: &mut World,
    agency: &NodeId,
    name: &'static str,
    holds: impl Fn(Option<&Trip>, usize) -> bool,
) {
    let seen = world.run_until(MINUTE, |world| {
        let Some(handle) = world.handle::<Agency>(agency) else { return false };
        let seen = world.on(agency, MINUTE, handle.look(name));
        seen.is_some_and(|(trip, rooms)| holds(trip.as_ref(), rooms))
    });
    assert!(seen, "{name} gets there");
}

fn alarms(world: &World, agency: &NodeId) -> Vec<Alarm> {
    world.handle::<Agency>(agency).map(|agency| agency.1.alarms()).unwrap_or_default()
}

fn main() {
    let mut world = World::from_args();
    let agency = world.node("agency", &["control"], agency);
    let hotel = world.node("hotel", &["hotel"], hotel);
    world.run_until(MINUTE, |world| world.handle::<Agency>(&agency).is_some());
    let handle = |world: &World| world.handle::<Agency>(&agency).expect("the agency runs");
    let at_agency = handle(&world);
    world.on(&agency, MINUTE, at_agency.book("rome", MINUTE)).expect("rome is written");
    until(&mut world, &agency, "rome", |trip, _| trip.is_some_and(|trip| trip.booked));

    world.crash(&hotel);
    let (at_agency, soon) = (handle(&world), Duration::from_secs(3));
    world.on(&agency, MINUTE, at_agency.book("oslo", soon)).expect("oslo is written");
    world.crash(&agency);
    world.run_for(soon);
    world.start(&agency);
    until(&mut world, &agency, "oslo", |trip, rooms| {
        trip.is_some_and(|trip| trip.given_up) && rooms == 2
    });
    let oslo = |world: &mut World| alarms(world, &agency).iter().any(|alarm| alarm.key == "oslo-1");
    assert!(world.run_until(MINUTE, oslo), "rooms that cannot be cancelled are reported");
    let alarm = alarms(&world, &agency).into_iter().find(|alarm| alarm.key == "oslo-1");
    let waits_for = alarm.expect("as was just seen").waits_for;

    world.start(&hotel);
    until(&mut world, &agency, "oslo", |trip, rooms| trip.is_some() && rooms == 0);
    let quiet = |world: &mut World| alarms(world, &agency).is_empty();
    assert!(world.run_until(MINUTE, quiet), "and reported no longer once they are");
    let at_agency = handle(&world);
    world.on(&agency, MINUTE, at_agency.cancel("rome")).expect("rome is cancelled");
    until(&mut world, &agency, "rome", |trip, rooms| trip.is_none() && rooms == 0);
    let register = world.disk(&hotel).and_then(|disk| disk.get::<Register>());
    let kept = register.map(|register| register.lock().values().filter(|(_, kept)| *kept).count());
    assert_eq!(kept, Some(0), "the hotel keeps no room");
    println!("rome was booked and cancelled; oslo was given up in time and waited for {waits_for}");
}
