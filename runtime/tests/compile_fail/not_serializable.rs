use updraft_runtime::message;

struct Add(u32, u32);
message!(call Add = "calculator" / "add", Fenced, from ["user"], to ["server"], reply u32);

fn main() {}
