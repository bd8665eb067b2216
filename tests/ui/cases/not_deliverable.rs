use heldport::with_ports;
use test_case::test_case;

#[with_ports(1)]
#[test_case(1)]
fn number(port: u16, _: u32) {}

#[with_ports(2)]
#[test_case(1)]
fn numbers(ports: Vec<u16>, _: u32) {}

type Alias = (std::net::UdpSocket, std::net::TcpStream);

#[with_ports(2)]
#[test_case(1)]
fn alias(sockets: Alias, _: u32) {}

#[with_ports(http, quic: udp)]
#[test_case(1)]
fn named(quic: String, http: std::net::TcpListener, _: u32) {}

fn main() {}
