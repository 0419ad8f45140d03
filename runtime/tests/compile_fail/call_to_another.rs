use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol, rpc::{Client, Cx}};

struct Calculator;
protocol!(Calculator = "calculator");

struct Listener;
protocol!(Listener = "listener");

#[derive(Serialize, Deserialize)]
struct Add(u32, u32);
message!(call Add = Calculator / "add", Fenced, from ["user"], to ["server"], reply u32);

async fn ask(listener: &Client<Listener>, cx: &Cx) {
    let _ = listener.call(&Add(2, 3), cx).await;
}

fn main() {}
