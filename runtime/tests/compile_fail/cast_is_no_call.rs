use serde::{Deserialize, Serialize};
use updraft_runtime::{
    message,
    rpc::{Address, Cx, Rpc},
};

#[derive(Serialize, Deserialize)]
struct Happened;
message!(cast Happened = "listener" / "happened", from ["user"], to ["server"]);

async fn wait_for_a_reply(rpc: &Rpc, cx: &Cx) {
    let _ = rpc.call(&Address::any(), &Happened, cx).await;
}

fn main() {}
