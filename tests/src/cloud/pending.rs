//! A request that was sent, and whose user goes on meanwhile.
//!
//! Owns when its answer counts: what a node says in the instant of its crash is not heard, and a user who has waited for
//! [`GIVES_UP`] waits no more. What was asked may happen all the same.

use std::{task::Poll, time::Duration};

use tokio::sync::oneshot::{Receiver, error::TryRecvError};
use updraft_transport::NodeId;

use super::{Answer, SimCloud};

/// When a user gives up on an answer.
const GIVES_UP: Duration = Duration::from_secs(60);

/// A request without an answer yet.
#[derive(Debug)]
pub struct Pending {
    node: NodeId,
    asked: Duration,
    answer: Receiver<Option<Answer>>,
}

impl Pending {
    pub(super) fn new(node: NodeId, asked: Duration, answer: Receiver<Option<Answer>>) -> Self {
        Self { node, asked, answer }
    }

    /// The control node that was asked.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// When it was asked, since the world's start.
    #[must_use]
    pub fn asked(&self) -> Duration {
        self.asked
    }

    /// Its answer, once it has come; `None` if nobody will know what the node would have said.
    pub fn look(&mut self, cloud: &SimCloud) -> Poll<Option<Answer>> {
        match self.answer.try_recv() {
            Err(TryRecvError::Empty) if cloud.world.now() < self.asked + GIVES_UP => Poll::Pending,
            Ok(answer) => Poll::Ready(answer.filter(|_| cloud.world.is_up(&self.node))),
            Err(_) => Poll::Ready(None),
        }
    }
}
