use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol, rpc::{Client, Cx}};

struct Calculator;
protocol!(Calculator = "calculator");

struct Listener;
protocol!(Listener = "listener");

#[derive(Serialize, Deserialize)]
struct Happened;
message!(cast Happened = Listener / "happened", from ["user"], to ["server"]);

fn tell(calculator: &Client<Calculator>, cx: &Cx) {
    let _ = calculator.cast(&Happened, cx);
}

fn main() {}
