//! Whether an engine has refused a start since a port is in use, in the words of all engines.

use bollard::errors::Error as Refusal;

use super::engine::status_of;
use crate::error::Error;

/// Parts of what engines say: Docker's proxy and its allocator, rootless Docker, Podman's rootlessport and netavark,
/// Docker Desktop, Windows.
const WORDINGS: [&str; 7] = [
    "address already in use",
    "port is already allocated",
    "failed to bind host port",
    "ports are not available",
    "port is already in use",
    "only one usage of each socket address",
    "eaddrinuse",
];

/// A name that is taken (409) is no port, though it is "already in use" too; but Podman says 409 of all that is wrong
/// when it is attached to. A range that may not be bound ("permission denied") is none either.
pub(super) fn is_port_conflict(refusal: &Refusal) -> bool {
    let Refusal::DockerResponseServerError { message, .. } = refusal else { return false };
    tells_of_port(status_of(refusal), message)
}

/// Of a message, and the status of the answer that it came with, if it did.
pub(super) fn tells_of_port(status: Option<u16>, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let in_use = WORDINGS.iter().any(|wording| message.contains(wording));
    let is_name = status == Some(409) && !message.contains("for attach");
    in_use && !is_name && !message.contains("permission denied")
}

/// Whether somebody was in the way of a start: on other numbers it may succeed.
pub(super) fn was_in_the_way(error: &Error) -> bool {
    match error {
        Error::Stolen { .. } | Error::InUse { .. } => true,
        Error::Node { error, .. } => was_in_the_way(error),
        Error::Docker { reason, status, .. } => tells_of_port(*status, reason),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use proptest::prelude::*;

    fn is_conflict(status_code: u16, message: &str) -> bool {
        is_port_conflict(&Refusal::DockerResponseServerError { status_code, message: message.to_owned() })
    }

    #[test]
    fn all_wordings_are_known() {
        for message in [
            "driver failed programming external connectivity on endpoint web (1234): Error starting userland proxy: \
             listen tcp4 127.0.0.1:8080: bind: address already in use",
            "driver failed programming external connectivity on endpoint web (1234): Bind for 127.0.0.1:8080 failed: \
             port is already allocated",
            "failed to set up container networking: driver failed programming external connectivity on endpoint web \
             (1234): failed to bind host port for 127.0.0.1:8080:172.17.0.2:80/tcp: address already in use",
            "Ports are not available: exposing port TCP 127.0.0.1:8080 -> 0.0.0.0:0: listen tcp 127.0.0.1:8080: bind: \
             Only one usage of each socket address (protocol/network address/port) is normally permitted.",
            "rootlessport listen tcp 127.0.0.1:8080: bind: address already in use",
            "cannot listen on the TCP port: listen tcp4 :8080: bind: address already in use",
        ] {
            assert!(is_conflict(500, message), "{message}");
        }
    }

    #[test]
    fn names_and_rights_are_no_ports() {
        assert!(!is_conflict(
            409,
            "Conflict. The container name \"/web\" is already in use by container \"1234\". You have to remove (or \
             rename) that container to be able to reuse that name."
        ));
        assert!(!is_conflict(
            500,
            "failed to bind host port for 127.0.0.1:80: listen tcp: permission denied"
        ));
        assert!(!is_conflict(404, "No such image: web:latest"));
        assert!(is_conflict(
            409,
            "preparing container 1234 for attach: cannot listen on the TCP port: listen tcp4 127.0.0.1:8080: bind: \
             address already in use"
        ));
    }

    proptest! {
        #[test]
        fn a_wording_is_found_wherever_it_stands_and_however_it_is_written(
            before in near::text(&["driver failed on endpoint web (1234): listen tcp4 127.0.0.1:8080: bind: "]),
            wording in prop::sample::select(&WORDINGS[..]),
            after in near::text(&["permission denied", " for attach", "."]),
            status: Option<u16>,
        ) {
            let message = format!("{before}{}{after}", wording.to_uppercase());
            let lower = message.to_ascii_lowercase();
            let is_other = lower.contains("permission denied") || status == Some(409) && !lower.contains("for attach");
            prop_assert_eq!(tells_of_port(status, &message), !is_other, "{}", message);
            let _ = tells_of_port(status, &before);
        }
    }
}
