//! The keys of tokens, which an operator has rotated.

use std::future::Future;

use updraft_cloud::Control;
use updraft_protocol::identity::{Identity, RotateKeys};
use updraft_runtime::rpc::{Cx, TraceContext};
use updraft_transport::NodeId;

use super::SimCloud;

impl SimCloud {
    /// A rotation at a control node that serves, to be run there; it says whether the keys were rotated. Too soon
    /// after the last one it is refused, as it should be.
    pub fn rotation(&self) -> Option<(NodeId, impl Future<Output = bool> + Send + use<>)> {
        let node = self.serving()?;
        let rpc = self.world.handle::<Control>(&node)?.node().rpc().clone();
        let rotated = async move {
            let cx = Cx::new("operator", TraceContext::fresh(rpc.env()));
            rpc.client::<Identity>().call(&RotateKeys, &cx).await.is_ok()
        };
        Some((node, rotated))
    }
}
