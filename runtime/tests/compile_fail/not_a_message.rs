use serde::{Deserialize, Serialize};
use updraft_runtime::{protocol, rpc::{Client, Cx}};

struct Calculator;
protocol!(Calculator = "calculator");

#[derive(Serialize, Deserialize)]
struct Add(u32, u32);

async fn ask(calculator: &Client<Calculator>, cx: &Cx) {
    let _ = calculator.call(&Add(2, 3), cx).await;
}

fn main() {}
