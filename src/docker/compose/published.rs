//! The ports that a file's services publish, in all forms in which they are written.

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::protocol::Protocol;

/// A published port that is to be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) service: Box<str>,
    /// Its place in the service's list.
    pub(super) index: usize,
    /// The number inside.
    pub(super) target: u16,
    pub(super) protocol: Protocol,
    /// Where it is published, if the file says it.
    pub(super) host: Option<IpAddr>,
    /// The number that the file says, or a range of them.
    pub(super) in_file: Option<Box<str>>,
    /// That number is a variable's.
    pub(super) is_variable: bool,
    /// Which of the held ports it is.
    pub(super) place: usize,
}

impl Entry {
    /// As the engine says it.
    pub(super) fn suffix(&self) -> &'static str {
        if self.protocol == Protocol::Udp { "udp" } else { "tcp" }
    }

    /// As users say it.
    pub(super) fn inside(&self) -> Box<str> {
        match self.protocol {
            Protocol::Udp => format!("{}/udp", self.target).into(),
            _ => self.target.to_string().into(),
        }
    }

    /// Whether this is what a user says.
    pub(super) fn is(&self, service: &str, inside: &str) -> bool {
        let inside = inside.strip_suffix("/tcp").unwrap_or(inside);
        *self.service == *service && *self.inside() == *inside
    }
}

/// All of them, and the number of places: first those of the variables with these numbers, whether these publish
/// anything or not.
pub(super) fn entries(
    services: &Map<String, Value>,
    variables: &[u16],
) -> Result<(Vec<Entry>, usize), String> {
    let (mut entries, mut places) = (Vec::new(), variables.len());
    for (name, service) in services {
        // On the host's network nothing is published; and several containers cannot share a number.
        if service["network_mode"].as_str() == Some("host") || replicas(service) > 1 {
            continue;
        }
        for (index, port) in service["ports"].as_array().into_iter().flatten().enumerate() {
            let written = Written::parse(port)
                .map_err(|wrong| format!("service {name} publishes {port}, which {wrong}"))?;
            let Written { target, protocol: Some(protocol), host, in_file } = written else { continue };
            let number = in_file.as_deref().and_then(|number| number.parse::<u16>().ok());
            let variable = variables.iter().position(|variable| number == Some(*variable));
            let place = variable.unwrap_or(places);
            places += usize::from(variable.is_none());
            let (service, is_variable) = (name.as_str().into(), variable.is_some());
            entries.push(Entry { service, index, target, protocol, host, in_file, is_variable, place });
        }
    }
    Ok((entries, places))
}

fn replicas(service: &Value) -> u64 {
    let scale = service["scale"].as_u64();
    scale.or_else(|| service["deploy"]["replicas"].as_u64()).unwrap_or(1)
}

/// A port as it is written.
#[derive(Debug, PartialEq, Eq)]
struct Written {
    target: u16,
    /// None, if it is neither TCP nor UDP.
    protocol: Option<Protocol>,
    host: Option<IpAddr>,
    in_file: Option<Box<str>>,
}

