//! Where a server is, as its URL says it. A URL may have a password, so what is wrong with one is told without it.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::error::{Error, Result};

const FORMS: &str = "write redis://host:port, redis://user:password@host:port/database, or unix:///path?db=0&user=..&pass=.., \
                     with %40 and the like for what would end a part of it; it is not shown here for its password";

/// Where a server is, and how it is entered.
///
/// A part that nobody has asked for may be the rest of a password, of which another part is taken for the host then.
pub(super) fn parse(url: &str) -> Result<ConnectionInfo> {
    let Some(parsed) = redis::parse_redis_url(url.trim()) else {
        return Err(wrong("is none of a Redis server"));
    };
    if matches!(parsed.scheme(), "rediss" | "valkeys") {
        return Err(Error::coordinator(
            "use the URL of the Redis server",
            "TLS is not supported",
            "let a tunnel on this machine speak it (stunnel, `ssh -L 6379:localhost:6379`), and give its address",
        ));
    }
    let is_unix = parsed.scheme().contains("unix");
    let known = |name: &str| name == "protocol" || is_unix && matches!(name, "db" | "user" | "pass");
    if parsed.fragment().is_some() || !parsed.query_pairs().all(|(name, _)| known(&name)) {
        return Err(wrong("has a part after ? or # that means nothing"));
    }
    let info = parsed.into_connection_info().map_err(|_| {
        wrong(if is_unix { "has no path or a wrong database" } else { "has no host or a wrong database" })
    })?;
    let settings = info.tcp_settings().clone().set_nodelay(true);
    // The client's own name is nothing that its user need be allowed to set.
    let login = info.redis_settings().clone().set_skip_set_lib_name();
    Ok(info.set_tcp_settings(settings).set_redis_settings(login))
}

/// One that the client does not know how to use.
pub(super) fn unusable() -> Error {
    wrong("is none that this system can use")
}

fn wrong(what: &str) -> Error {
    Error::coordinator("use the URL of the Redis server", format_args!("it {what}"), FORMS)
}

/// "127.0.0.1:6379, database 0"
pub(super) fn place(info: &ConnectionInfo) -> String {
    let database = info.redis_settings().db();
    match info.addr() {
        ConnectionAddr::Tcp(host, port) if host.contains(':') => {
            format!("[{host}]:{port}, database {database}")
        }
        addr => format!("{addr}, database {database}"),
    }
}
