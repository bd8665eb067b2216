//! The crates to compare with, each called as its own documentation calls it, with its defaults.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};
use get_port::Ops;
use heldport::HeldPort;
use reserve_port::ReservedPort;

/// A way to get port numbers.
#[derive(Debug)]
pub struct Peer {
    /// The crate and its version.
    pub name: &'static str,
    /// What stands between its number and everybody else, once it has returned the number.
    pub keeps: &'static str,
    /// How it found the number, which is all that it knows about it.
    pub tries: &'static str,
    /// What one process (a test) picks its numbers with.
    pub picker: fn() -> Picker,
}

/// Gives a number at each call. Nobody binds one until all are picked, so a picker sees to it that its own
/// numbers differ, by whatever its crate has for that.
pub type Picker = Box<dyn FnMut() -> Result<Picked>>;

/// A number, and what its crate wants kept for as long as it is used.
#[derive(Debug)]
pub struct Picked {
    /// The number.
    pub port: u16,
    keep: Keep,
}

#[derive(Debug)]
enum Keep {
    Nothing,
    Hold(HeldPort),
    Mark { _until_dropped: ReservedPort },
}

impl Picked {
    fn number(port: u16) -> Self {
        Self { port, keep: Keep::Nothing }
    }

    /// What is to be done before somebody binds the number.
    ///
    /// # Errors
    /// The crate's.
    pub fn lend(&self) -> Result<()> {
        if let Keep::Hold(port) = &self.keep { Ok(port.lend()?) } else { Ok(()) }
    }

    /// What is to be done once somebody listens on the number.
    ///
    /// # Errors
    /// The crate's.
    pub fn reclaim(&self) -> Result<()> {
        if let Keep::Hold(port) = &self.keep { Ok(port.reclaim()?) } else { Ok(()) }
    }
}

/// All of them, heldport first.
pub static ALL: [Peer; 7] = [
    Peer {
        name: "heldport",
        keeps: "its sockets, until dropped: TCP on 127.0.0.1 and ::1, against every bind there and on the \
                wildcards, bind(0) and connect, of all processes; not UDP, not other addresses",
        tries: "the next number of its range, by the very sockets that it keeps",
        picker: || Box::new(heldport),
    },
    Peer {
        name: "portpicker 0.1",
        keeps: "nothing, and no memory of what it gave",
        tries: "random ones of 15000..=24999: a TCP listener, then a UDP socket, each on :: and then on \
                0.0.0.0, closed again; after ten in use, what bind(0) gives",
        picker: || Box::new(portpicker),
    },
    Peer {
        name: "reserve-port 2.5",
        keeps: "a mark for this process alone, until dropped; no socket (its random_with_tcp gives the \
                listener too)",
        tries: "8000..=15998 upwards, from 8000 in every process: a TCP listener on 127.0.0.1, closed again; \
                then bind(0). Not UDP, not ::1",
        picker: || Box::new(reserve_port),
    },
    Peer {
        name: "openport 0.5",
        keeps: "a mark in this PortReservation alone, until released; no socket",
        tries: "15000..=65534 from the start, at every call: a TCP listener, then a UDP socket, each on :: \
                and then on 0.0.0.0, closed again",
        picker: openport,
    },
    Peer {
        name: "get-port 4",
        keeps: "nothing, and no memory: the same number again until somebody binds it",
        tries: "1024..=65535 from the start, at every call: a TCP listener on the host asked for, 127.0.0.1 \
                here, closed again. Not ::1",
        picker: get_port,
    },
    Peer {
        name: "port_check 0.3",
        keeps: "nothing, and no memory (its with_free_port tries again with another number)",
        tries: "the kernel's choice: a TCP listener on 127.0.0.1:0, closed again. Not UDP, not ::1",
        picker: || Box::new(port_check),
    },
    Peer {
        name: "std: bind(0), drop",
        keeps: "nothing, and no memory",
        tries: "the kernel's choice: a TCP listener on 127.0.0.1:0, closed again. Not UDP, not ::1",
        picker: || Box::new(bind_and_drop),
    },
];

/// Held until its end; see [`Picked::lend`] and [`Picked::reclaim`] for the time between.
fn heldport() -> Result<Picked> {
    let port = HeldPort::acquire()?;
    Ok(Picked { port: port.port(), keep: Keep::Hold(port) })
}

fn portpicker() -> Result<Picked> {
    portpicker::pick_unused_port().map(Picked::number).context("no ports free")
}

/// The mark is kept as long as the number, as the crate wants it.
fn reserve_port() -> Result<Picked> {
    let mark = ReservedPort::random()?;
    Ok(Picked { port: mark.port(), keep: Keep::Mark { _until_dropped: mark } })
}

/// `pick_unused_port(range)` would give the same number again and again, so what it offers for several: a
/// reservation with its default range.
fn openport() -> Picker {
    let reservation = openport::PortReservation::default();
    Box::new(move || reservation.reserve_port().map(Picked::number).context("no port is free"))
}

/// `any` would give the same number again and again, so what it offers for several: all but those picked
/// already.
fn get_port() -> Picker {
    let mut picked = Vec::new();
    Box::new(move || {
        let port = get_port::tcp::TcpPort::except("127.0.0.1", picked.clone()).context("no port is free")?;
        picked.push(port);
        Ok(Picked::number(port))
    })
}

fn port_check() -> Result<Picked> {
    port_check::free_local_port().map(Picked::number).context("no port is free")
}

/// What everybody writes who takes no crate for it.
fn bind_and_drop() -> Result<Picked> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(Picked::number(listener.local_addr()?.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gives_numbers_of_which_a_server_can_have_two() {
        for peer in &ALL {
            let mut pick = (peer.picker)();
            let picked = [pick().unwrap(), pick().unwrap()];
            for picked in &picked {
                picked.lend().unwrap();
            }
            // Another test's process may be faster for those that keep nothing: only ours has to succeed.
            let servers =
                picked.each_ref().map(|picked| TcpListener::bind((Ipv4Addr::LOCALHOST, picked.port)));
            assert!(peer.name != "heldport" || servers.iter().all(Result::is_ok), "{servers:?}");
            for picked in &picked {
                picked.reclaim().unwrap();
            }
        }
    }
}
