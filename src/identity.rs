//! Who is on a port: the words for it. `holder.rs` finds out.

mod leased;
mod published;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use crate::protocol::Protocol;
pub use leased::{LeaseInfo, LeaseOwner};
pub use published::PublishedPort;

/// Whether a socket's owner belongs to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Identity {
    /// This process or one that descends from it.
    Ours,
    /// One that does not descend from this process. A server that an older service starts for you (a supervisor,
    /// the Docker daemon) is one too: look at [`HeldPort::borrower`](crate::HeldPort::borrower) for those.
    Stranger,
    /// It cannot be told: the owner cannot be seen (another user's process, another container, one that has just
    /// ended), or it is younger than this process and its parent is gone, as is a daemon's.
    Unknown,
}

/// Who has a port: as much as this user's rights reveal.
#[derive(Clone)]
#[non_exhaustive]
pub struct Holder {
    /// The address that its socket is bound to.
    pub address: SocketAddr,
    /// What its socket is for: [`Protocol::Tcp`] or [`Protocol::Udp`].
    pub protocol: Protocol,
    /// Whether it listens (or is merely bound, or connected). UDP sockets never do.
    pub listening: bool,
    /// Its process id.
    pub pid: Option<u32>,
    /// Its program's name, as the system shows it.
    pub program: Option<String>,
    /// The user id that its socket was made under.
    pub uid: Option<u32>,
    /// The test that it runs, where known: this process's tests by thread name, others by nextest's name, and that of
    /// a container by this crate's label.
    pub test: Option<String>,
    /// The container that has the port by it, where it may be an engine's proxy, and an engine tells that this
    /// process has connected to (feature `docker`). Only errors find it out.
    pub published: Option<Box<PublishedPort>>,
    /// The lease of the number, where nobody else is seen on it: see [`coordinate`](crate::coordinate). Only errors find
    /// it out.
    pub leased: Option<Box<LeaseInfo>>,
    /// Whether it belongs to this process.
    pub identity: Identity,
    pub(crate) command_line: Vec<String>,
}

/// Who listens on a lent port.
pub type Borrower = Holder;

impl Holder {
    /// The program's command line, empty where it cannot be read.
    ///
    /// It is kept out of every message, `Debug` included: people pass passwords there.
    #[must_use]
    pub fn command_line(&self) -> &[String] {
        &self.command_line
    }

    pub(crate) fn is_this_process(&self) -> bool {
        self.pid == Some(std::process::id())
    }

    /// A holder of which nothing is known but its socket.
    pub(crate) fn anonymous(address: SocketAddr, listening: bool) -> Self {
        Self {
            address,
            protocol: Protocol::Tcp,
            listening,
            pid: None,
            program: None,
            uid: None,
            test: None,
            published: None,
            leased: None,
            identity: Identity::Unknown,
            command_line: Vec::new(),
        }
    }

    /// Notes for whom an engine has the number.
    pub(crate) fn publishes(&mut self, published: PublishedPort) {
        self.test = published.test.clone().or(self.test.take());
        self.published = Some(Box::new(published));
    }
}

/// What is known of a holder by an engine's word alone.
impl From<PublishedPort> for Holder {
    fn from(published: PublishedPort) -> Self {
        let mut holder = Self::anonymous(published.address, false);
        holder.protocol = published.protocol;
        holder.publishes(published);
        holder
    }
}

/// What is known of a holder by its lease alone: nothing of a socket.
impl From<LeaseInfo> for Holder {
    fn from(lease: LeaseInfo) -> Self {
        let mut holder = Self::anonymous((Ipv4Addr::UNSPECIFIED, lease.port).into(), false);
        holder.test.clone_from(&lease.owner.test);
        holder.leased = Some(Box::new(lease));
        holder
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder")
            .field("address", &self.address)
            .field("protocol", &self.protocol)
            .field("listening", &self.listening)
            .field("pid", &self.pid)
            .field("program", &self.program)
            .field("uid", &self.uid)
            .field("test", &self.test)
            .field("published", &self.published)
            .field("leased", &self.leased)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(lease) = &self.leased {
            return write!(f, "leased to {}", lease.terms());
        }
        // By an engine's word alone, there is no process.
        let has_process = self.published.is_none() || self.pid.is_some() || self.uid.is_some();
        if let Some(published) = &self.published {
            let through = if has_process { ", through " } else { "" };
            write!(f, "held by {}{through}", published.publisher())?;
        }
        if has_process {
            self.fmt_process(f)?;
        }
        if let Some(test) = &self.test {
            write!(f, ", test `{test}`")?;
        }
        let state = match (has_process, self.listening) {
            (false, _) => "published on",
            (true, true) => "listening on",
            (true, false) => "bound to",
        };
        write!(f, ", {state} {}", self.address)?;
        if self.protocol == Protocol::Udp { f.write_str(" (UDP)") } else { Ok(()) }
    }
}

