//! Tier 0's models by chance: longer ways through more troubles than can all be explored, with nodes of one row each
//! and no network.
//!
//! What happens is one of the moves that the model has, and the model judges every state. When the steps are over,
//! moves are chosen at random until all is settled.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use updraft_harness::explore::Model;

use crate::models::{
    bag::Carriage,
    image::{self, Image},
    owner::Owns,
    port::{self, Port},
    server::{self, Server},
    volume::{self, Volume},
};

use super::Steps;

/// Most steps of a case.
const STEPS_MAX: usize = 120;

/// Moves within which a model settles by chance once nothing new goes wrong, many times over.
const SETTLES_WITHIN: usize = 20_000;

/// A case: which of the moves there are is made, by counting around.
pub type Case = Steps<u16>;

/// The case of a seed.
#[must_use]
pub fn draw(seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let steps = (0..rng.random_range(10..=STEPS_MAX)).map(|_| rng.random()).collect();
    Case { seed, steps }
}

/// Runs a case.
///
/// # Panics
/// If a model says that something is wrong, or never settles.
pub fn run(case: &Case) {
    // Simulated drivers need a clock to be there; nothing runs on it.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime: {error}"),
    };
    let _entered = runtime.enter();
    let mut rng = ChaCha8Rng::seed_from_u64(case.seed);
    let carriage = carriage(&mut rng);
    match rng.random_range(0..5) {
        0 => walk(&Port { broken: None, budget: of_port(&mut rng, carriage) }, case),
        1 => walk(&of_server(&mut rng, carriage, Owns { port: true, volume: false }), case),
        2 => walk(&of_server(&mut rng, carriage, Owns { port: true, volume: true }), case),
        3 => walk(&Volume { broken: None, budget: of_volume(&mut rng, carriage) }, case),
        _ => {
            let budget = of_image(&mut rng, carriage);
            walk(&Image { broken: None, sweeps_rows_first: false, budget }, case);
        }
    }
}

fn carriage(rng: &mut ChaCha8Rng) -> Carriage {
    let mut some = || rng.random_range(0..4);
    Carriage { losses: some(), duplicates: some(), resends: some() }
}

fn of_port(rng: &mut ChaCha8Rng, carriage: Carriage) -> port::Budget {
    let mut some = || rng.random_range(0..3);
    port::Budget {
        carriage,
        binds: 2 + some(),
        changes: some(),
        deletes: 1,
        restarts: some(),
        failures: some(),
        forgets: some(),
    }
}

fn of_server(rng: &mut ChaCha8Rng, carriage: Carriage, owns: Owns) -> Server {
    let mut some = || rng.random_range(0..3);
    let budget = server::Budget {
        carriage,
        deletes: some() / 2,
        stops: some(),
        refusals: some(),
        detaches: if owns.volume { 1 } else { 0 },
        ..server::Budget::default()
    };
    Server { broken: None, forgets_settled: false, silent_is_down: false, owns, budget }
}

fn of_volume(rng: &mut ChaCha8Rng, carriage: Carriage) -> volume::Budget {
    let mut some = || rng.random_range(0..3);
    volume::Budget {
        carriage,
        deletes: some(),
        grows: some(),
        copies: 1,
        attaches: 0,
        connects: 0,
        restarts: some(),
        failures: some(),
        minutes: 1,
        days: 0,
    }
}

fn of_image(rng: &mut ChaCha8Rng, carriage: Carriage) -> image::Budget {
    let mut some = || rng.random_range(0..3);
    image::Budget {
        carriage,
        uploads: 1 + some(),
        silences: some(),
        crashes: some(),
        breaks: some(),
        deletes: 1,
        sweeps: some(),
    }
}

fn walk<M: Model>(model: &M, case: &Case) {
    let mut way = Way { model, state: model.start(), told: Vec::new() };
    for choice in &case.steps {
        way.go(usize::from(*choice));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(!case.seed);
    for _ in 0..SETTLES_WITHIN {
        if model.is_settled(&way.state) {
            return;
        }
        way.go(rng.random_range(0..usize::MAX));
    }
    panic!("all comes to rest: nothing is settled after {SETTLES_WITHIN} moves more");
}

/// A way through the states of a model.
struct Way<'m, M: Model> {
    model: &'m M,
    state: M::State,
    told: Vec<String>,
}

impl<M: Model> Way<'_, M> {
    /// Makes one of the moves that there are, if there is any.
    fn go(&mut self, choice: usize) {
        let moves = self.model.moves(&self.state);
        let Some(index) = choice.checked_rem(moves.len()) else { return };
        self.told.push(moves[index].to_string());
        self.state = self.model.after(&self.state, &moves[index]);
        if let Err(reason) = self.model.check(&self.state) {
            let reason = reason.replace(": ", ", ");
            panic!("{reason}: after\n{}", self.told.join("\n"));
        }
    }
}
