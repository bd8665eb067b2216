use std::fmt;
use std::net::SocketAddr;

use crate::protocol::Protocol;

/// A port that a container engine has published, and for whom: what `docker.published()` lists, and the container
/// behind a [`Holder`](crate::Holder).
///
/// ```text
/// 127.0.0.1:8080 by container web-1 of image nginx
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedPort {
    /// On which address and number, of the engine's machine. Published on all addresses it is 0.0.0.0, or `::`.
    pub address: SocketAddr,
    /// For [`Protocol::Tcp`] or [`Protocol::Udp`].
    pub protocol: Protocol,
    /// The container's name.
    pub container: String,
    /// The container's id.
    pub id: String,
    /// The image that the container was made of, as whoever made it called it: `nginx`, `redis:7`.
    pub image: String,
    /// The port inside of the container.
    pub inside: u16,
    /// The test that made the container, if that was done by this crate.
    pub test: Option<String>,
}

impl PublishedPort {
    /// Who has it, for people.
    pub(crate) fn publisher(&self) -> String {
        format!("container {} of image {}", self.container, self.image)
    }
}

/// Where it is, and who has it.
impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let udp = if self.protocol == Protocol::Udp { " (UDP)" } else { "" };
        write!(f, "{}{udp} by {}", self.address, self.publisher())
    }
}

#[cfg(test)]
impl PublishedPort {
    /// Of a container `web-1`.
    pub(crate) fn of_tests(address: &str, protocol: Protocol) -> Self {
        Self {
            address: address.parse().unwrap(),
            protocol,
            container: "web-1".into(),
            id: "0123456789ab".into(),
            image: "nginx".into(),
            inside: 80,
            test: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_and_who_has_it_are_told() {
        let tcp = PublishedPort::of_tests("127.0.0.1:8080", Protocol::Tcp);
        assert_eq!(tcp.to_string(), "127.0.0.1:8080 by container web-1 of image nginx");
        let udp = PublishedPort::of_tests("[::]:53", Protocol::Udp);
        assert_eq!(udp.to_string(), "[::]:53 (UDP) by container web-1 of image nginx");
    }
}
