use updraft_runtime::{message, protocol};

struct Calculator;
protocol!(Calculator = "calculator");

struct Add(u32, u32);
message!(call Add = Calculator / "add", Fenced, from ["user"], to ["server"], reply u32);

fn main() {}