impl Holder {
    fn fmt_process(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.program) {
            _ if self.is_this_process() => f.write_str("this process"),
            (Some(pid), Some(program)) => write!(f, "pid {pid} ({program})"),
            (Some(pid), None) => write!(f, "pid {pid}"),
            (None, _) => {
                f.write_str("a process that cannot be seen")?;
                self.uid.map_or(Ok(()), |uid| write!(f, " (uid {uid})"))
            }
        }
    }
}

/// The holders of a range's ports, as far as they could be found in the time that an error may take.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Holders {
    /// Those of the lowest numbers.
    pub named: Vec<Holder>,
    /// How many more numbers were found in use.
    pub more: usize,
    /// Why they could not be looked up, if they could not.
    pub unreadable: Option<String>,
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for holder in &self.named {
            writeln!(f, "  {}: {holder}", holder.address.port())?;
        }
        if self.more > 0 {
            writeln!(f, "  … and {} more", self.more)?;
        }
        if let Some(reason) = &self.unreadable {
            writeln!(f, "  who holds them cannot be told: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_command_line_is_in_no_message() {
        let mut holder = Holder::anonymous("127.0.0.1:80".parse().unwrap(), true);
        holder.pid = Some(1);
        holder.program = Some("redis-server".into());
        holder.command_line = vec!["redis-server".into(), "--requirepass".into(), "hunter2".into()];
        assert!(!format!("{holder} {holder:?}").contains("hunter2"));
        assert_eq!(holder.command_line()[2], "hunter2");
        assert_eq!(holder.to_string(), "pid 1 (redis-server), listening on 127.0.0.1:80");
    }

    #[test]
    fn a_lease_says_whose_it_is_and_for_how_long() {
        let mut owner = LeaseOwner { pid: 12, host: "ci-7".into(), test: Some("node::restarts".into()) };
        let since = SystemTime::now() - Duration::from_secs(90);
        let lease = |owner: &LeaseOwner| LeaseInfo::new(80, owner.clone(), since, None);
        let holder = Holder::from(lease(&owner));
        assert_eq!(holder.to_string(), "leased to test `node::restarts` (pid 12 on ci-7), for 90.0s");
        assert_eq!(
            (holder.address.port(), holder.pid),
            (80, None),
            "pids of another machine say nothing here"
        );
        owner.test = None;
        assert_eq!(lease(&owner).to_string(), "80: pid 12 on ci-7, for 90.0s");
    }

    #[test]
    fn an_unknown_holder_is_described_by_its_user() {
        let mut holder = Holder::anonymous("[::1]:80".parse().unwrap(), false);
        holder.uid = Some(0);
        assert_eq!(holder.to_string(), "a process that cannot be seen (uid 0), bound to [::1]:80");
    }

    #[test]
    fn the_container_comes_before_the_process_that_has_the_port_for_it() {
        let published = PublishedPort::of_tests("0.0.0.0:80", Protocol::Tcp);
        let mut holder = Holder::anonymous("0.0.0.0:80".parse().unwrap(), true);
        (holder.pid, holder.program) = (Some(1), Some("docker-proxy".into()));
        holder.publishes(published.clone());
        assert_eq!(
            holder.to_string(),
            "held by container web-1 of image nginx, through pid 1 (docker-proxy), listening on 0.0.0.0:80"
        );
        (holder.pid, holder.program, holder.uid) = (None, None, Some(0));
        holder.publishes(PublishedPort { test: Some("suite::web".into()), ..published.clone() });
        assert_eq!(
            holder.to_string(),
            "held by container web-1 of image nginx, through a process that cannot be seen (uid 0), \
             test `suite::web`, listening on 0.0.0.0:80"
        );
        let by_word = Holder::from(PublishedPort { protocol: Protocol::Udp, ..published });
        assert_eq!(
            by_word.to_string(),
            "held by container web-1 of image nginx, published on 0.0.0.0:80 (UDP)"
        );
    }
}
