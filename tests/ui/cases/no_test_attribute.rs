use heldport::{HeldPort, with_ports};

#[with_ports(1)]
fn forgotten(port: HeldPort) {}

#[with_ports(1)]
#[ignore = "an attribute that makes no test"]
#[tracing::instrument]
fn forgotten_too(port: HeldPort) {}

fn main() {}
