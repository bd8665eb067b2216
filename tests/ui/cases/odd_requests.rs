use heldport::{HeldPort, with_ports};

#[with_ports(2, http)]
#[test]
fn both(ports: [HeldPort; 2]) {}

#[with_ports(http, http)]
#[test]
fn same_name(http: HeldPort) {}

#[with_ports(2, 3)]
#[test]
fn two_counts(ports: [HeldPort; 2]) {}

#[with_ports(70_000)]
#[test]
fn too_many(ports: Vec<HeldPort>) {}

#[with_ports(3, block)]
#[test]
fn no_value(ports: [HeldPort; 3]) {}

#[with_ports(COUNT)]
#[test]
fn constant(ports: [HeldPort; 2]) {}

#[with_ports(http)]
#[test]
fn mark_beside_a_name(http: HeldPort, #[ports] other: HeldPort) {}

#[with_ports("two")]
#[test]
fn text(ports: [HeldPort; 2]) {}

#[with_ports(1)]
#[test]
fn two_marks(#[ports] a: HeldPort, #[ports] b: HeldPort) {}

#[with_ports(1)]
struct NoFunction;

fn main() {}
