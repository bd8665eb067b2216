use heldport::with_ports;
use test_case::test_case;

#[with_ports(1)]
#[test_case(1)]
fn number(port: u16, _: u32) {}

#[with_ports(2)]
#[test_case(1)]
fn numbers(ports: Vec<u16>, _: u32) {}

fn main() {}
