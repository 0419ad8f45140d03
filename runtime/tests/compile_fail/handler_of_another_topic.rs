use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol, rpc::Service};

struct Calculator;
protocol!(Calculator = "calculator");

struct Listener;
protocol!(Listener = "listener");

#[derive(Serialize, Deserialize)]
struct Add(u32, u32);
message!(call Add = Calculator / "add", Fenced, from ["user"], to ["server"], reply u32);

fn main() {
    let _ = Service::of::<Listener>().call(|_, Add(a, b)| async move { Ok(a + b) });
}
