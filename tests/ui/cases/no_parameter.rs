use heldport::{HeldPort, with_ports};

#[with_ports(1)]
#[test]
fn nothing_to_fill() {}

#[with_ports(1)]
#[rstest::rstest]
#[case(1)]
fn filled_by_rstest(#[case] number: u16) {}

#[with_ports(http, grpc)]
#[test]
fn another_name(http: HeldPort, gprc: HeldPort) {}

fn main() {}
