use serde::{Deserialize, Serialize};
use updraft_runtime::message;

#[derive(Serialize, Deserialize)]
struct Add(u32, u32);
message!(call Add = "calculator" / "add", Fenced, from ["user"], to ["server"]);

fn main() {}
