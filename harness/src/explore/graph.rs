//! Which state came from which by which move: eight bytes a state and eight a move.

/// The states met so far, by number, and the moves between them.
#[derive(Default)]
pub(super) struct Graph {
    /// Where each state was first met from, and by which of the moves there; the first state has none.
    parents: Vec<(u32, u32)>,
    /// Every further move: from, to.
    others: Vec<(u32, u32)>,
}

impl Graph {
    pub(super) fn len(&self) -> usize {
        self.parents.len()
    }

    /// Adds a state met by the `nth` move from another; `None` if there are too many to number.
    pub(super) fn add(&mut self, from: Option<(u32, u32)>) -> Option<u32> {
        let index = u32::try_from(self.parents.len()).ok()?;
        self.parents.push(from.unwrap_or((index, 0)));
        Some(index)
    }

    /// A move between states that are both known.
    pub(super) fn meet(&mut self, from: u32, to: u32) {
        self.others.push((from, to));
    }

    /// Which of the moves to take, one after the other, to come to a state.
    pub(super) fn path(&self, mut index: u32) -> Vec<u32> {
        let mut moves = Vec::new();
        loop {
            let (parent, nth) = self.parents[index as usize];
            if parent == index {
                moves.reverse();
                return moves;
            }
            moves.push(nth);
            index = parent;
        }
    }

    /// The states from which no move leads, in the end, to one of these.
    pub(super) fn cannot_reach(&self, goals: &[u32]) -> Vec<u32> {
        let (starts, froms) = self.backwards();
        let mut can = vec![false; self.len()];
        let mut stack = goals.to_vec();
        while let Some(index) = stack.pop() {
            if !std::mem::replace(&mut can[index as usize], true) {
                let index = index as usize;
                stack.extend(&froms[starts[index]..starts[index + 1]]);
            }
        }
        (0_u32..).zip(can).filter(|(_, can)| !can).map(|(index, _)| index).collect()
    }

    /// All moves by where they lead: those to state `i` come from `froms[starts[i]..starts[i + 1]]`.
    fn backwards(&self) -> (Vec<usize>, Vec<u32>) {
        let firsts = (0_u32..).zip(&self.parents).map(|(index, (parent, _))| (*parent, index));
        let moves = || firsts.clone().chain(self.others.iter().copied());
        let mut starts = vec![0; self.len() + 1];
        for (_, to) in moves() {
            starts[to as usize + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let mut ends = starts.clone();
        let mut froms = vec![0; self.parents.len() + self.others.len()];
        for (from, to) in moves() {
            let end = &mut ends[to as usize];
            froms[*end] = from;
            *end += 1;
        }
        (starts, froms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_stuck_if_no_way_leads_from_it_to_a_goal() {
        let mut graph = Graph::default();
        graph.add(None);
        for from in [(0, 0), (0, 1), (1, 0), (2, 0)] {
            graph.add(Some(from));
        }
        graph.meet(3, 1);
        assert_eq!(graph.cannot_reach(&[3]), [2, 4]);
        assert_eq!(graph.path(4), [1, 0]);
        graph.meet(4, 0);
        assert!(graph.cannot_reach(&[3]).is_empty());
    }
}
