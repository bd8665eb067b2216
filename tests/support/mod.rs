//! What the integration tests share: raw sockets to attack held ports with, and numbers of their own.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use heldport::{Error, PortAllocator, PortAllocatorBuilder};
use socket2::{Domain, Socket, Type};

pub(crate) const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
pub(crate) const ANY4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
pub(crate) const ANY6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// For whatever takes milliseconds when it works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what the system does a moment later, and fails if it never does.
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What can be had once sockets that were just closed are gone: a look into /proc by another test's thread keeps
/// each for the moment that it looks at it.
#[track_caller]
pub(crate) fn in_a_moment<T>(attempt: impl Fn() -> heldport::Result<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(e) => assert!(Instant::now() < until, "{e}"),
        }
    }
}

/// The same of a node or a cluster.
#[cfg(feature = "tokio")]
pub(crate) async fn started_in_a_moment<T, N>(node: impl Fn() -> N) -> T
where
    N: IntoFuture<Output = heldport::Result<T>>,
{
    let until = Instant::now() + PATIENCE;
    loop {
        match node().await {
            Ok(started) => return started,
            Err(e) => assert!(Instant::now() < until, "{e}"),
        }
    }
}

/// Another one at each call.
pub(crate) fn any_number() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Waits until nobody listens on `addr`. A killed process's last threads may live a moment longer than its
/// `wait`, and so may a child of another test that is between fork and exec, with copies of all our files.
#[track_caller]
pub(crate) fn wait_until_refused(addr: SocketAddr) {
    wait_until("connections are refused", || TcpStream::connect(addr).is_err());
}

/// The options of a raw socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) reuse_addr: bool,
    pub(crate) reuse_port: bool,
    /// For `::`: IPv6 alone instead of both families.
    pub(crate) only_v6: bool,
}

pub(crate) const PLAIN: Options = Options { reuse_addr: false, reuse_port: false, only_v6: false };
pub(crate) const REUSE: Options = Options { reuse_addr: true, reuse_port: false, only_v6: false };
pub(crate) const REUSE_PORT: Options = Options { reuse_addr: true, reuse_port: true, only_v6: false };
pub(crate) const REUSE_PORT_ALONE: Options = Options { reuse_addr: false, reuse_port: true, only_v6: false };

/// A socket as anyone may make it.
pub(crate) fn open(ip: IpAddr, options: Options) -> io::Result<Socket> {
    open_for(Type::STREAM, ip, options)
}

fn open_for(transport: Type, ip: IpAddr, options: Options) -> io::Result<Socket> {
    let socket = Socket::new(if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 }, transport, None)?;
    socket.set_reuse_address(options.reuse_addr)?;
    socket.set_reuse_port(options.reuse_port)?;
    if ip.is_ipv6() {
        socket.set_only_v6(options.only_v6)?;
    }
    Ok(socket)
}

pub(crate) fn bind(ip: IpAddr, port: u16, options: Options) -> io::Result<Socket> {
    let socket = open(ip, options)?;
    socket.bind(&SocketAddr::new(ip, port).into())?;
    Ok(socket)
}

pub(crate) fn bind_udp(ip: IpAddr, port: u16, options: Options) -> io::Result<UdpSocket> {
    let socket = open_for(Type::DGRAM, ip, options)?;
    socket.bind(&SocketAddr::new(ip, port).into())?;
    Ok(socket.into())
}

pub(crate) fn listen(ip: IpAddr, port: u16, options: Options) -> io::Result<TcpListener> {
    let socket = bind(ip, port, options)?;
    socket.listen(16)?;
    Ok(socket.into())
}

pub(crate) fn port_of(socket: &Socket) -> u16 {
    socket.local_addr().unwrap().as_socket().unwrap().port()
}

/// Two exclusive raw sockets on one number of both loopbacks, and the number.
pub(crate) fn raw_hold() -> ([Socket; 2], u16) {
    loop {
        let v4 = bind(V4, 0, PLAIN).unwrap();
        let port = port_of(&v4);
        if let Ok(v6) = bind(V6, port, PLAIN) {
            return ([v4, v6], port);
        }
    }
}

pub(crate) fn is_in_use<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|e| e.kind() == io::ErrorKind::AddrInUse)
}

/// Every bind that a stranger may try is refused.
#[track_caller]
pub(crate) fn assert_nobody_else_can_bind(port: u16) {
    assert_each_is_refused(port, |ip, options| bind(ip, port, options).map(drop));
}

/// The same for UDP.
#[track_caller]
pub(crate) fn assert_nobody_else_can_bind_udp(port: u16) {
    assert_each_is_refused(port, |ip, options| bind_udp(ip, port, options).map(drop));
}

#[track_caller]
fn assert_each_is_refused(port: u16, bind: impl Fn(IpAddr, Options) -> io::Result<()>) {
    for ip in [V4, V6, ANY4, ANY6] {
        for options in [PLAIN, REUSE, REUSE_PORT, REUSE_PORT_ALONE] {
            assert!(is_in_use(bind(ip, options)), "{ip}:{port} could be bound with {options:?}");
        }
    }
}

/// Sends a datagram from a socket of its own, which is returned to wait for the answer.
pub(crate) fn send(to: SocketAddr, datagram: &[u8]) -> io::Result<UdpSocket> {
    let client = bind_udp(if to.is_ipv4() { V4 } else { V6 }, 0, PLAIN)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.connect(to)?;
    client.send(datagram)?;
    Ok(client)
}

/// Makes a call again that a signal has ended, as a child of another test does that ends: behind a handler, the kernel
/// goes on by itself only with calls that have no timeout.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The next datagram that a socket has.
#[track_caller]
pub(crate) fn next_datagram(socket: &UdpSocket) -> Vec<u8> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut datagram = [0; 64];
    let length = uninterrupted(|| socket.recv(&mut datagram)).unwrap();
    datagram[..length].to_vec()
}

/// This process has nothing on the number any more, on either loopback: neither claim nor socket.
#[track_caller]
pub(crate) fn assert_is_free(port: u16) {
    match PortAllocator::global().acquire_exact(port) {
        Ok(_) => {}
        // In the meantime another test process may have taken it.
        Err(Error::InUse { holder: Some(holder), .. }) => assert_ne!(holder.pid, Some(std::process::id())),
        Err(e) => panic!("{e}"),
    }
}

/// A loopback address of this process's own and a block of numbers that no other test of it uses: a range that
/// can be filled and emptied while all other tests run, here and in other processes.
pub(crate) fn private_block(len: u16) -> (Ipv4Addr, RangeInclusive<u16>) {
    // Above the ephemeral range: no allocator with defaults claims numbers there.
    static NEXT: AtomicU16 = AtomicU16::new(61_000);
    let first = NEXT.fetch_add(len, Ordering::Relaxed);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    (Ipv4Addr::new(127, 64 | high & 63, middle, low), first..=first + (len - 1))
}

/// An allocator on a private block.
pub(crate) fn private_allocator(len: u16) -> (PortAllocatorBuilder, RangeInclusive<u16>) {
    let (host, range) = private_block(len);
    (PortAllocator::builder().host(host).range(range.clone()).exclude_well_known(false), range)
}

/// Has a server on `addr` close a connection first, which leaves TIME_WAIT on its number.
pub(crate) fn leave_time_wait(addr: SocketAddr) {
    let server = listen(addr.ip(), addr.port(), REUSE).unwrap();
    close_first(&server);
}

/// The server's side of a new connection closes first.
pub(crate) fn close_first(server: &TcpListener) {
    let mut client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let (accepted, _) = server.accept().unwrap();
    drop(accepted);
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the server closed first");
}
