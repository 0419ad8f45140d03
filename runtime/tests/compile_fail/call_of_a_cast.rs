use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol, rpc::{Client, Cx}};

struct Calculator;
protocol!(Calculator = "calculator");

#[derive(Serialize, Deserialize)]
struct Happened;
message!(cast Happened = Calculator / "happened", from ["user"], to ["server"]);

async fn ask(calculator: &Client<Calculator>, cx: &Cx) {
    let _ = calculator.call(&Happened, cx).await;
}

fn main() {}
