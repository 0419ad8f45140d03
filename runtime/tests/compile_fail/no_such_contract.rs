use serde::{Deserialize, Serialize};
use updraft_runtime::message;

#[derive(Serialize, Deserialize)]
struct Add(u32, u32);
message!(call Add = "calculator" / "add", Sometimes, from ["user"], to ["server"], reply u32);

fn main() {}
