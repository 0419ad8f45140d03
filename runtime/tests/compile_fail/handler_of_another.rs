use serde::{Deserialize, Serialize};
use updraft_runtime::{message, rpc::Service};

#[derive(Serialize, Deserialize)]
struct Happened;
message!(cast Happened = "listener" / "happened", from ["user"], to ["server"]);

fn main() {
    Service::new("listener").cast(|_, Happened| async { Ok("done") });
}
