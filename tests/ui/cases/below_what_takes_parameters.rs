use heldport::{HeldPort, with_ports};

#[rstest::rstest]
#[with_ports(1)]
fn below_rstest(port: HeldPort) {}

fn main() {}
