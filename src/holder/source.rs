//! Who else knows who has a number: engines have ports for their containers, and the kernel shows their proxies.

use std::net::IpAddr;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use super::BLAME_BUDGET;
use crate::error::Error;
use crate::identity::{Holder, PublishedPort};
use crate::protocol::Protocol;

/// One that has ports for others.
#[cfg_attr(not(feature = "docker"), allow(dead_code, reason = "engines alone are so"))]
pub(crate) trait HolderSource: Send + Sync {
    /// Where it is, if that is known: two at one place are the same.
    fn place(&self) -> Option<&str>;

    /// Whether a program of this name may have a port for it.
    fn has_ports_by(&self, program: &str) -> bool;

    /// Sends which ports of this machine it has, as soon as it knows; or drops `to` if it will not tell. Never waits.
    fn tell(&self, to: Sender<Vec<PublishedPort>>);
}

/// Those that this process knows. They live as long as somebody else needs them.
static SOURCES: Mutex<Vec<Weak<dyn HolderSource>>> = Mutex::new(Vec::new());

/// From now on it is asked, as long as it lives.
#[cfg_attr(not(feature = "docker"), allow(dead_code, reason = "engines alone are so"))]
pub(crate) fn add_source(source: Weak<dyn HolderSource>) {
    let mut sources = SOURCES.lock();
    sources.retain(|source| source.strong_count() > 0);
    sources.push(source);
}

/// The error with what is told of who has its number. `unseen`: where, and for what, somebody has it whom the system
/// does not show. For errors that are final: it takes up to [`BLAME_BUDGET`].
pub(crate) fn told(mut error: Error, unseen: Option<(&[IpAddr], Protocol)>) -> Error {
    let until = Instant::now() + BLAME_BUDGET;
    match &mut error {
        Error::InUse { holder: Some(holder), .. } | Error::Stolen { holder, .. } => {
            complete(std::slice::from_mut(holder), &[], until, |_| false);
        }
        Error::InUse { port, holder: holder @ None, retry_after: None } => {
            if let Some((ips, protocol)) = unseen {
                let others = complete(&mut [], &[*port], until, |other| meets(other, ips, protocol));
                *holder = others.into_iter().next().map(Box::new);
            }
        }
        _ => {}
    }
    error
}

/// Completes what the system has told of these holders, where they may be there for others. Returns who has one of
/// the `unseen` numbers, as far as it `is_there`. Nobody is asked in vain.
pub(super) fn complete(
    seen: &mut [Holder],
    unseen: &[u16],
    until: Instant,
    is_there: impl Fn(&PublishedPort) -> bool,
) -> Vec<Holder> {
    let sources = living();
    let may_be_proxy = |holder: &Holder| {
        let is_proxy = |program: &String| sources.iter().any(|source| source.has_ports_by(program));
        holder.published.is_none()
            && !holder.is_this_process()
            && holder.program.as_ref().is_none_or(is_proxy)
    };
    if unseen.is_empty() && !seen.iter().any(may_be_proxy) {
        return Vec::new();
    }
    let published = ask(&sources, until);
    for holder in seen.iter_mut().filter(|holder| may_be_proxy(holder)) {
        if let Some(published) = behind(holder, &published) {
            holder.publishes(published.clone());
        }
    }
    let on = |port: &u16| published.iter().find(|other| other.address.port() == *port && is_there(other));
    unseen.iter().filter_map(on).cloned().map(Holder::from).collect()
}

fn living() -> Vec<Arc<dyn HolderSource>> {
    SOURCES.lock().iter().filter_map(Weak::upgrade).collect()
}

/// Asks all of them at once.
fn ask(sources: &[Arc<dyn HolderSource>], until: Instant) -> Vec<PublishedPort> {
    let (tell, told) = mpsc::channel();
    let mut places = Vec::new();
    for source in sources {
        let place = source.place();
        if place.is_none() || !places.contains(&place) {
            places.push(place);
            source.tell(tell.clone());
        }
    }
    drop(tell);
    let mut all = Vec::new();
    while let Ok(some) = told.recv_timeout(until.saturating_duration_since(Instant::now())) {
        all.extend(some);
    }
    all
}

/// What a proxy is there for. One on all addresses may be there for one of them, and the other way round.
fn behind<'a>(holder: &Holder, published: &'a [PublishedPort]) -> Option<&'a PublishedPort> {
    let is_its = |other: &&PublishedPort| {
        other.address.port() == holder.address.port() && meets(other, &[holder.address.ip()], holder.protocol)
    };
    published.iter().filter(is_its).min_by_key(|other| other.address != holder.address)
}

