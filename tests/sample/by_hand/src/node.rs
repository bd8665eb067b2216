//! A server of a test, in this process or as a child.

use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::{Child, Command};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::port::PAUSE;
use crate::{HeldPort, PortAllocator};

pub struct TestNode {
    running: Running,
    held: Vec<HeldPort>,
    ports: NodePorts,
}

enum Running {
    Nothing,
    Server(JoinHandle<()>),
    Child(Child),
}

impl TestNode {
    pub fn builder() -> TestNodeBuilder {
        TestNodeBuilder { ports: Vec::new(), kind: Kind::Hold }
    }

    pub fn addr(&self) -> SocketAddr {
        self.ports.addr()
    }

    pub fn addr_of(&self, name: &str) -> SocketAddr {
        self.ports.addr_of(name)
    }

    pub fn port(&self, name: &str) -> u16 {
        self.ports.port(name)
    }

    pub fn ports(&self) -> &NodePorts {
        &self.ports
    }

    pub fn held(&self, name: &str) -> &HeldPort {
        &self.held[self.ports.index_of(name)]
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        match &mut self.running {
            Running::Nothing => {}
            Running::Server(server) => server.abort(),
            Running::Child(child) => drop(child.kill().and_then(|()| child.wait())),
        }
    }
}

#[derive(Clone, Debug)]
pub struct NodePorts(Vec<(Option<String>, SocketAddr)>);

impl NodePorts {
    pub fn addr(&self) -> SocketAddr {
        self.0[0].1
    }

    pub fn addr_of(&self, name: &str) -> SocketAddr {
        self.0[self.index_of(name)].1
    }

    pub fn port(&self, name: &str) -> u16 {
        self.addr_of(name).port()
    }

    pub fn addrs(&self) -> impl ExactSizeIterator<Item = SocketAddr> + '_ {
        self.0.iter().map(|(_, addr)| *addr)
    }

    fn index_of(&self, name: &str) -> usize {
        self.0.iter().position(|(own, _)| own.as_deref() == Some(name)).expect("a port of this name")
    }
}

pub struct Listeners {
    ports: NodePorts,
    listeners: Vec<Option<TcpListener>>,
}

impl Listeners {
    pub fn take(&mut self, name: &str) -> TcpListener {
        self.listeners[self.ports.index_of(name)].take().expect("not taken yet")
    }

    pub fn rest(self) -> impl Iterator<Item = TcpListener> {
        self.listeners.into_iter().flatten()
    }

    pub fn ports(&self) -> &NodePorts {
        &self.ports
    }
}

pub struct TestNodeBuilder {
    ports: Vec<Option<String>>,
    kind: Kind,
}

enum Kind {
    Hold,
    Serve(Box<dyn FnOnce(Listeners) -> JoinHandle<()> + Send>),
    Command(Box<dyn FnMut(&NodePorts) -> Command + Send>),
}

impl TestNodeBuilder {
    pub fn name(self, _: &str) -> Self {
        self
    }

    pub fn with_auto_port(mut self) -> Self {
        self.ports.push(None);
        self
    }

    pub fn with_port(mut self, name: &str) -> Self {
        self.ports.push(Some(name.to_owned()));
        self
    }

    pub fn serve<S, F>(self, server: S) -> Self
    where
        S: FnOnce(TcpListener) -> F + Send + 'static,
        F: Future<Output: Send> + Send + 'static,
    {
        self.serve_all(|listeners| server(listeners.rest().next().expect("a port")))
    }

    pub fn serve_all<S, F>(self, server: S) -> Self
    where
        S: FnOnce(Listeners) -> F + Send + 'static,
        F: Future<Output: Send> + Send + 'static,
    {
        let start = move |listeners| {
            let server = server(listeners);
            tokio::spawn(async move { drop(server.await) })
        };
        Self { kind: Kind::Serve(Box::new(start)), ..self }
    }

    pub fn command(self, command: impl FnMut(&NodePorts) -> Command + Send + 'static) -> Self {
        Self { kind: Kind::Command(Box::new(command)), ..self }
    }

    async fn start(self) -> io::Result<TestNode> {
        let held = PortAllocator::global().acquire_many(self.ports.len())?;
        let ports = NodePorts(self.ports.into_iter().zip(held.iter().map(HeldPort::addr)).collect());
        let running = match self.kind {
            Kind::Hold => Running::Nothing,
            Kind::Serve(start) => {
                let listeners =
                    held.iter().map(|port| port.listen_tokio().map(Some)).collect::<io::Result<_>>()?;
                Running::Server(start(Listeners { ports: ports.clone(), listeners }))
            }
            Kind::Command(mut make) => Running::Child(make(&ports).spawn()?),
        };
        // From here on the child ends with the node.
        let node = TestNode { running, held, ports };
        if matches!(node.running, Running::Child(_)) {
            for addr in node.ports.addrs() {
                until_it_answers(addr).await;
            }
        }
        Ok(node)
    }
}

async fn until_it_answers(addr: SocketAddr) {
    while TcpStream::connect(addr).await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
}

impl IntoFuture for TestNodeBuilder {
    type Output = io::Result<TestNode>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}
