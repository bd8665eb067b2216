//! What can go wrong, each with the next step to take.

mod make;
mod words;

use std::io;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use crate::identity::{Holder, Holders};
use crate::protocol::Protocol;
use words::{elsewhere, in_use, output_of};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a port could not be had, kept or handed over. The message names the number, the holder where it is
/// known, and what to do next.
///
/// `Debug` is the message too: that is what a test shows that unwraps an error, or returns it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Every number that was tried is in use, or has too few free ones behind it.
    #[non_exhaustive]
    #[error(
        "{}\n{holders}next: {}",
        match (*count, *tried) {
            (1, 1..) => format!("no free port in {range:?}: {tried} tried, all in use"),
            (_, 1..) => format!("no {count} free ports together in {range:?}: {tried} places tried"),
            (_, 0) => format!("no {count} ports together in {range:?}: no place has room for them"),
        },
        elsewhere(*preferred, range, *count)
    )]
    RangeExhausted {
        /// Lowest and highest number of those that were tried.
        range: RangeInclusive<u16>,
        /// How many numbers were tried; of several together, how many as the first of them. 0 if nowhere is room for
        /// them, free or not.
        tried: usize,
        /// How many numbers were wanted together: 1, unless by
        /// [`acquire_block`](crate::PortAllocator::acquire_block) or
        /// [`acquire_offsets`](crate::PortAllocator::acquire_offsets).
        count: usize,
        /// The number that the search was to begin at, if it was.
        preferred: Option<u16>,
        /// Who is on them: this process's tests by name, others by pid and program, and by
        /// [container](Holder::published).
        holders: Box<Holders>,
    },

    /// The system lets this user bind no such number.
    #[non_exhaustive]
    #[error(
        "port {port} may not be bound by this user: {}",
        if *port < 1024 {
            "it is privileged\nnext: choose a number from 1024 up, or run with CAP_NET_BIND_SERVICE"
        } else {
            "a policy of the system forbids it\nnext: choose another number, or allow it there"
        }
    )]
    PermissionDenied {
        /// The number.
        port: u16,
    },

    /// Not a port number.
    #[non_exhaustive]
    #[error("{given:?} is no port to hold: a port is a number from 1 to 65535")]
    InvalidPort {
        /// What was given.
        given: Box<str>,
    },

    /// Not a range that ports can be picked from.
    #[non_exhaustive]
    #[error("the port range {given} cannot be used: {reason}")]
    InvalidRange {
        /// The range as it was written.
        given: Box<str>,
        /// What is wrong with it and how to mend it.
        reason: &'static str,
    },

    /// Not a way to ask for ports: see [`PortRequest`](crate::PortRequest).
    #[non_exhaustive]
    #[error("the port request {given:?} cannot be used: {reason}")]
    InvalidRequest {
        /// The part that was not understood, as it was written.
        given: Box<str>,
        /// What is wrong with it and how to mend it.
        reason: &'static str,
    },

    /// A number of ports that cannot be had at once.
    #[non_exhaustive]
    #[error("{count} ports cannot be acquired at once: ask for 1 to {available}, the numbers of the range")]
    InvalidCount {
        /// How many were asked for.
        count: usize,
        /// How many numbers there are to pick from.
        available: usize,
    },

    /// A setting of a builder that has no meaning.
    #[non_exhaustive]
    #[error("the setting `{name}` cannot be used: {reason}")]
    InvalidSetting {
        /// The setter's name.
        name: &'static str,
        /// What is wrong with it and how to mend it.
        reason: &'static str,
    },

    /// A variable of the environment that has no meaning.
    #[non_exhaustive]
    #[error("the environment says {given}, which cannot be used: {reason}")]
    InvalidVariable {
        /// The variable, and what it says: `HELDPORT_LANE=4/4`.
        given: Box<str>,
        /// What is wrong with it and how to mend it.
        reason: &'static str,
    },

    /// Somebody else has exactly the number that was asked for.
    #[non_exhaustive]
    #[error("port {port} is in use: {}", in_use(holder.as_deref(), *retry_after))]
    InUse {
        /// The number.
        port: u16,
        /// Who has it, where that can be told, and for which [container](Holder::published).
        holder: Option<Box<Holder>>,
        /// When only connections that were closed a moment ago are left (`TIME_WAIT`): how long until the last
        /// of them is gone.
        retry_after: Option<Duration>,
    },

    /// A hand-over that a port is not held for.
    #[non_exhaustive]
    #[error(
        "port {port} is held for {held}, not for {needed}\nnext: acquire it with `.protocol(..)` for {needed}"
    )]
    WrongProtocol {
        /// The number.
        port: u16,
        /// What it is held for.
        held: Protocol,
        /// What the hand-over needs.
        needed: Protocol,
    },

    /// Another listens on a number that was lent.
    #[non_exhaustive]
    #[error(
        "{}port {port} was taken by another while it was lent: {holder}\nnext: {}",
        node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default(),
        if holder.is_this_process() {
            "give what listens there a port of its own"
        } else if holder.published.is_some() {
            "start again on another number, or stop that container"
        } else {
            "start again on another number, or stop that program"
        }
    )]
    Stolen {
        /// The number.
        port: u16,
        /// Who listens there.
        holder: Box<Holder>,
        /// The node that it was lent to, if it was one.
        node: Option<Box<str>>,
    },

    /// Nobody listened in time, or a node did not get ready.
    #[non_exhaustive]
    #[error("{node} was not ready after {waited:.1?}{}", output_of(output))]
    NotReady {
        /// What was waited for.
        node: Box<str>,
        /// How long.
        waited: Duration,
        /// Its last output, or what is known instead.
        output: Box<str>,
    },

    /// A node did not end.
    #[non_exhaustive]
    #[error(
        "{node} has not ended in {waited:.1?}\n\
         next: a task is cancelled where it awaits something: let it do so, or put what blocks it into a child process"
    )]
    NotStopped {
        /// The node's name.
        node: Box<str>,
        /// How long it was waited for.
        waited: Duration,
    },

    /// What a node needed besides its own readiness could not be had.
    #[non_exhaustive]
    #[error("{node}: {error}")]
    Node {
        /// The node's name.
        node: Box<str>,
        /// What went wrong.
        error: Box<Error>,
    },

    /// A program's argument, or a condition, is about a port that the node does not have.
    #[non_exhaustive]
    #[error(
        "{given} means no port of the node\nnext: {}",
        if names.is_empty() {
            "give the port a name with `with_port`, or write {port}".to_owned()
        } else {
            format!("its named ports are: {names}")
        }
    )]
    NoSuchPort {
        /// The word that is about it, as it was written.
        given: Box<str>,
        /// The names that there are.
        names: Box<str>,
    },

    /// A binary of the package under test is not where cargo puts it.
    #[non_exhaustive]
    #[error(
        "the binary `{name}` is not there{}\n\
         next: `cargo build --bin {name}` with the profile of the tests; cargo builds the binaries of a package before \
         its integration tests, but not before its unit tests",
        looked_at.as_ref().map(|path| format!(" ({})", path.display())).unwrap_or_default()
    )]
    NoSuchProgram {
        /// Its name.
        name: Box<str>,
        /// Where it should be.
        looked_at: Option<Box<Path>>,
    },

    /// The process has as many open files as it may.
    #[non_exhaustive]
    #[error(
        "too many open files: this process holds {held} ports, and its limit is {} files\n\
         next: raise the limit (`ulimit -n 20000`); a port takes a file for each address and protocol: two by default",
        limit.map_or_else(|| "an unknown number of".to_owned(), |limit| limit.to_string())
    )]
    TooManyOpenFiles {
        /// Ports that this process holds.
        held: usize,
        /// The soft limit of open files, where it can be read.
        limit: Option<u64>,
    },

    /// Ports cannot be remembered from run to run: the directory for them cannot be made, read or written, or it is
    /// not this user's alone.
    #[non_exhaustive]
    #[error("ports cannot be remembered in {path:?}: {reason}")]
    StateDirectory {
        /// The directory, or the file in it that is in the way.
        path: Box<Path>,
        /// What is wrong with it and how to mend it.
        reason: Box<str>,
        /// What the system said, if it was asked to do something.
        source: Option<io::Error>,
    },

    /// There is no directory for files of nodes, or for names of ports: it cannot be made, or the one above it is not
    /// this user's alone.
    #[non_exhaustive]
    #[error("no files can be kept in {path:?}: {reason}")]
    Directory {
        /// The directory.
        path: Box<Path>,
        /// What is wrong with it and how to mend it.
        reason: Box<str>,
        /// What the system said, if it was asked to do something.
        source: Option<io::Error>,
    },

    /// A container engine was not found, or refused something.
    #[non_exhaustive]
    #[error("docker: cannot {action}: {reason}")]
    Docker {
        /// What was attempted.
        action: Box<str>,
        /// What the engine said, and how to mend it.
        reason: Box<str>,
        /// The status of the engine's answer, if it gave one.
        status: Option<u16>,
    },

    /// A stack of several services did not start.
    #[non_exhaustive]
    #[error("the stack did not start: {error}\n{others}")]
    Stack {
        /// The name of the service that failed first.
        service: Box<str>,
        /// Why.
        error: Box<Error>,
        /// How far each of the others was, with its last output.
        others: Box<str>,
    },

    /// A node's server has ended that is still needed.
    #[non_exhaustive]
    #[error("{node} has ended, {reason}")]
    Ended {
        /// The node's name.
        node: Box<str>,
        /// Its exit status, what else is known of its end, and its last output.
        reason: Box<str>,
    },

    /// Who keeps account of leases refused something, or is not there.
    #[non_exhaustive]
    #[error("cannot {action}: {reason}")]
    Coordinator {
        /// What was attempted.
        action: Box<str>,
        /// What is wrong and how to mend it. No password is in it.
        reason: Box<str>,
    },

    /// The lease of a held port has ended before the port: another may have the number by now.
    #[non_exhaustive]
    #[error(
        "the lease of port {port} is lost: {reason}\nnext: end what serves there, and acquire another port"
    )]
    LeaseLost {
        /// The number.
        port: u16,
        /// Why, and whose it is by now, where that is known.
        reason: Box<str>,
    },

    /// No port has this name: see `lookup`, and for other ports' names `registry`.
    #[non_exhaustive]
    #[error(
        "no port is named {name:?} {others}\n\
         next: have a process of this user, with the same TMPDIR, name it `.named({name:?})`, or wait for that with \
         `lookup_within`"
    )]
    NoSuchName {
        /// The name that was looked for.
        name: Box<str>,
        /// Which names there are.
        others: Box<str>,
    },

    /// A port had this name, and whoever named it has ended.
    #[non_exhaustive]
    #[error(
        "the port that is named {name:?} has gone: it was {what}, which has ended\n\
         next: see how that process ended, and keep it until nobody needs the port any more; if it starts again, wait with \
         `lookup_within`"
    )]
    NameGone {
        /// The name that was looked for.
        name: Box<str>,
        /// Where the port was, and who had it.
        what: Box<str>,
    },

    /// A living process has a port of this name.
    #[non_exhaustive]
    #[error(
        "the name {name:?} is taken: it is {what}\n\
         next: release that port first, or take another name; tests that run at once need names of their own"
    )]
    NameTaken {
        /// The name.
        name: Box<str>,
        /// Where that port is, and who has it.
        what: Box<str>,
    },

    /// The operating system refused something that it should not.
    #[non_exhaustive]
    #[error("cannot {action}{}: {source}", port.map(|port| format!(" port {port}")).unwrap_or_default())]
    System {
        /// The port, if it is about one.
        port: Option<u16>,
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests;
