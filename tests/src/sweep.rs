//! One run of a sweep: the whole life of a server, with at most one fault, and what is to be said of it.

use serde::{Deserialize, Serialize};
use updraft_harness::world::Tier;

use crate::{
    census,
    cloud::{Client, Menu, SimCloud, Size},
    flow, invariants, life,
    points::{self, Happened, Points, Wrong},
};

/// What one run tells.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// The points it passed.
    pub points: Vec<String>,
    /// What went wrong.
    pub happened: Option<Happened>,
    /// How the simulated network carried what was to be lost, doubled or delayed.
    pub carried: Vec<String>,
    /// How the life ended.
    pub end: String,
}

/// The whole life of a server with at most one fault.
///
/// # Panics
/// If the fault is not survived as promised.
#[must_use]
pub fn run(seed: u64, target: Option<(usize, Wrong)>) -> Told {
    let points = Points::new(target);
    live(seed, &points, &points.menu(), |_| ())
}

/// The same with drivers and a database of the test's choice, and something done to the cloud in mid-life.
///
/// # Panics
/// As [`run`].
pub fn live(
    seed: u64,
    points: &Points,
    menu: &Menu,
    meanwhile: impl FnOnce(&mut SimCloud),
) -> Told {
    let mut cloud = SimCloud::start(seed, Tier::Memory, Size::default(), menu);
    let client = Client::log_in(&mut cloud);
    let have = life::prepare(&mut cloud, &client);
    let before = flow::inventory(&cloud);
    let hosts = cloud.hosts().to_vec();
    points.begin(&mut cloud, move |world| {
        let broken = invariants::broken_by_guests(&census::guests(world, &hosts));
        broken.iter().map(ToString::to_string).collect()
    });
    let lived = life::begin(&mut cloud, &client, &have);
    meanwhile(&mut cloud);
    life::rest(&mut cloud);
    life::end(&mut cloud, &client);
    life::rest(&mut cloud);
    points.end();
    cloud.world.run_for(points::DELAY);
    life::leaves_nothing(&mut cloud, &before);
    assert_eq!(points.violation(), None);
    let events = cloud.world.events();
    let carried = events.iter().filter_map(|line| verdict(line)).map(str::to_owned).collect();
    let (happened, end) = (points.happened(), format!("{lived:?}"));
    Told { points: points.names(), happened, carried, end }
}

/// What the network did to the frame of this line, if it did anything.
fn verdict(line: &str) -> Option<&str> {
    let is = |word: &&str| ["Drop", "Double", "Delay"].iter().any(|v| word.starts_with(v));
    line.split(' ').find(is)
}

impl Told {
    /// Whether what went wrong is what was to go wrong.
    pub fn judge(&self, point: &str, wrong: Wrong) -> Result<(), String> {
        let happened = self.happened.as_ref().ok_or("nothing went wrong")?;
        if happened.point != point || happened.wrong != wrong {
            return Err(format!("something else went wrong: {happened}"));
        }
        let crashed = points::must_crash(point, wrong);
        if happened.crashed.as_deref() != crashed {
            return Err(format!("{:?} crashed, not {crashed:?}", happened.crashed));
        }
        let Some(verdict) = expected_verdict(point, wrong) else { return Ok(()) };
        if self.carried.iter().any(|carried| carried.starts_with(verdict)) {
            return Ok(());
        }
        Err(format!("the network did no {verdict}: {:?}", self.carried))
    }
}

/// What the network must have done for this to have gone wrong with a message.
fn expected_verdict(point: &str, wrong: Wrong) -> Option<&'static str> {
    let elsewhere = ["commit ", "driver "];
    if elsewhere.iter().any(|kind| point.starts_with(kind)) {
        return None;
    }
    match wrong {
        Wrong::Lost => Some("Drop"),
        Wrong::Doubled => Some("Double"),
        Wrong::Delayed => Some("Delay"),
        _ => None,
    }
}
