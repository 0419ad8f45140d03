//! Plans for proptest: drawn by a [`Swarm`], and simplified by [`reductions`].

use proptest::{
    num,
    strategy::{NewTree, Strategy, ValueTree},
    test_runner::TestRunner,
};

use super::{FaultPlan, Swarm, Targets, reductions};

/// Draws plans for these.
#[must_use]
pub fn plans(targets: Targets) -> Plans {
    Plans { targets }
}

/// A strategy for plans.
#[derive(Clone, Debug)]
pub struct Plans {
    targets: Targets,
}

impl Strategy for Plans {
    type Tree = PlanTree;
    type Value = FaultPlan;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let seed = num::u64::ANY.new_tree(runner)?.current();
        let plan = Swarm::draw(seed, &self.targets);
        Ok(PlanTree::new(plan, self.targets.clone()))
    }
}

/// A plan, and what is less than it.
#[derive(Clone, Debug)]
pub struct PlanTree {
    targets: Targets,
    /// The least that is known to fail.
    known: FaultPlan,
    current: FaultPlan,
    /// What is to be tried yet instead of `known`, the next last.
    untried: Vec<FaultPlan>,
}

impl PlanTree {
    fn new(plan: FaultPlan, targets: Targets) -> Self {
        let untried = less(&plan, &targets);
        Self { targets, known: plan.clone(), current: plan, untried }
    }

    fn try_next(&mut self) -> bool {
        let next = self.untried.pop();
        let tries = next.is_some();
        self.current = next.unwrap_or_else(|| self.known.clone());
        tries
    }
}

fn less(plan: &FaultPlan, targets: &Targets) -> Vec<FaultPlan> {
    let mut less = reductions(plan, targets);
    less.reverse();
    less
}

impl ValueTree for PlanTree {
    type Value = FaultPlan;

    fn current(&self) -> FaultPlan {
        self.current.clone()
    }

    fn simplify(&mut self) -> bool {
        if self.current != self.known {
            self.known = self.current.clone();
            self.untried = less(&self.known, &self.targets);
        }
        self.try_next()
    }

    fn complicate(&mut self) -> bool {
        self.try_next()
    }
}
