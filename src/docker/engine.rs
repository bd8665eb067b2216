//! An engine, and the thread on which it is asked.

use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::mpsc;
use std::thread;

use bollard::errors::Error as Refusal;
use once_cell::sync::OnceCell;
use tokio::runtime::{self, Handle};
use tokio::task::JoinHandle;

use super::classify::Version;
use super::discovery::Unanswered;
use crate::error::{Error, Result};

/// How an engine publishes ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Publishing {
    /// In this process's network, over a hold that is lent to it: nobody gets the number but who asks for this very
    /// one with SO_REUSEADDR before the container has it.
    OverHold,
    /// In this process's network, where the number is free: the hold is released just before the container is
    /// started. For engines that bind without SO_REUSEADDR.
    ReleaseFirst,
    /// In another network: that of another machine, of a virtual one, or of the host of this container. A hold here
    /// means nothing there: see [Engines elsewhere](crate::docker#engines-elsewhere).
    Elsewhere,
}

/// An engine that answers.
pub(crate) struct Engine {
    client: bollard::Docker,
    /// Where it was found, as `DOCKER_HOST` says it.
    found_at: Box<str>,
    pub(super) version: Version,
    /// Where its published ports are reached, and how they get there.
    pub(super) address: IpAddr,
    publishing: AtomicU8,
    is_proven: AtomicBool,
    pub(super) unanswered: Unanswered,
}

impl Engine {
    pub(super) fn new(
        client: bollard::Docker,
        found_at: &str,
        version: Version,
        address: IpAddr,
        publishing: Publishing,
    ) -> Self {
        let publishing = AtomicU8::new(publishing as u8);
        Self {
            client,
            found_at: found_at.into(),
            version,
            address,
            publishing,
            is_proven: AtomicBool::new(false),
            unanswered: Unanswered::default(),
        }
    }

    /// One that nobody answers for.
    #[cfg(test)]
    pub(super) fn of_tests(address: IpAddr, publishing: Publishing) -> Self {
        let client = bollard::Docker::connect_with_http("tcp://127.0.0.1:1", 1, bollard::API_DEFAULT_VERSION);
        Self::new(client.unwrap(), "tcp://127.0.0.1:1", Version::default(), address, publishing)
    }

    pub(super) fn found_at(&self) -> &str {
        &self.found_at
    }

    /// Where the engine's command line finds it too; none if only its client knows.
    pub(super) fn command_host(&self) -> Option<&str> {
        self.found_at.contains("://").then_some(&self.found_at)
    }

    /// Whether the other is known to be the same one. Of somebody's own clients nobody can tell where they lead.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || self.command_host().is_some_and(|host| other.command_host() == Some(host))
    }

    pub(super) fn publishing(&self) -> Publishing {
        // It is one fact of its own: nothing else is read by it.
        match self.publishing.load(Ordering::Relaxed) {
            0 => Publishing::OverHold,
            1 => Publishing::ReleaseFirst,
            _ => Publishing::Elsewhere,
        }
    }

    /// Remembers what a start has shown.
    pub(super) fn learn(&self, publishing: Publishing) {
        self.publishing.store(publishing as u8, Ordering::Relaxed);
        self.is_proven.store(true, Ordering::Relaxed);
    }

    /// Whether it binds over a hold, if that is known.
    pub(super) fn shares(&self) -> Option<bool> {
        match self.publishing() {
            Publishing::ReleaseFirst => Some(false),
            Publishing::Elsewhere => Some(true),
            // It is known when a start has shown it.
            Publishing::OverHold => self.is_proven.load(Ordering::Relaxed).then_some(true),
        }
    }

    /// Asks the engine, on a thread of its own: what was asked goes on to its end if nobody waits for it any more,
    /// and does not depend on the runtime of the test, nor on whether there is one.
    pub(super) fn ask<T, F>(
        &self,
        question: impl FnOnce(bollard::Docker) -> F + Send + 'static,
    ) -> Result<Asked<T>>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let client = self.client.clone();
        on_thread(async move { question(client).await })
    }

    /// Asks it, and waits for the answer in the same place: in `Drop`, inside of a runtime or outside.
    pub(super) fn ask_blocking<T, F>(
        &self,
        question: impl FnOnce(bollard::Docker) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (tell, told) = mpsc::channel();
        self.ask(move |client| async move { drop(tell.send(question(client).await)) })?;
        told.recv().map_err(|_| gone())
    }

    /// Asks it to remove what ends with a value, for `Drop`, and waits until it is done. Not on the engine's own
    /// thread, where answers end that nobody took: there it goes on by itself.
    pub(super) fn ask_to_remove<F>(&self, question: impl FnOnce(bollard::Docker) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // What cannot be asked for now, the next sweep removes.
        if is_engines_thread() {
            drop(self.ask(question));
        } else {
            let _ = self.ask_blocking(question);
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("found_at", &self.found_at).finish_non_exhaustive()
    }
}

/// An answer that is on its way. Dropping it changes nothing.
pub(super) struct Asked<T>(JoinHandle<T>);

impl<T> Asked<T> {
    pub(super) async fn answer(self) -> Result<T> {
        self.0.await.map_err(|_| gone())
    }
}

/// A question that has panicked.
fn gone() -> Error {
    Error::docker("ask the engine", "the request was given up", None)
}

thread_local! {
    static ON_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is the thread on which engines are asked: nothing may be waited for here.
pub(super) fn is_engines_thread() -> bool {
    ON_THREAD.get()
}

/// Does something on the engines' thread, to its end.
pub(super) fn on_thread<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> Result<Asked<T>> {
    Ok(Asked(handle()?.spawn(task)))
}

/// The thread's runtime. There is one for the process: it sleeps while nothing is asked.
fn handle() -> Result<&'static Handle> {
    static HANDLE: OnceCell<Handle> = OnceCell::new();
    HANDLE.get_or_try_init(|| {
        let start = || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let serve = move || {
                ON_THREAD.set(true);
                runtime.block_on(std::future::pending::<()>());
            };
            thread::Builder::new().name("heldport: docker".into()).spawn(serve)?;
            Ok(handle)
        };
        start().map_err(Error::system(None, "start a thread for the engine"))
    })
}

impl Error {
    pub(super) fn docker(action: &str, reason: impl Into<Box<str>>, status: Option<u16>) -> Self {
        Self::Docker { action: action.into(), reason: reason.into(), status }
    }

    /// The error for what the engine refused.
    pub(super) fn refused(action: &str) -> impl FnOnce(Refusal) -> Self + use<'_> {
        move |refusal| {
            let status = status_of(&refusal);
            Self::docker(action, words(&refusal), status)
        }
    }
}

/// What the engine said; if nothing reached it, what the system said.
pub(super) fn words(refusal: &Refusal) -> String {
    match refusal {
        Refusal::DockerResponseServerError { message, .. } => message.trim_end().to_owned(),
        Refusal::DockerStreamError { error } => error.clone(),
        Refusal::HyperLegacyError { err } => {
            let causes = std::iter::successors(err.source(), |cause: &&dyn StdError| (*cause).source());
            causes.last().map_or_else(|| err.to_string(), ToString::to_string)
        }
        other => other.to_string(),
    }
}

pub(super) fn status_of(refusal: &Refusal) -> Option<u16> {
    match refusal {
        Refusal::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}
