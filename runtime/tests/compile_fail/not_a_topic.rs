use serde::{Deserialize, Serialize};
use updraft_runtime::message;

struct Calculator;

#[derive(Serialize, Deserialize)]
struct Add(u32, u32);
message!(call Add = Calculator / "add", Fenced, from ["user"], to ["server"], reply u32);

fn main() {}
