//! A number, and what is made of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, RangeBounds};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::numbers;

/// Between two tries to connect: a test by hand would hardly wait for less.
pub(crate) const PAUSE: Duration = Duration::from_millis(1);

/// For a server that takes milliseconds to start.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct HeldPort(SocketAddr);

impl HeldPort {
    pub fn acquire() -> io::Result<Self> {
        Ok(Settings::default().port())
    }

    pub fn port(&self) -> u16 {
        self.0.port()
    }

    pub fn addr(&self) -> SocketAddr {
        self.0
    }

    pub fn listen(&self) -> io::Result<TcpListener> {
        TcpListener::bind(self.0)
    }

    pub fn listen_tokio(&self) -> io::Result<tokio::net::TcpListener> {
        let listener = self.listen()?;
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    }

    pub fn into_listener(self) -> io::Result<HeldListener> {
        self.listen().map(|listener| HeldListener { listener, addr: self.0 })
    }

    pub fn lend(&self) -> io::Result<()> {
        Ok(())
    }

    pub fn wait_borrowed(&self, timeout: Duration) -> io::Result<()> {
        let started = Instant::now();
        while let Err(e) = TcpStream::connect(self.0) {
            if started.elapsed() > timeout {
                return Err(e);
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    pub fn reclaim(&self) -> io::Result<()> {
        Ok(())
    }

    /// By number: without help a program inherits no listener.
    pub fn spawn_with_listeners(&self, mut command: Command) -> io::Result<Child> {
        let mut child = command.env("PORT", self.port().to_string()).spawn()?;
        match self.wait_borrowed(PATIENCE) {
            Ok(()) => Ok(child),
            Err(e) => child.kill().and(Err(e)),
        }
    }
}

#[derive(Debug)]
pub struct HeldListener {
    listener: TcpListener,
    addr: SocketAddr,
}

impl HeldListener {
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn into_inner(self) -> TcpListener {
        self.listener
    }

    pub fn into_tokio(self) -> io::Result<tokio::net::TcpListener> {
        self.listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(self.listener)
    }
}

impl Deref for HeldListener {
    type Target = TcpListener;

    fn deref(&self) -> &TcpListener {
        &self.listener
    }
}

/// What a test asks for, as far as it changes a number's address.
#[derive(Clone, Debug)]
pub struct Settings {
    ip: IpAddr,
    /// The first number.
    prefer: Option<u16>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ip: Ipv4Addr::LOCALHOST.into(), prefer: None }
    }
}

impl Settings {
    /// Numbers by hand are what they are.
    pub fn range(self, _: impl RangeBounds<u16>) -> Self {
        self
    }

    pub fn prefer(self, port: u16) -> Self {
        Self { prefer: Some(port), ..self }
    }

    pub fn host(self, ip: impl Into<IpAddr>) -> Self {
        Self { ip: ip.into(), ..self }
    }

    pub fn loopback(self) -> Self {
        self.host(Ipv4Addr::LOCALHOST)
    }

    pub fn any_host(self) -> Self {
        self.host(Ipv4Addr::UNSPECIFIED)
    }

    pub fn build(self) -> io::Result<PortAllocator> {
        Ok(PortAllocator(self))
    }

    pub(crate) fn port(&self) -> HeldPort {
        HeldPort((self.ip, self.prefer.unwrap_or_else(numbers::next)).into())
    }

    pub(crate) fn ports(&self, count: usize) -> Vec<HeldPort> {
        (0..count).map(|_| self.port()).collect()
    }
}

#[derive(Debug)]
pub struct PortAllocator(Settings);

impl PortAllocator {
    pub fn builder() -> Settings {
        Settings::default()
    }

    pub fn global() -> Self {
        Self(Settings::default())
    }

    pub fn acquire(&self) -> io::Result<HeldPort> {
        Ok(self.0.port())
    }

    pub fn acquire_array<const N: usize>(&self) -> io::Result<[HeldPort; N]> {
        Ok(std::array::from_fn(|_| self.0.port()))
    }

    pub fn acquire_many(&self, count: usize) -> io::Result<Vec<HeldPort>> {
        Ok(self.0.ports(count))
    }

    pub fn acquire_block(&self, count: usize) -> io::Result<Vec<HeldPort>> {
        Ok(self.0.ports(count))
    }
}
