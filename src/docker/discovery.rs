//! What an engine has published, and for whom.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use bollard::errors::Error as Refusal;
use bollard::models::{ContainerSummary, PortSummary, PortSummaryTypeEnum};
use bollard::query_parameters::ListContainersOptions;
use parking_lot::Mutex;

use super::connect::Docker;
use super::engine::{Engine, Publishing, is_engines_thread};
use super::labels;
use crate::error::{Error, Result};
use crate::holder::HolderSource;
use crate::identity::PublishedPort;
use crate::protocol::Protocol;

/// Programs by which engines have ports, proxies and the engines themselves, as the system shows their names: 15 bytes.
const ENGINES: [&str; 16] = [
    "docker-proxy",
    "dockerd",
    "com.docker.back",
    "containerd",
    "containerd-shim",
    "podman",
    "conmon",
    "rootlessport",
    "rootlessport-ch",
    "rootlesskit",
    "slirp4netns",
    "pasta",
    "pasta.avx2",
    "gvproxy",
    "vpnkit",
    "limactl",
];

/// Whether a program of this name has ports for an engine.
pub(super) fn is_engines(program: &str) -> bool {
    ENGINES.contains(&program)
}

/// An engine that has not answered for so long is not asked again before it has: every error would wait for it.
const SILENT: Duration = Duration::from_millis(50);

impl Docker {
    /// The ports that the engine has published, of all its running containers, and for whom: also of containers that
    /// are none of this crate's. In the order of their numbers.
    ///
    /// A port that is published on several addresses is there once for each, so one on all addresses twice where the
    /// engine has IPv6: for 0.0.0.0 and for `::`. SCTP is left out.
    ///
    /// ```no_run
    /// # async fn test() -> heldport::Result<()> {
    /// let docker = heldport::docker::Docker::connect().await?;
    /// for port in docker.published().await? {
    ///     println!("{port}"); // 127.0.0.1:8080 by container web-1 of image nginx
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Errors ask the same to say whose container has a port ([`Holder::published`](crate::Holder::published)), and
    /// so do nodes whose numbers are to be free at an [engine elsewhere](crate::docker#engines-elsewhere). Here there
    /// is no need to ask before a port is acquired: what is published is in use for the kernel too, and passed over.
    ///
    /// # Errors
    /// [`Error::Docker`] if the engine does not tell.
    pub async fn published(&self) -> Result<Vec<PublishedPort>> {
        self.0.published().await
    }
}

impl Engine {
    pub(super) async fn published(&self) -> Result<Vec<PublishedPort>> {
        let listed = self.ask(|client| async move { list(&client).await })?.answer().await?;
        listed.map_err(Error::refused("list the ports that are published"))
    }
}

async fn list(client: &bollard::Docker) -> Result<Vec<PublishedPort>, Refusal> {
    let containers = client.list_containers(None::<ListContainersOptions>).await?;
    let mut all: Vec<_> = containers.into_iter().flat_map(published_by).collect();
    all.sort_by(|a, b| key(a).cmp(&key(b)));
    all.dedup();
    Ok(all)
}

fn key(port: &PublishedPort) -> (u16, IpAddr, bool, &str) {
    (port.address.port(), port.address.ip(), port.protocol == Protocol::Udp, &port.id)
}

fn published_by(container: ContainerSummary) -> Vec<PublishedPort> {
    let id = container.id.unwrap_or_default();
    // Links give it names in others: `/other/web`.
    let mut names = container.names.iter().flatten().map(|name| name.trim_start_matches('/'));
    let name = names.find(|name| !name.contains('/')).unwrap_or(&id).to_owned();
    let (image, labels) = (container.image.unwrap_or_default(), container.labels.unwrap_or_default());
    let ports = container.ports.into_iter().flatten().filter_map(|port| {
        Some(PublishedPort {
            address: address_of(&port)?,
            protocol: protocol_of(&port)?,
            container: name.clone(),
            id: id.clone(),
            image: image.clone(),
            inside: port.private_port,
            test: test_of(&labels),
        })
    });
    ports.collect()
}

/// None, if it is not published. Podman says no address for all of them.
fn address_of(port: &PortSummary) -> Option<SocketAddr> {
    let ip = port.ip.as_deref().filter(|ip| !ip.is_empty());
    let ip = ip.map_or(Ok(Ipv4Addr::UNSPECIFIED.into()), str::parse).ok()?;
    Some(SocketAddr::new(ip, port.public_port.filter(|port| *port != 0)?))
}

fn protocol_of(port: &PortSummary) -> Option<Protocol> {
    match port.typ {
        Some(PortSummaryTypeEnum::UDP) => Some(Protocol::Udp),
        Some(PortSummaryTypeEnum::SCTP) => None,
        _ => Some(Protocol::Tcp),
    }
}

fn test_of(labels: &HashMap<String, String>) -> Option<String> {
    labels.contains_key(labels::OWNER).then(|| labels.get(labels::TEST).cloned())?
}

/// Since when a question for an error waits for its answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Unanswered(Arc<Mutex<Option<Instant>>>);

