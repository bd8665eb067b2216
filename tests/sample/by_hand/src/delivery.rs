//! Ports as the parameters of a test, as the macro wants it.

use std::io;
use std::net::TcpListener;
use std::vec;

use crate::{HeldListener, HeldPort, Settings};

#[derive(Debug)]
pub struct Ports(vec::IntoIter<HeldPort>);

impl Ports {
    pub fn acquire(count: usize, _block: bool, settings: Option<Settings>) -> Result<Self, Failure> {
        Ok(Self(settings.unwrap_or_default().ports(count).into_iter()))
    }

    pub fn deliver<T: FromPorts<N>, const N: usize>(&mut self) -> Result<T, Failure> {
        T::from_ports(self).map_err(Failure)
    }

    fn next<T: FromPort>(&mut self) -> io::Result<T> {
        T::from_port(self.0.next().expect("as many as are delivered"))
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
    fn from_ports(ports: &mut Ports) -> io::Result<Self>;
}

impl<T: FromPort> FromPorts<1> for T {
    fn from_ports(ports: &mut Ports) -> io::Result<Self> {
        ports.next()
    }
}

impl<T: FromPort, const N: usize> FromPorts<N> for Vec<T> {
    fn from_ports(ports: &mut Ports) -> io::Result<Self> {
        (0..N).map(|_| ports.next()).collect()
    }
}

impl<T: FromPort, const N: usize> FromPorts<N> for [T; N] {
    fn from_ports(ports: &mut Ports) -> io::Result<Self> {
        let all = <Vec<T> as FromPorts<N>>::from_ports(ports)?;
        Ok(all.try_into().unwrap_or_else(|_| unreachable!("a vector of N")))
    }
}

impl<A: FromPort, B: FromPort> FromPorts<2> for (A, B) {
    fn from_ports(ports: &mut Ports) -> io::Result<Self> {
        Ok((ports.next()?, ports.next()?))
    }
}

impl<A: FromPort, B: FromPort, C: FromPort> FromPorts<3> for (A, B, C) {
    fn from_ports(ports: &mut Ports) -> io::Result<Self> {
        Ok((ports.next()?, ports.next()?, ports.next()?))
    }
}

impl<A: FromPort, B: FromPort, C: FromPort, D: FromPort> FromPorts<4> for (A, B, C, D) {
    fn from_ports(ports: &mut Ports) -> io::Result<Self> {
        Ok((ports.next()?, ports.next()?, ports.next()?, ports.next()?))
    }
}
