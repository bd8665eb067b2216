//! The connection to a server: made anew when it is broken, and bounded in time when there is no answer.

use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::{Client, Cmd, Connection, ErrorKind, FromRedisValue, RedisError, RedisResult};

use super::url;
use crate::error::{Error, Result};

/// The longest that each of connecting, asking and hearing the answer takes. A server that is there does it in
/// milliseconds; one that is not would hang the test.
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);

/// So often something is tried that no answer came to: a connection may have broken since it was used last, and the
/// signal of a child that has ended breaks off what has a timeout.
const ATTEMPTS: u32 = 5;

const PASSWORD: &str = "give user and password in the URL: redis://user:password@host:port, without a user \
                        redis://:password@host:port";

/// A server, and the connection to it.
pub(super) struct Server {
    client: Client,
    place: Box<str>,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    connection: Option<Connection>,
    /// When there was no answer in time.
    silent: Option<(Instant, Trouble)>,
}

/// What went wrong, and what can be done.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    what: Box<str>,
    next: Box<str>,
}

impl Server {
    /// One that answers, and keeps what it is told.
    pub(super) fn connect(url: &str) -> Result<Self> {
        let info = url::parse(url)?;
        let place = url::place(&info).into();
        let client = Client::open(info).map_err(|_| url::unusable())?;
        let server = Self { client, place, line: Mutex::default() };
        let about: String = server.ask("connect", &redis::cmd("INFO"))?;
        match unfit(&about) {
            Some(trouble) => Err(server.error("lease ports", &trouble)),
            None => Ok(server),
        }
    }

    /// Asks it, and waits for the answer. What is asked may be done twice.
    pub(super) fn ask<T: FromRedisValue>(&self, action: impl fmt::Display, question: &Cmd) -> Result<T> {
        self.ask_since(Instant::now(), action, question)
    }

    /// The same, for what is as good as done without it: not if there was no answer a moment ago. A test that ends with many
    /// ports would take that long for each.
    pub(super) fn ask_in_passing<T: FromRedisValue>(
        &self,
        action: impl fmt::Display,
        question: &Cmd,
    ) -> Result<T> {
        let now = Instant::now();
        self.ask_since(now.checked_sub(TIMEOUT).unwrap_or(now), action, question)
    }

    fn ask_since<T: FromRedisValue>(
        &self,
        since: Instant,
        action: impl fmt::Display,
        question: &Cmd,
    ) -> Result<T> {
        let mut line = self.line.lock();
        let trouble = match &line.silent {
            // Whoever waited for one that got no answer gets none either.
            Some((at, trouble)) if *at >= since => trouble.clone(),
            _ => match self.attempt(&mut line, question) {
                Ok(answer) => {
                    line.silent = None;
                    return Ok(answer);
                }
                Err(error) => {
                    let trouble = self.trouble(&error);
                    if error.is_timeout() {
                        line.silent = Some((Instant::now(), trouble.clone()));
                    }
                    trouble
                }
            },
        };
        Err(self.error(action, &trouble))
    }

    fn attempt<T: FromRedisValue>(&self, line: &mut Line, question: &Cmd) -> RedisResult<T> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let is_new = line.connection.is_none();
            let said = self.once(line, question);
            let Err(error) = &said else { return said };
            if is_answer(error) {
                return said;
            }
            line.connection = None;
            let is_final =
                !error.is_io_error() || error.is_timeout() || is_new && error.is_connection_dropped();
            if is_final || attempts == ATTEMPTS {
                return said;
            }
        }
    }

    fn once<T: FromRedisValue>(&self, line: &mut Line, question: &Cmd) -> RedisResult<T> {
        let connection = match &mut line.connection {
            Some(connection) => connection,
            none => {
                let connection = self.client.get_connection_with_timeout(TIMEOUT)?;
                connection.set_read_timeout(Some(TIMEOUT))?;
                connection.set_write_timeout(Some(TIMEOUT))?;
                none.insert(connection)
            }
        };
        question.query(connection)
    }

    fn trouble(&self, error: &RedisError) -> Trouble {
        let (what, next) = words(error);
        // Who listens there may be another, and repeat what it did not understand.
        let password = self.client.get_connection_info().redis_settings().password();
        let what = match password.filter(|password| !password.is_empty()) {
            Some(password) => what.replace(password, "***"),
            None => what,
        };
        Trouble { what: what.into(), next: next.into() }
    }

    /// For what the server has answered, which is of no use.
    pub(super) fn refused(&self, action: impl fmt::Display, what: impl fmt::Display, next: &str) -> Error {
        Error::coordinator(format_args!("{action} at the Redis server {}", self.place), what, next)
    }

    fn error(&self, action: impl fmt::Display, trouble: &Trouble) -> Error {
        self.refused(action, &trouble.what, &trouble.next)
    }
}

/// Where it is.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

/// Whether the server has said no, and goes on to listen.
fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// What an error means, and what can be done. What the client says of answers that it did not understand may repeat what
/// was asked.
fn words(error: &RedisError) -> (String, &'static str) {
    let (what, next) = match error.kind() {
        ErrorKind::Io if error.is_timeout() => {
            return (format!("no answer in {TIMEOUT:?}"), "see whether it hangs, or what drops its packets");
        }
        ErrorKind::Io => {
            let next = "start it, or correct the URL; if it was there, see its log for why it has gone";
            return (error.to_string(), next);
        }
        ErrorKind::AuthenticationFailed => ("it refuses the password", PASSWORD),
        _ => match (error.code(), error.detail()) {
            (Some("NOAUTH"), _) => ("it wants a password", PASSWORD),
            (Some(code), Some(detail)) => {
                let next = match code {
                    "NOPERM" => {
                        "allow its user the commands that heldport::coordinate::RedisLeases lists: ACL SETUSER"
                    }
                    "READONLY" => "give the address of the server that it is a replica of",
                    _ => "see the server's log",
                };
                return (format!("{code} {detail}"), next);
            }
            _ => ("it does not answer as a Redis server does", "see what listens there, and correct the URL"),
        },
    };
    (what.to_owned(), next)
}

/// Why leases cannot be kept there, as far as it says so itself.
pub(super) fn unfit(about: &str) -> Option<Trouble> {
    let value = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let (what, next) = if value("uptime_in_seconds").is_none() {
        ("it does not say how long it has been up".to_owned(), "give the address of Redis 5 or newer")
    } else if let Some(mode) = value("redis_mode").filter(|mode| *mode != "standalone") {
        let what = format!("it is no server by itself (redis_mode {mode})");
        (what, "give the address of one that is: a small one is enough")
    } else if value("role").is_some_and(|role| role != "master") {
        ("it is a replica".to_owned(), "give the address of the server that it is a replica of")
    } else {
        let policy = value("maxmemory_policy").filter(|policy| *policy != "noeviction")?;
        value("maxmemory").filter(|most| *most != "0")?;
        let what = format!("it forgets keys when its memory is full (maxmemory-policy {policy})");
        (what, "CONFIG SET maxmemory-policy noeviction, or give the address of another server")
    };
    Some(Trouble { what: what.into(), next: next.into() })
}
