use heldport::{HeldPort, with_ports};
use test_case::test_case; // unlike `#[test]`, it leaves the function in a build that is not for tests

#[with_ports(2)]
#[test_case(1)]
fn array(ports: [HeldPort; 3], _: u32) {}

type Ports = [HeldPort; 3];

#[with_ports(2)]
#[test_case(1)]
fn alias(ports: Ports, _: u32) {}

#[with_ports(3)]
#[test_case(1)]
fn tuple((a, b): (HeldPort, HeldPort), _: u32) {}

#[with_ports(2)]
#[test_case(1)]
fn one(port: HeldPort, _: u32) {}

fn main() {}
