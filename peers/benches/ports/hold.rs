//! One thread: a port, and a server started on it.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use anyhow::Result;
use heldport::{HeldPort, PortAllocator, Protocol};
use heldport_peers::raw::{self, FREE, Numbers};

use crate::effort::Effort;
use crate::turns::{Watch, batch, medians};
use heldport_peers::figures::Row;

/// Connections that may wait to be accepted, as std has it.
const BACKLOG: i32 = 128;

pub(crate) fn rows(effort: &Effort) -> Result<Vec<Row>> {
    Ok(vec![hold(effort)?, both_protocols(effort)?, restart(effort)?])
}

fn hold(effort: &Effort) -> Result<Row> {
    let (legs, numbers) = (raw::loopback(), Numbers::new(&FREE));
    let watch = Watch::new(1, || PortAllocator::global().stats());
    let times = medians(
        effort.rounds,
        &mut [
            batch(effort.batch, || drop(raw::hold(&legs, &numbers))),
            batch(effort.batch, || drop(HeldPort::acquire().expect("a port is free"))),
        ],
    )?;
    let row = Row::time(format!("acquire + drop, {} legs", legs.len()), times[1]);
    Ok(row.beside_time("socket, bind, close", times[0]).at_most(1.15).disturbed(watch.is_disturbed()))
}

fn both_protocols(effort: &Effort) -> Result<Row> {
    let (legs, numbers) = (raw::loopback(), Numbers::new(&FREE));
    let allocator = PortAllocator::builder().protocol(Protocol::TcpAndUdp).build()?;
    let watch = Watch::new(1, || allocator.stats());
    let times = medians(
        effort.rounds,
        &mut [
            batch(effort.batch, || drop(raw::hold_both(&legs, &numbers))),
            batch(effort.batch, || drop(allocator.acquire().expect("a port is free"))),
        ],
    )?;
    let row = Row::time(format!("TCP and UDP: acquire + drop, {} legs", 2 * legs.len()), times[1]);
    Ok(row.beside_time("socket, bind, close", times[0]).at_most(1.15).disturbed(watch.is_disturbed()))
}

fn restart(effort: &Effort) -> Result<Row> {
    let numbers = Numbers::new(&FREE);
    let port = HeldPort::acquire()?;
    let times = medians(
        effort.rounds,
        &mut [
            batch(effort.batch, || drop(listen_raw(&numbers))),
            batch(effort.batch, || {
                port.lend().expect("a held port can be lent");
                let server = TcpListener::bind(port.addr()).expect("a lent port can be bound");
                port.reclaim().expect("a lent port can be reclaimed");
                drop(server);
            }),
        ],
    )?;
    let row = Row::time("lend, a server's bind + listen, reclaim", times[1]);
    Ok(row.beside_time("a listener without a hold", times[0]))
}

fn listen_raw(numbers: &Numbers) -> socket2::Socket {
    loop {
        if let Ok(socket) = raw::bind(IpAddr::from(Ipv4Addr::LOCALHOST), numbers.next()) {
            socket.listen(BACKLOG).expect("nobody else listens");
            return socket;
        }
    }
}
