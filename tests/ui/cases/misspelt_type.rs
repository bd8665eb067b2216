use heldport::{HeldPort, with_ports};

#[with_ports(1)]
#[test_case::test_case(1)]
fn one(port: HeldPrt, _: u32) {}

#[with_ports(quic: udp, http)]
#[test_case::test_case(1)]
fn named(quic: HeldUdpSoket, http: HeldPort, _: u32) {}

fn main() {}