impl Unanswered {
    /// Notes a question. False if the engine is silent.
    fn begin(&self) -> bool {
        self.0.lock().get_or_insert_with(Instant::now).elapsed() < SILENT
    }

    fn end(&self) {
        *self.0.lock() = None;
    }
}

impl HolderSource for Engine {
    fn place(&self) -> Option<&str> {
        self.command_host()
    }

    fn has_ports_by(&self, program: &str) -> bool {
        is_engines(program)
    }

    fn tell(&self, to: Sender<Vec<PublishedPort>>) {
        // What is published elsewhere is none of this machine's numbers, unless a program here passes it on.
        let is_here = self.publishing() != Publishing::Elsewhere || self.address.is_loopback();
        // On its own thread nobody may wait for the answer.
        if !is_here || is_engines_thread() || !self.unanswered.begin() {
            return;
        }
        let unanswered = self.unanswered.clone();
        let asked = self.ask(|client| async move {
            let told = list(&client).await.unwrap_or_default();
            unanswered.end();
            // Perhaps nobody waits for it any more.
            let _ = to.send(told);
        });
        if asked.is_err() {
            self.unanswered.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, RecvTimeoutError};

    use super::*;
    use crate::docker::engine::on_thread;
    use crate::near;
    use proptest::prelude::*;

    fn port(ip: Option<&str>, public: Option<u16>, typ: PortSummaryTypeEnum) -> PortSummary {
        PortSummary { ip: ip.map(Into::into), private_port: 80, public_port: public, typ: Some(typ) }
    }

    fn container(names: &[&str], labels: &[(&str, &str)], ports: Vec<PortSummary>) -> ContainerSummary {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ContainerSummary {
            id: Some("0123456789ab".into()),
            names: Some(names.iter().map(ToString::to_string).collect()),
            image: Some("nginx".into()),
            labels: Some(labels.collect()),
            ports: Some(ports),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_published_is_told_and_what_is_only_exposed_is_not() {
        use PortSummaryTypeEnum::{SCTP, TCP, UDP};
        let ports = vec![
            port(Some("127.0.0.1"), Some(8080), TCP),
            port(None, None, TCP),
            port(Some("::"), Some(53), UDP),
            port(Some("127.0.0.1"), Some(9), SCTP),
            port(Some(""), Some(81), TCP),
        ];
        let told = published_by(container(&["/db/web", "/web-1"], &[], ports));
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        let by = "by container web-1 of image nginx";
        let expected = ["127.0.0.1:8080", "[::]:53 (UDP)", "0.0.0.0:81"].map(|at| format!("{at} {by}"));
        assert_eq!(told, expected);
    }

    #[test]
    fn a_test_is_told_of_this_crates_containers_alone() {
        let one = || vec![port(Some("127.0.0.1"), Some(80), PortSummaryTypeEnum::TCP)];
        let told = |labels: &[(&str, &str)]| published_by(container(&[], labels, one())).remove(0);
        let ours = told(&[(labels::OWNER, "me"), (labels::TEST, "suite::web")]);
        assert_eq!(ours.test.as_deref(), Some("suite::web"));
        assert_eq!(ours.container, "0123456789ab", "without a name, its id");
        assert_eq!(told(&[(labels::TEST, "suite::web")]).test, None);
    }

    /// A question that is waited for there would never be answered.
    #[test]
    fn on_the_engines_own_thread_nothing_is_asked() {
        let there = on_thread(async {
            let engine = Engine::of_tests(Ipv4Addr::LOCALHOST.into(), Publishing::OverHold);
            let (tell, told) = mpsc::channel();
            engine.tell(tell);
            told.recv_timeout(SILENT)
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(there.unwrap().answer()).unwrap(), Err(RecvTimeoutError::Disconnected));
        // Elsewhere it is asked, and as soon as it has refused nobody waits for it.
        let engine = Engine::of_tests(Ipv4Addr::LOCALHOST.into(), Publishing::OverHold);
        let (tell, told) = mpsc::channel();
        engine.tell(tell);
        assert_eq!(told.recv(), Ok(Vec::new()));
        assert!(engine.unanswered.0.lock().is_none());
    }

    #[test]
    fn an_engine_that_is_silent_is_not_asked_before_it_has_answered() {
        let unanswered = Unanswered::default();
        assert!(unanswered.begin());
        *unanswered.0.lock() = Instant::now().checked_sub(SILENT);
        assert!(!unanswered.begin());
        unanswered.end();
        assert!(unanswered.begin());
    }

    proptest! {
        #[test]
        fn no_container_has_too_odd_a_port(
            ip in prop::option::of(near::text(&["127.0.0.1", "::", "fe80::1%eth0"])),
            public: Option<u16>,
            names in prop::collection::vec(near::text(&["/web-1", "/db/web"]), 0..3),
        ) {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let told = published_by(container(&names, &[], vec![port(ip.as_deref(), public, PortSummaryTypeEnum::TCP)]));
            prop_assert!(told.iter().all(|port| port.address.port() != 0 && Some(port.address.port()) == public));
        }
    }
}
