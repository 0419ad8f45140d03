use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol, rpc::{Client, Cx}};

struct Calculator;
protocol!(Calculator = "calculator");

#[derive(Serialize, Deserialize)]
struct Add(u32, u32);
message!(call Add = Calculator / "add", Fenced, from ["user"], to ["server"], reply u32);

fn tell(calculator: &Client<Calculator>, cx: &Cx) {
    let _ = calculator.cast(&Add(2, 3), cx);
}

fn main() {}
