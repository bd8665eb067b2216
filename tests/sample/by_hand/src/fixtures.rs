use rstest::fixture;

use crate::{HeldListener, HeldPort, PortAllocator};

#[fixture]
pub fn held_port() -> HeldPort {
    HeldPort::acquire().unwrap()
}

#[fixture]
pub fn held_ports(#[default(1)] count: usize) -> Vec<HeldPort> {
    PortAllocator::global().acquire_many(count).unwrap()
}

#[fixture]
pub fn held_listener() -> HeldListener {
    HeldPort::acquire().unwrap().into_listener().unwrap()
}
