//! The memory against a model of it in the standard library's trees, over whatever order messages come and end in.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What is known of one sender, as the module describes it.
#[derive(Default)]
struct Model {
    under_way: BTreeSet<u64>,
    begun: BTreeSet<u64>,
    answers: BTreeMap<u64, Bytes>,
    floor: u64,
    refused: BTreeSet<u64>,
    refused_floor: u64,
}

impl Model {
    fn begin(&mut self, id: u64, keep: Keep) -> Seen {
        if self.under_way.contains(&id) {
            return Seen::Again;
        }
        if let Some(answer) = self.answers.get(&id) {
            return Seen::Answered(answer.clone());
        }
        match keep {
            Keep::UnderWay => {}
            Keep::Begun | Keep::Refused if self.begun.contains(&id) => return Seen::Again,
            Keep::Begun if self.refused.contains(&id) => return Seen::Again,
            Keep::Answer if self.begun.contains(&id) => return Seen::Forgotten,
            _ if id <= self.floor => return Seen::Forgotten,
            Keep::Begun if id <= self.refused_floor => return Seen::Forgotten,
            Keep::Refused => {}
            _ => self.remember(id),
        }
        self.under_way.insert(id);
        Seen::New
    }

    fn remember(&mut self, id: u64) {
        self.begun.insert(id);
        if self.begun.len() > REMEMBERED_PER_SENDER {
            let oldest = self.begun.pop_first().unwrap();
            self.floor = self.floor.max(oldest);
            self.answers.remove(&oldest);
        }
    }

    fn ended(&mut self, id: u64, keep: Keep, answer: &Bytes) {
        self.under_way.remove(&id);
        let fits = answer.len() <= ANSWER_MAX_BYTES && self.begun.contains(&id);
        if keep == Keep::Answer && fits {
            self.answers.insert(id, answer.clone());
        }
        while self.answers.values().map(Bytes::len).sum::<usize>() > ANSWERS_PER_SENDER_MAX_BYTES {
            self.answers.pop_first();
        }
    }

    fn remember_refused(&mut self, id: u64) {
        self.refused.insert(id);
        if self.refused.len() > REMEMBERED_PER_SENDER {
            let oldest = self.refused.pop_first().unwrap();
            self.refused_floor = self.refused_floor.max(oldest);
        }
    }

    fn forget(&mut self, id: u64, keep: Keep) {
        self.under_way.remove(&id);
        match keep {
            Keep::Begun => {}
            Keep::Refused => self.remember_refused(id),
            Keep::UnderWay | Keep::Answer => drop(self.begun.remove(&id)),
        }
    }
}

/// What happens to a message.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It comes, for the first time or again.
    Comes,
    /// It ends with an answer of so many bytes.
    Ends(usize),
    /// Nobody carries it out.
    IsForgotten,
}

fn step() -> impl Strategy<Value = (u64, Keep, Step)> {
    // Around the oldest that is still remembered, and beyond the newest.
    let newest = REMEMBERED_PER_SENDER as u64;
    let id = prop_oneof![0..24_u64, newest - 8..newest + 8];
    let keep = prop_oneof![
        Just(Keep::UnderWay),
        Just(Keep::Begun),
        Just(Keep::Answer),
        Just(Keep::Refused)
    ];
    let step = prop_oneof![
        3 => Just(Step::Comes),
        2 => (0..=ANSWER_MAX_BYTES + 1).prop_map(Step::Ends),
        1 => Just(Step::IsForgotten),
    ];
    (id, keep, step)
}

proptest! {
    #[test]
    fn it_knows_what_the_model_knows(steps in prop::collection::vec(step(), 1..200)) {
        let mut memory = Memory::default();
        let mut model = Model::default();
        // Full but for a few, with gaps: a sender counts its messages to all nodes together.
        for id in (4..REMEMBERED_PER_SENDER as u64).filter(|id| *id > 20 || id % 3 == 0) {
            prop_assert_eq!(memory.begin(&mark(id, Keep::Begun), START), model.begin(id, Keep::Begun));
            memory.ended(&mark(id, Keep::Begun), &YES);
            model.ended(id, Keep::Begun, &YES);
        }
        for (id, keep, step) in steps {
            let mark = mark(id, keep);
            match step {
                Step::Comes => prop_assert_eq!(memory.begin(&mark, START), model.begin(id, keep)),
                // Only what was begun ends, and once.
                _ if !model.under_way.contains(&id) => {}
                Step::Ends(bytes) => {
                    let answer = Bytes::from(vec![7; bytes]);
                    memory.ended(&mark, &answer);
                    model.ended(id, keep, &answer);
                }
                Step::IsForgotten => {
                    memory.forget(&mark);
                    model.forget(id, keep);
                }
            }
        }
    }
}
