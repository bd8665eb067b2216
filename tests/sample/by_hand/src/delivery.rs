//! Ports as the parameters of a test, as the macro wants it.

use std::io;
use std::net::TcpListener;
use std::vec;

use crate::{HeldListener, HeldPort, Settings};

/// The sample's ports are for TCP alone.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    Tcp,
}

#[derive(Debug)]
pub struct Ports(vec::IntoIter<HeldPort>);

impl Ports {
    pub fn acquire(
        protocols: &[Protocol],
        _block: bool,
        settings: Option<Settings>,
    ) -> Result<Self, Failure> {
        Ok(Self(settings.unwrap_or_default().ports(protocols.len()).into_iter()))
    }

    fn next<T: FromPort>(&mut self) -> Result<T, Failure> {
        T::from_port(self.0.next().expect("as many as are delivered")).map_err(Failure)
    }
}

#[derive(Debug)]
pub struct Failure(io::Error);

impl Failure {
    #[track_caller]
    pub fn panic(&self) -> ! {
        panic!("{}", self.0)
    }

    pub fn print(&self) {
        eprintln!("{}", self.0);
    }
}

pub trait FromPort: Sized {
    fn from_port(port: HeldPort) -> io::Result<Self>;
}

impl FromPort for HeldPort {
    fn from_port(port: HeldPort) -> io::Result<Self> {
        Ok(port)
    }
}

impl FromPort for HeldListener {
    fn from_port(port: HeldPort) -> io::Result<Self> {
        port.into_listener()
    }
}

impl FromPort for TcpListener {
    fn from_port(port: HeldPort) -> io::Result<Self> {
        port.listen()
    }
}

impl FromPort for tokio::net::TcpListener {
    fn from_port(port: HeldPort) -> io::Result<Self> {
        port.into_listener()?.into_tokio()
    }
}

pub trait FromPorts<const N: usize>: Sized {
    const PROTOCOLS: [Protocol; N] = [Protocol::Tcp; N];

    fn from_ports(ports: &mut Ports) -> Result<Self, Failure>;
}

impl<T: FromPort> FromPorts<1> for T {
    fn from_ports(ports: &mut Ports) -> Result<Self, Failure> {
        ports.next()
    }
}

impl<T: FromPort, const N: usize> FromPorts<N> for Vec<T> {
    fn from_ports(ports: &mut Ports) -> Result<Self, Failure> {
        (0..N).map(|_| ports.next()).collect()
    }
}

impl<T: FromPort, const N: usize> FromPorts<N> for [T; N] {
    fn from_ports(ports: &mut Ports) -> Result<Self, Failure> {
        let all = <Vec<T> as FromPorts<N>>::from_ports(ports)?;
        Ok(all.try_into().unwrap_or_else(|_| unreachable!("a vector of N")))
    }
}

impl<A: FromPort, B: FromPort> FromPorts<2> for (A, B) {
    fn from_ports(ports: &mut Ports) -> Result<Self, Failure> {
        Ok((ports.next()?, ports.next()?))
    }
}

impl<A: FromPort, B: FromPort, C: FromPort> FromPorts<3> for (A, B, C) {
    fn from_ports(ports: &mut Ports) -> Result<Self, Failure> {
        Ok((ports.next()?, ports.next()?, ports.next()?))
    }
}

impl<A: FromPort, B: FromPort, C: FromPort, D: FromPort> FromPorts<4> for (A, B, C, D) {
    fn from_ports(ports: &mut Ports) -> Result<Self, Failure> {
        Ok((ports.next()?, ports.next()?, ports.next()?, ports.next()?))
    }
}
