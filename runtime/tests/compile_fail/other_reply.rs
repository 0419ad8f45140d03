use serde::{Deserialize, Serialize};
use updraft_runtime::{message, rpc::Service};

#[derive(Serialize, Deserialize)]
struct Add(u32, u32);
message!(call Add = "calculator" / "add", Fenced, from ["user"], to ["server"], reply u32);

fn main() {
    Service::new("calculator").call(|_, Add(a, b)| async move { Ok(format!("{a} + {b}")) });
}
