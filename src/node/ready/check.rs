//! The watch over a condition during one start of its node.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use super::attempt::{Answer, Attempts};
#[cfg(feature = "grpc")]
use super::grpc::Grpc;
#[cfg(feature = "http")]
use super::http::Http;
use super::proxied::Proxied;
use super::tcp::Probes;
use super::unix_file::UnixFile;
use super::when::When;
use super::{Condition, Ready};
use crate::held::HeldPort;
use crate::node::NodePorts;
use crate::node::launch::Kind;
use crate::node::launch::{Question, Running};
use crate::node::output::Output;
use crate::node::pattern::LogPattern;
use crate::node::together::together;

/// What a condition may look at.
pub(in crate::node) struct Scene<'a> {
    pub(in crate::node) ports: &'a NodePorts,
    /// In the order of `ports`.
    pub(in crate::node) held: &'a [HeldPort],
    pub(in crate::node) output: &'a Output,
    /// The node's own.
    pub(in crate::node) directory: Option<&'a Path>,
    /// Until the node has to be ready: no look takes longer.
    pub(in crate::node) left: Duration,
    /// To be asked itself.
    pub(in crate::node) server: Option<&'a dyn Running>,
}

/// A condition, and what is known of it in this start.
pub(in crate::node) struct Check(State);

enum State {
    Tcp(Probes),
    #[cfg(feature = "http")]
    Http(Http, Attempts),
    #[cfg(feature = "grpc")]
    Grpc(Grpc, Attempts),
    Log(LogPattern),
    UnixFile(UnixFile),
    When(When, Attempts),
    Proxied(Proxied),
    Ask(Question, Attempts),
    /// Those that have not been so yet.
    All(Vec<Check>),
    Any(Vec<Check>),
    Refused(&'static str),
}

type Look<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

impl Check {
    pub(super) fn new(condition: &Condition, kind: Kind) -> Self {
        let members = |members: &[Ready]| members.iter().map(|member| member.check(kind)).collect();
        Self(match condition.clone() {
            Condition::Tcp(target) if kind == Kind::Container => State::Proxied(Proxied::new(target)),
            Condition::Ask(question) => State::Ask(question, Attempts::that_wait()),
            Condition::Tcp(target) => State::Tcp(Probes::new(target)),
            #[cfg(feature = "http")]
            Condition::Http(http) => State::Http(http, Attempts::new()),
            #[cfg(feature = "grpc")]
            Condition::Grpc(grpc) => State::Grpc(grpc, Attempts::new()),
            Condition::Log(pattern) => State::Log(pattern),
            Condition::UnixFile(file) => State::UnixFile(file),
            Condition::When(when) => State::When(when, Attempts::that_wait()),
            Condition::All(all) => State::All(members(&all)),
            Condition::Any(any) => State::Any(members(&any)),
            Condition::Refused(reason) => State::Refused(reason),
        })
    }

    /// One look, without pauses; it ends soon, also where an answer is not there yet. `Err`: what is missing.
    pub(in crate::node) async fn look(&mut self, scene: &Scene<'_>) -> Answer {
        match &mut self.0 {
            State::Tcp(probes) => probes.look(scene).await,
            #[cfg(feature = "http")]
            State::Http(http, attempts) => http.look(attempts, scene).await,
            #[cfg(feature = "grpc")]
            State::Grpc(grpc, attempts) => grpc.look(attempts, scene).await,
            State::Log(pattern) => {
                let found = scene.output.find(pattern);
                found.map(drop).ok_or_else(|| format!("no line with {pattern} in its output"))
            }
            State::UnixFile(file) => file.look(scene.directory).await,
            State::When(when, attempts) => when.look(attempts, scene).await,
            State::Proxied(connections) => connections.look(scene).await,
            State::Ask(question, attempts) => question.look(attempts, scene).await,
            State::All(members) => all(members, scene).await,
            State::Any(members) => any(members, scene).await,
            State::Refused(reason) => Err((*reason).to_owned()),
        }
    }

    /// Boxed, since a look may look at members, and so on.
    fn boxed_look<'a>(&'a mut self, scene: &'a Scene<'_>) -> Look<'a> {
        Box::pin(self.look(scene))
    }
}

/// Looks at those that are left. Who was so once is not looked at again.
async fn all(members: &mut Vec<Check>, scene: &Scene<'_>) -> Answer {
    let looks = members.iter_mut().map(|member| member.boxed_look(scene)).collect();
    let answers = together(looks, |_| false).await;
    let mut is_missing = answers.iter().map(|answer| !matches!(answer, Some(Ok(()))));
    members.retain(|_| is_missing.next().unwrap_or(true));
    if members.is_empty() { Ok(()) } else { Err(missing(answers).join("; ")) }
}

async fn any(members: &mut [Check], scene: &Scene<'_>) -> Answer {
    let looks = members.iter_mut().map(|member| member.boxed_look(scene)).collect();
    let answers = together(looks, Answer::is_ok).await;
    if answers.iter().flatten().any(Answer::is_ok) {
        return Ok(());
    }
    match &missing(answers)[..] {
        [only] => Err(only.clone()),
        several => Err(format!("any of these would do: {}", several.join(" | "))),
    }
}

fn missing(answers: Vec<Option<Answer>>) -> Vec<String> {
    answers.into_iter().flatten().filter_map(Answer::err).collect()
}
