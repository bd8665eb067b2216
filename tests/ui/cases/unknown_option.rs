use heldport::{HeldPort, with_ports};

#[with_ports(1, rnage = 20_000..=20_100)]
#[test]
fn misspelt(port: HeldPort) {}

#[with_ports(1, colour = "red")]
#[test]
fn unknown(port: HeldPort) {}

#[with_ports(1, block = true, block = false)]
#[test]
fn twice(port: HeldPort) {}

#[with_ports(1, block = 3)]
#[test]
fn no_bool(port: HeldPort) {}

#[with_ports(1, host = "localhost")]
#[test]
fn no_address(port: HeldPort) {}

fn main() {}
