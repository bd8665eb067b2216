//! Where automatic picks come from, and the numbers that they leave alone.

use std::io;

use super::{Numbers, PortRange};
use crate::imp;

/// Below it the IANA's registered services crowd; from here on few programs have a port of their own.
const LOWEST: u16 = 10_000;

/// Kubernetes' NodePorts: they may be packet-filter rules, which no bind can see.
const NODE_PORTS: (u16, u16) = (30_000, 32_767);

/// A default range with less room than this is not worth its name; then the kernel picks.
const LEAST_ROOM: usize = 1_000;

// To go when the allocator's builder takes a `PortRequest`: `WellKnown` has these numbers.
/// Numbers that people expect a certain service on. A test server there would be talked to by mistake, or, on a
/// port that browsers block, not at all.
#[rustfmt::skip]
pub(crate) const WELL_KNOWN: &[(u16, u16)] = &[
    (1, 1023),                    // privileged: the system's services
    (1433, 1434), (1521, 1521),   // SQL Server, Oracle
    (1719, 1720), (1723, 1723),   // blocked by browsers: H.323, PPTP
    (1883, 1883),                 // MQTT
    (2049, 2049),                 // NFS (blocked by browsers)
    (2181, 2181),                 // ZooKeeper
    (2375, 2376), (2379, 2380),   // Docker, etcd
    (3000, 3000),                 // development servers, Grafana
    (3306, 3306),                 // MySQL
    (3659, 3659), (4045, 4045), (4190, 4190), // blocked by browsers: SASL, NFS locks, ManageSieve
    (4222, 4222),                 // NATS
    (4317, 4318),                 // OpenTelemetry
    (5000, 5000),                 // container registry
    (5060, 5061),                 // SIP (blocked by browsers)
    (5173, 5173),                 // Vite
    (5432, 5432),                 // PostgreSQL
    (5601, 5601),                 // Kibana
    (5671, 5672),                 // AMQP
    (6000, 6000),                 // X11 (blocked by browsers)
    (6222, 6222),                 // NATS cluster
    (6379, 6380),                 // Redis
    (6443, 6443),                 // Kubernetes API
    (6566, 6566), (6665, 6669),   // blocked by browsers: SANE, IRC
    (6650, 6650),                 // Pulsar
    (6679, 6679), (6697, 6697),   // IRC over TLS (blocked by browsers)
    (7000, 7001), (7199, 7199),   // Cassandra
    (7474, 7474), (7687, 7687),   // Neo4j
    (8000, 8001), (8080, 8081),   // HTTP, as everyone's example has it
    (8086, 8086), (8123, 8123),   // InfluxDB, ClickHouse
    (8200, 8200), (8222, 8222),   // Vault, NATS monitoring
    (8300, 8302), (8500, 8500),   // Consul
    (8443, 8443),                 // HTTPS, likewise
    (8529, 8529),                 // ArangoDB
    (8883, 8883), (8888, 8888),   // MQTT over TLS, Jupyter
    (9000, 9000),                 // ClickHouse, MinIO
    (9042, 9042),                 // Cassandra
    (9090, 9094),                 // Prometheus, Kafka
    (9100, 9100),                 // node_exporter
    (9200, 9200), (9300, 9300),   // Elasticsearch
    (10_000, 10_000),             // Webmin
    (10_080, 10_080),             // Amanda (blocked by browsers)
    (10_250, 10_259),             // Kubernetes components
    (11_211, 11_211),             // memcached
    (15_671, 15_672),             // RabbitMQ management
    (16_379, 16_379),             // Redis Cluster bus
    (16_686, 16_686),             // Jaeger
    (19_092, 19_092),             // Redpanda
    (25_565, 25_565),             // Minecraft
    (25_672, 25_672),             // RabbitMQ cluster
    (26_257, 26_257),             // CockroachDB
    (26_379, 26_379),             // Redis Sentinel
    (27_017, 27_019),             // MongoDB
    (28_015, 28_015),             // RethinkDB
    (50_000, 50_000),             // Db2
    (61_613, 61_613), (61_616, 61_616), // ActiveMQ
];

/// The default range, without what the OS reserves; `None` where it has no room, and the kernel has to pick.
///
/// It lies below the ports that the OS gives to `bind(0)` and outgoing connections, so that nobody gets one of
/// these numbers by chance, also after release.
pub(crate) fn default_numbers() -> io::Result<Option<Numbers>> {
    let (ephemeral, _) = match imp::ephemeral_range() {
        Ok(range) => range,
        // Without /proc (a sandbox) the OS's range is unknown, so no range is known to be outside it.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    Ok(numbers_below(ephemeral, &imp::reserved_ports()?))
}

fn numbers_below(ephemeral: u16, reserved: &[(u16, u16)]) -> Option<Numbers> {
    let mut numbers = Numbers::new(PortRange::new(LOWEST..ephemeral).ok()?);
    for (first, last) in std::iter::once(&NODE_PORTS).chain(reserved) {
        numbers.remove(*first, *last);
    }
    (numbers.len() >= LEAST_ROOM).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_range_ends_below_the_ephemeral_range_and_the_node_ports() {
        let numbers = numbers_below(32_768, &[]).unwrap();
        assert_eq!((numbers.nth(0), numbers.nth(numbers.len() - 1)), (10_000, 29_999));
        let numbers = numbers_below(15_000, &[]).unwrap();
        assert_eq!(numbers.nth(numbers.len() - 1), 14_999);
        let numbers = numbers_below(49_152, &[]).unwrap();
        assert_eq!((numbers.nth(19_999), numbers.nth(20_000)), (29_999, 32_768));
    }

    #[test]
    fn what_the_os_reserves_is_left_out() {
        let numbers = numbers_below(12_000, &[(10_000, 10_004), (11_000, 11_000)]).unwrap();
        assert_eq!(numbers.len(), 2_000 - 6);
        assert_eq!((numbers.nth(0), numbers.nth(995)), (10_005, 11_001));
    }

    #[test]
    fn without_room_the_kernel_has_to_pick() {
        assert_eq!(numbers_below(1_024, &[]), None, "an ephemeral range that starts at 1024");
        assert_eq!(numbers_below(10_000, &[]), None);
        assert_eq!(numbers_below(10_999, &[]), None, "999 numbers are too few");
        assert!(numbers_below(11_000, &[]).is_some());
    }

    #[test]
    fn well_known_ports_hold_the_ones_people_expect() {
        for port in [80, 3306, 5432, 6379, 6667, 8080, 9092, 9200, 11_211, 27_017] {
            assert!(WELL_KNOWN.iter().any(|(first, last)| (*first..=*last).contains(&port)), "{port}");
        }
        assert!(WELL_KNOWN.iter().all(|(first, last)| first <= last));
    }
}
