use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol};

struct Listener;
protocol!(Listener = "listener");

#[derive(Serialize, Deserialize)]
struct Happened;
message!(cast Happened = Listener / "happened", from ["user"]);

fn main() {}
