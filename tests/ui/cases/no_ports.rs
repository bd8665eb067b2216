use heldport::{HeldPort, with_ports};

#[with_ports(0)]
#[test]
fn none(ports: [HeldPort; 0]) {}

fn main() {}
