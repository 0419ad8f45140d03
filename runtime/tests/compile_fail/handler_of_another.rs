use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol, rpc::Service};

struct Listener;
protocol!(Listener = "listener");

#[derive(Serialize, Deserialize)]
struct Happened;
message!(cast Happened = Listener / "happened", from ["user"], to ["server"]);

fn main() {
    Service::of::<Listener>().cast(|_, Happened| async { Ok("done") });
}