impl Written {
    fn parse(port: &Value) -> Result<Self, String> {
        let text = |key: &str| match &port[key] {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        match port {
            Value::Object(_) => {
                let protocol = text("protocol").unwrap_or_else(|| "tcp".to_owned());
                let target = text("target").unwrap_or_default();
                Self::of(&target, &protocol, text("host_ip").as_deref(), text("published").as_deref())
            }
            Value::String(short) => Self::parse_short(short),
            other => Self::of(&other.to_string(), "tcp", None, None),
        }
    }

    /// `[[host:]published:]target[/protocol]`
    fn parse_short(short: &str) -> Result<Self, String> {
        let (rest, protocol) = short.rsplit_once('/').unwrap_or((short, "tcp"));
        let Some((rest, target)) = rest.rsplit_once(':') else { return Self::of(rest, protocol, None, None) };
        let (host, published) = match rest.rsplit_once(':') {
            Some((host, published)) => (Some(host), published),
            None => (None, rest),
        };
        Self::of(target, protocol, host, Some(published))
    }

    fn of(target: &str, protocol: &str, host: Option<&str>, published: Option<&str>) -> Result<Self, String> {
        let target = target.parse().map_err(|_| format!("has no number inside: {target:?}"))?;
        let protocol = match protocol {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            _ => None,
        };
        let host = host.map(|host| host.trim_matches(['[', ']'])).filter(|host| !host.is_empty());
        let host = host.map(|host| host.parse().map_err(|_| format!("has no address: {host:?}")));
        let in_file = published.filter(|published| !["", "0"].contains(published)).map(Into::into);
        Ok(Self { target, protocol, host: host.transpose()?, in_file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn all_forms_of_a_port_are_read() {
        let tcp = |target, host: Option<&str>, in_file: Option<&str>| Written {
            target,
            protocol: Some(Protocol::Tcp),
            host: host.map(|host| host.parse().unwrap()),
            in_file: in_file.map(Into::into),
        };
        for (port, expected) in [
            (json!(80), tcp(80, None, None)),
            (json!("80"), tcp(80, None, None)),
            (json!("8080:80"), tcp(80, None, Some("8080"))),
            (json!("8080-8090:80/tcp"), tcp(80, None, Some("8080-8090"))),
            (json!("127.0.0.1:8080:80"), tcp(80, Some("127.0.0.1"), Some("8080"))),
            (json!("127.0.0.1::80"), tcp(80, Some("127.0.0.1"), None)),
            (json!("::1:8080:80/tcp"), tcp(80, Some("::1"), Some("8080"))),
            (json!("[::1]:8080:80"), tcp(80, Some("::1"), Some("8080"))),
            (json!({ "target": 80 }), tcp(80, None, None)),
            (json!({ "target": 80, "published": 8080 }), tcp(80, None, Some("8080"))),
            (
                json!({ "mode": "ingress", "target": 80, "published": "8080", "protocol": "tcp", "host_ip": "0.0.0.0" }),
                tcp(80, Some("0.0.0.0"), Some("8080")),
            ),
        ] {
            assert_eq!(Written::parse(&port).unwrap(), expected, "{port}");
        }
        let udp = Written::parse(&json!("5353:53/udp")).unwrap();
        assert_eq!(udp.protocol, Some(Protocol::Udp));
        assert_eq!(Written::parse(&json!("1:2/sctp")).unwrap().protocol, None);
        for wrong in [json!("http"), json!("8080:80-82"), json!("somewhere:1:2"), json!(null), json!({})] {
            assert!(Written::parse(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn variables_have_the_first_places_and_what_cannot_be_held_has_none() {
        let services = json!({
            "db": { "ports": [{ "target": 6379, "published": "20001" }, "53/udp", "20001:6379/udp"] },
            "host": { "network_mode": "host", "ports": ["1:1"] },
            "several": { "deploy": { "replicas": 2 }, "ports": ["80"] },
            "web": { "ports": ["8080:80", "9:9/sctp"] },
        });
        let (entries, places) = entries(services.as_object().unwrap(), &[20000, 20001]).unwrap();
        let told: Vec<_> =
            entries.iter().map(|e| (&*e.service, e.inside(), e.is_variable, e.place)).collect();
        assert_eq!(
            told,
            [
                ("db", "6379".into(), true, 1),
                ("db", "53/udp".into(), false, 2),
                ("db", "6379/udp".into(), true, 1),
                ("web", "80".into(), false, 3),
            ]
        );
        assert_eq!(places, 4);
        assert!(entries[0].is("db", "6379/tcp") && !entries[0].is("web", "6379"));
    }

    const FORMS: [&str; 5] =
        ["8080:80", "127.0.0.1:8080:80/udp", "[::1]:8080-8090:80/tcp", "127.0.0.1::80", "80/sctp"];

    proptest! {
        #[test]
        fn no_port_is_too_odd(
            short in near::text(&FORMS),
            words in prop::collection::vec(near::text(&["80", "tcp", "127.0.0.1", "8080"]), 4),
            number: i64,
        ) {
            let long = json!({ "target": words[0], "protocol": words[1], "host_ip": words[2], "published": words[3] });
            let numbers = json!({ "target": number, "published": number, "host_ip": number });
            for port in [json!(short), long, numbers, json!(number), json!([short]), json!({ "target": { "a": short } })] {
                if let Ok(written) = Written::parse(&port) {
                    prop_assert!(port.to_string().contains(&written.target.to_string()), "{}", port);
                }
            }
        }

        #[test]
        fn a_port_is_read_as_it_is_written(target: u16, number in 1_u16.., ip: IpAddr, udp: bool) {
            let host = if let IpAddr::V6(ip) = ip { format!("[{ip}]") } else { ip.to_string() };
            let suffix = if udp { "udp" } else { "tcp" };
            let short = json!(format!("{host}:{number}:{target}/{suffix}"));
            let long = json!({ "target": target, "published": number, "protocol": suffix, "host_ip": ip.to_string() });
            let expected = Written {
                target,
                protocol: Some(if udp { Protocol::Udp } else { Protocol::Tcp }),
                host: Some(ip),
                in_file: Some(number.to_string().into()),
            };
            for port in [short, long] {
                prop_assert_eq!(&Written::parse(&port).unwrap(), &expected, "{}", port);
            }
        }
    }
}
