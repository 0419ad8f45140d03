//! What follows from a want that a host is told of, alike for all rows of that kind.

/// What a plan may ask for: call the host's L2 agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tell {
    /// Of the want.
    pub generation: u64,
}

/// What can be learnt: the agent serves a want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Of the want.
    pub generation: u64,
    /// Whether that one was that something be there.
    pub present: bool,
}

/// What should become of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<R> {
    /// It becomes this.
    Write(Box<R>),
    /// What it is about is gone, and the host has nothing of it.
    Delete,
    /// This is to be done.
    Act(Vec<Tell>),
}

/// What now, with a row that should be as `converged`; `untold` is what the agent does not serve yet.
pub(super) fn next<R: PartialEq>(
    row: &R,
    converged: R,
    untold: Option<Tell>,
    is_gone: bool,
) -> Next<R> {
    if converged != *row {
        return Next::Write(Box::new(converged));
    }
    match untold {
        None if is_gone => Next::Delete,
        untold => Next::Act(untold.into_iter().collect()),
    }
}

/// Whether what an agent says that it serves is newer than what is known, and was asked for.
pub(super) fn is_news(generation: u64, served: u64, wanted: u64) -> bool {
    generation > served && generation <= wanted
}
