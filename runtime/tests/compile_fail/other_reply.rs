use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol, rpc::Service};

struct Calculator;
protocol!(Calculator = "calculator");

#[derive(Serialize, Deserialize)]
struct Add(u32, u32);
message!(call Add = Calculator / "add", Fenced, from ["user"], to ["server"], reply u32);

fn main() {
    Service::of::<Calculator>().call(|_, Add(a, b)| async move { Ok(format!("{a} + {b}")) });
}
