use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol};

struct Calculator;
protocol!(Calculator = "calculator");

#[derive(Serialize, Deserialize)]
struct Add(u32, u32);
message!(call Add = Calculator / "add", Sometimes, from ["user"], to ["server"], reply u32);

fn main() {}