/// Whether a port is published where one of ours would be, and for what.
pub(super) fn meets(published: &PublishedPort, ips: &[IpAddr], protocol: Protocol) -> bool {
    let there = published.address.ip();
    let is_there = |ip: &IpAddr| *ip == there || ip.is_unspecified() || there.is_unspecified();
    protocol.and(published.protocol) == protocol && ips.iter().any(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use std::time::Duration;

    /// An engine that says this, once each time it is asked.
    struct Engine(Vec<PublishedPort>);

    impl HolderSource for Engine {
        fn place(&self) -> Option<&str> {
            None
        }

        fn has_ports_by(&self, program: &str) -> bool {
            program == "docker-proxy"
        }

        fn tell(&self, to: Sender<Vec<PublishedPort>>) {
            let _ = to.send(self.0.clone());
        }
    }

    fn published(address: &str) -> PublishedPort {
        PublishedPort::of_tests(address, Protocol::Tcp)
    }

    fn holder(address: &str, program: Option<&str>) -> Holder {
        let mut holder = Holder::anonymous(address.parse().unwrap(), true);
        holder.pid = program.map(|_| 1);
        holder.program = program.map(Into::into);
        holder
    }

    #[test]
    fn a_proxy_is_there_for_what_is_published_at_its_place() {
        let mut udp = published("127.0.0.1:80");
        udp.protocol = Protocol::Udp;
        let all = [udp, published("127.0.0.1:81"), published("0.0.0.0:80"), published("127.0.0.2:80")];
        let behind = |address: &str| behind(&holder(address, None), &all).map(|one| one.address.to_string());
        assert_eq!(behind("127.0.0.2:80").as_deref(), Some("127.0.0.2:80"), "rather than 0.0.0.0");
        assert_eq!(behind("127.0.0.1:80").as_deref(), Some("0.0.0.0:80"), "TCP");
        assert_eq!(behind("[::]:81").as_deref(), Some("127.0.0.1:81"));
        assert_eq!(behind("127.0.0.3:81"), None);
        assert_eq!(behind("127.0.0.1:82"), None);
    }

    #[test]
    fn a_port_for_both_protocols_meets_either() {
        let (there, udp) = (published("127.0.0.1:80"), Protocol::Udp);
        let ips = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert!(meets(&there, &ips, Protocol::Tcp) && meets(&there, &ips, Protocol::TcpAndUdp));
        assert!(!meets(&there, &ips, udp) && !meets(&there, &ips[1..], Protocol::Tcp));
        assert!(meets(&published("[::]:80"), &ips, Protocol::Tcp));
    }

    /// One test for what is asked of all engines of the process: other tests have none.
    #[test]
    fn engines_complete_what_may_be_theirs_and_no_more() {
        let engine: Arc<dyn HolderSource> =
            Arc::new(Engine(vec![published("127.9.9.9:80"), published("127.9.9.9:81")]));
        add_source(Arc::downgrade(&engine));
        let until = Instant::now() + Duration::from_secs(20);
        let mut this = holder("127.9.9.9:80", None);
        this.pid = Some(std::process::id());
        let mut seen = [
            holder("127.9.9.9:80", Some("docker-proxy")),
            holder("127.9.9.9:80", None),
            holder("127.9.9.9:80", Some("sshd")),
            this,
            holder("127.9.9.9:82", Some("docker-proxy")),
        ];
        let others = complete(&mut seen, &[81, 82], until, |other| other.address.port() == 81);
        assert_eq!(seen.each_ref().map(|one| one.published.is_some()), [true, true, false, false, false]);
        assert_eq!(others.len(), 1);
        assert_eq!(
            others[0].to_string(),
            "held by container web-1 of image nginx, published on 127.9.9.9:81"
        );
        let ips = ["127.9.9.9".parse().unwrap()];
        let in_use = |holder, retry_after| Error::InUse { port: 81, holder, retry_after };
        let unseen = told(in_use(None, None), Some((&ips, Protocol::Tcp))).to_string();
        assert!(
            unseen.contains("held by container web-1") && unseen.contains("stop that container"),
            "{unseen}"
        );
        let closed = told(in_use(None, Some(Duration::from_secs(1))), Some((&ips, Protocol::Tcp)));
        assert!(closed.to_string().contains("TIME_WAIT"), "{closed}");
        let stolen = told(Error::stolen(80, holder("127.9.9.9:80", Some("docker-proxy"))), None).to_string();
        assert!(stolen.contains("while it was lent: held by container web-1"), "{stolen}");
        assert_eq!(seen[0].identity, Identity::Unknown, "nothing else is changed");
        // Nobody else keeps it.
        drop(engine);
        assert!(ask(&living(), until).is_empty());
    }
}
