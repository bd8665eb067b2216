use heldport::{HeldPort, with_ports};

#[with_ports]
#[test]
fn how_many(port: HeldPort) {}

#[with_ports(range = 20_000..=20_100)]
#[test]
fn only_where(port: HeldPort) {}

fn main() {}
