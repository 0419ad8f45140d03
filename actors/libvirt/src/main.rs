//! The supervised child process that links libvirt.

fn main() {}
