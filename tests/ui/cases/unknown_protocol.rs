use heldport::{HeldPort, with_ports};

#[with_ports(quic: udb, http)]
#[test]
fn unknown(quic: HeldPort, http: HeldPort) {}

#[with_ports(sip: sctp)]
#[test]
fn out_of_scope(sip: HeldPort) {}

#[with_ports(quic:, http)]
#[test]
fn none(quic: HeldPort, http: HeldPort) {}

#[with_ports(quic: "udp")]
#[test]
fn text(quic: HeldPort) {}

#[with_ports(2: udp)]
#[test]
fn of_a_count(ports: [HeldPort; 2]) {}

#[with_ports(quic: udp, quic: tcp)]
#[test]
fn twice(quic: HeldPort) {}

fn main() {}
