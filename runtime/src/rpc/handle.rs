//! A handle for the servers of one topic.
//!
//! Owns where its messages go. Promises that only messages of its topic pass: another one does not compile. It sends
//! by its node's [`Rpc`], and has no state of its own.

use std::{fmt, marker::PhantomData};

use updraft_transport::NodeId;

use super::{Address, BelongsTo, Call, CallError, Cast, Cx, Protocol, Rpc};

/// A handle for any one server of a topic in this cell, or for a certain one; cheap to clone.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use updraft_runtime::{message, protocol, rpc::{CallError, Cx, Rpc}, transport::NodeId};
/// # struct Calculator;
/// # protocol!(Calculator = "calculator");
/// # #[derive(Serialize, Deserialize)]
/// # struct Add(u32, u32);
/// # message!(call Add = Calculator / "add", Fenced, from ["client"], to ["server"], reply u32);
/// async fn ask_twice(rpc: &Rpc, node: &NodeId, cx: &Cx) -> Result<u32, CallError> {
///     let calculator = rpc.client::<Calculator>();
///     let five = calculator.call(&Add(2, 3), cx).await?;
///     calculator.on(node).call(&Add(five, 4), cx).await
/// }
/// ```
pub struct Client<P> {
    rpc: Rpc,
    to: Address,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Protocol> Client<P> {
    /// The same for the topic's server on this node.
    #[must_use]
    pub fn on(&self, node: &NodeId) -> Self {
        self.at(Address::server(node))
    }

    /// The same for what is at this address: in another cell, or an actor that was spawned.
    #[must_use]
    pub fn at(&self, to: Address) -> Self {
        Self { to, ..self.clone() }
    }

    /// What it sends by.
    pub(crate) fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    /// Where its messages go.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.to
    }

    /// Calls and waits for the outcome.
    pub async fn call<M>(&self, message: &M, cx: &Cx) -> Result<M::Reply, CallError>
    where
        M: Call + BelongsTo<P>,
    {
        self.rpc.call(&self.to, message, cx).await
    }

    /// Sends without waiting. `Ok` means queued.
    pub fn cast<M>(&self, message: &M, cx: &Cx) -> Result<(), CallError>
    where
        M: Cast + BelongsTo<P>,
    {
        self.rpc.cast(&self.to, message, cx)
    }

    /// Sends to every live server of the topic in this cell, also if this handle is for one of them; returns to how
    /// many it was queued.
    pub fn fanout<M>(&self, message: &M, cx: &Cx) -> Result<usize, CallError>
    where
        M: Cast + BelongsTo<P>,
    {
        self.rpc.fanout(message, cx)
    }
}

impl Rpc {
    /// A handle for any one server of a topic in this cell.
    #[must_use]
    pub fn client<P: Protocol>(&self) -> Client<P> {
        Client { rpc: self.clone(), to: Address::any(), protocol: PhantomData }
    }
}

// Not derived: that would ask the same of the topic.
impl<P> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self { rpc: self.rpc.clone(), to: self.to.clone(), protocol: PhantomData }
    }
}

impl<P: Protocol> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("topic", &P::TOPIC).field("to", &self.to).finish()
    }
}
