//! Numbers that people expect a certain service on.

use std::fmt;
use std::str::FromStr;

use super::PortRange;
use crate::error::{Error, Result};

/// A set of numbers that people expect a certain service on. A test server there would be talked to by mistake,
/// or, on a port that browsers block, not at all.
///
/// Automatic picks leave all sets alone; a number that is asked for by itself is never refused for being in one.
/// See [`PortRequest`](crate::PortRequest). What a set contains may grow with a release of this crate.
///
/// ```
/// use heldport::{PortRequest, WellKnown};
///
/// assert!(WellKnown::Databases.contains(5432));
/// assert_eq!("databases".parse::<WellKnown>()?, WellKnown::Databases);
///
/// // The others are allowed:
/// let request = PortRequest::any().exclude_well_known(false)?.exclude(WellKnown::Databases)?;
/// # Ok::<(), heldport::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WellKnown {
    /// 1 to 1023, which only privileged users may bind on most systems. In text: `privileged`.
    Privileged,
    /// Databases, search engines and caches: PostgreSQL, MySQL, Redis, Elasticsearch … In text: `databases`.
    Databases,
    /// Message brokers: Kafka, RabbitMQ, NATS, MQTT … In text: `brokers`.
    Brokers,
    /// What browsers refuse to connect to: the "bad ports" of the WHATWG's Fetch standard, from 1024 up. In text:
    /// `browsers`.
    Browsers,
    /// HTTP, as everyone's example has it: 3000, 8000, 8080 … In text: `web`.
    Web,
    /// What machines and clusters run on: Docker, Kubernetes, Consul, Prometheus …; also Webmin and Minecraft.
    /// In text: `infrastructure`.
    Infrastructure,
}

impl WellKnown {
    /// Every set.
    pub const ALL: &[Self] =
        &[Self::Privileged, Self::Databases, Self::Brokers, Self::Browsers, Self::Web, Self::Infrastructure];

    /// The numbers of the set as ranges, upwards.
    pub fn ports(self) -> impl Iterator<Item = PortRange> {
        self.runs().iter().map(|(first, last)| PortRange::of_run(*first, *last))
    }

    /// Whether `port` is one of them.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        self.runs().iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    #[rustfmt::skip]
    fn runs(self) -> &'static [(u16, u16)] {
        match self {
            Self::Privileged => &[(1, 1023)],
            Self::Databases => &[
                (1433, 1434), (1521, 1521),   // SQL Server, Oracle
                (3306, 3306), (5432, 5432),   // MySQL, PostgreSQL
                (6379, 6380),                 // Redis
                (7000, 7001), (7199, 7199),   // Cassandra
                (7474, 7474), (7687, 7687),   // Neo4j
                (8086, 8086), (8123, 8123),   // InfluxDB, ClickHouse
                (8529, 8529),                 // ArangoDB
                (9000, 9000),                 // ClickHouse, MinIO
                (9042, 9042),                 // Cassandra
                (9200, 9200), (9300, 9300),   // Elasticsearch
                (11_211, 11_211),             // memcached
                (16_379, 16_379),             // Redis Cluster bus
                (26_257, 26_257),             // CockroachDB
                (26_379, 26_379),             // Redis Sentinel
                (27_017, 27_019),             // MongoDB
                (28_015, 28_015),             // RethinkDB
                (50_000, 50_000),             // Db2
            ],
            Self::Brokers => &[
                (1883, 1883),                 // MQTT
                (4222, 4222),                 // NATS
                (5671, 5672),                 // AMQP
                (6222, 6222),                 // NATS cluster
                (6650, 6650),                 // Pulsar
                (8222, 8222), (8883, 8883),   // NATS monitoring, MQTT over TLS
                (9092, 9094),                 // Kafka
                (15_671, 15_672),             // RabbitMQ management
                (19_092, 19_092),             // Redpanda
                (25_672, 25_672),             // RabbitMQ cluster
                (61_613, 61_613), (61_616, 61_616), // ActiveMQ
            ],
            Self::Browsers => &[
                (1719, 1720), (1723, 1723),   // H.323, PPTP
                (2049, 2049), (3659, 3659),   // NFS, SASL
                (4045, 4045), (4190, 4190),   // NFS locks, ManageSieve
                (5060, 5061),                 // SIP
                (6000, 6000), (6566, 6566),   // X11, SANE
                (6665, 6669),                 // IRC
                (6679, 6679), (6697, 6697),   // IRC over TLS
                (10_080, 10_080),             // Amanda
            ],
            Self::Web => &[
                (3000, 3000),                 // development servers, Grafana
                (5000, 5000), (5173, 5173),   // Flask and the container registry, Vite
                (8000, 8001), (8080, 8081),
                (8443, 8443), (8888, 8888),   // HTTPS, Jupyter
            ],
            Self::Infrastructure => &[
                (2181, 2181),                 // ZooKeeper
                (2375, 2376), (2379, 2380),   // Docker, etcd
                (4317, 4318),                 // OpenTelemetry
                (5601, 5601),                 // Kibana
                (6443, 6443),                 // Kubernetes API
                (8200, 8200),                 // Vault
                (8300, 8302), (8500, 8500),   // Consul
                (9090, 9091), (9100, 9100),   // Prometheus, node_exporter
                (10_000, 10_000),             // Webmin
                (10_250, 10_259),             // Kubernetes components
                (16_686, 16_686),             // Jaeger
                (25_565, 25_565),             // Minecraft
            ],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Databases => "databases",
            Self::Brokers => "brokers",
            Self::Browsers => "browsers",
            Self::Web => "web",
            Self::Infrastructure => "infrastructure",
        }
    }
}

impl fmt::Display for WellKnown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for WellKnown {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|set| set.name() == name).ok_or_else(|| {
            let reason = "the sets of well-known ports are `privileged`, `databases`, `brokers`, `browsers`, `web` \
                          and `infrastructure`";
            Error::invalid_request(name, reason)
        })
    }
}

/// Every number of the set, upwards.
impl IntoIterator for WellKnown {
    type Item = u16;
    type IntoIter = std::vec::IntoIter<u16>;

    fn into_iter(self) -> Self::IntoIter {
        self.ports().flatten().map(u16::from).collect::<Vec<_>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_ascend_without_touching() {
        for set in WellKnown::ALL {
            let runs = set.runs();
            assert!(runs.iter().all(|(first, last)| first <= last), "{set}");
            assert!(runs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{set}");
        }
    }
}
