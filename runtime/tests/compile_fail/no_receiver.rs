use serde::{Deserialize, Serialize};
use updraft_runtime::message;

#[derive(Serialize, Deserialize)]
struct Happened;
message!(cast Happened = "listener" / "happened", from ["user"]);

fn main() {}
