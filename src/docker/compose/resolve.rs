//! A project's files, resolved by the user's command for ports that are held.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::super::engine::{Engine, Publishing};
use super::super::ownership::Ownership;
use super::super::place::allocator_for;
use super::command::{Tool, captured};
use super::document::Document;
use crate::allocator::PortAllocator;
use crate::error::{Error, Result};
use crate::held::HeldPort;
use crate::identity::PublishedPort;
use crate::node::{Choice, Wanted};
use crate::protocol::Protocol;

/// What a user has asked for.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) files: Vec<PathBuf>,
    /// The variables whose values are held ports: one that was held before, or one to be acquired.
    pub(super) ports: Vec<(Box<str>, Option<HeldPort>)>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) services: Vec<Box<str>>,
    pub(super) command: Option<Vec<OsString>>,
    pub(super) allocator: Option<Arc<PortAllocator>>,
}

/// The file, resolved for these numbers of the variables.
pub(super) struct Resolved {
    pub(super) tool: Tool,
    pub(super) directory: PathBuf,
    pub(super) name: String,
    pub(super) numbers: Vec<u16>,
    pub(super) document: Document,
    /// What waits to be asked for.
    pub(super) wanted: Vec<Wanted>,
    pub(super) is_built: bool,
}

impl Settings {
    pub(super) fn check(&self) -> Result<()> {
        let invalid = |name, reason| Err(Error::InvalidSetting { name, reason });
        let is_name = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
        if !self.ports.iter().all(|(variable, _)| is_name(variable)) {
            return invalid(
                "port",
                "it is the name of a variable, as in \"${PG_PORT}:5432\": not empty, and without `=`",
            );
        }
        let is_named = |(name, _): &(OsString, OsString)| name.to_str().is_none_or(is_name);
        if !self.env.iter().all(is_named) {
            return invalid("env", "the name of a variable is not empty, and has no `=`");
        }
        if self.env.iter().any(|(name, _)| self.ports.iter().any(|(port, _)| name.to_str() == Some(&**port)))
        {
            return invalid("env", "this variable has a held port's number already (`port`, `held`)");
        }
        Ok(())
    }
}

impl Settings {
    /// The first file, for errors.
    pub(super) fn file(&self) -> std::path::Display<'_> {
        self.files[0].display()
    }

    pub(super) fn refused(&self, action: &str, reason: impl Into<Box<str>>) -> Error {
        Error::docker(&format!("{action} {}", self.file()), reason, None)
    }

    /// Holds the ports of the variables, and resolves the file for them. What it then publishes elsewhere, or for
    /// another protocol, is held so, and the file resolved once more.
    pub(super) async fn resolve(&mut self, engine: &Arc<Engine>) -> Result<Resolved> {
        let tool = Tool::find(self.command.as_deref()).await?;
        let name = Ownership::of(engine)?.unique_name();
        let directory = self.directory()?;
        let beside = published_elsewhere(engine).await;
        let mut ports = Vec::new();
        for (_, held) in &mut self.ports {
            ports.push(match held.take() {
                Some(port) => Choice::Held(port),
                None => acquire(self.allocator.clone(), None, &beside)?,
            });
        }
        let numbers = numbers_of(&ports);
        let document = self.config(engine, &tool, &directory, &name, &numbers).await?;
        let mut resolved =
            Resolved { tool, directory, name, numbers, document, wanted: Vec::new(), is_built: false };
        if self.fit(engine, &resolved.document, &mut ports, &beside)? {
            resolved.numbers = numbers_of(&ports);
            let Resolved { tool, directory, name, numbers, .. } = &resolved;
            resolved.document = self.config(engine, tool, directory, name, numbers).await?;
        }
        for place in ports.len()..resolved.document.places {
            let entry = resolved.document.entries.iter().find(|entry| entry.place == place);
            let entry = entry.expect("each place but a variable's is an entry's");
            ports.push(acquire(self.allocator_at(engine, entry.host)?, Some(entry.protocol), &beside)?);
        }
        resolved.wanted = self.named(&resolved.document, ports);
        Ok(resolved)
    }

    /// Where relative paths in the files begin.
    fn directory(&self) -> Result<PathBuf> {
        for file in &self.files {
            if !file.is_file() {
                let at =
                    std::env::current_dir().map_or_else(|_| "?".to_owned(), |at| at.display().to_string());
                let reason = format!(
                    "there is no such file\nnext: give its path from {at}, where this process runs, or begin it with \
                     `env!(\"CARGO_MANIFEST_DIR\")`"
                );
                return Err(Error::docker(&format!("read {}", file.display()), reason, None));
            }
        }
        let file = std::path::absolute(&self.files[0]);
        let file = file.map_err(Error::system(None, "find the compose file"))?;
        Ok(file.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf))
    }

    /// Holds ports of variables as the file publishes them. Whether any is another one now.
    fn fit(
        &self,
        engine: &Engine,
        document: &Document,
        ports: &mut [Choice],
        beside: &[PublishedPort],
    ) -> Result<bool> {
        let mut has_changed = false;
        for (place, choice) in ports.iter_mut().enumerate() {
            let entries = || document.entries.iter().filter(move |entry| entry.place == place);
            let Some(protocol) = entries().map(|entry| entry.protocol).reduce(Protocol::and) else {
                continue;
            };
            let hosts = || entries().filter_map(|entry| entry.host);
            let host = hosts().find(IpAddr::is_unspecified).or_else(|| hosts().next());
            let (Choice::Held(port) | Choice::Acquired(port, _)) = choice else { continue };
            if port.protocol() == protocol && Self::is_held_on(engine, port, host) {
                continue;
            }
            if matches!(choice, Choice::Held(_)) {
                let (variable, _) = &self.ports[place];
                let reason = format!(
                    "it publishes ${{{variable}}} for {protocol}{}, and the port is not held so\nnext: hold it by an \
                     allocator with this `host` and `protocol`, or leave it to `Compose::port`",
                    host.map(|host| format!(" on {host}")).unwrap_or_default()
                );
                return Err(self.refused("use a held port for", reason));
            }
            *choice = acquire(self.allocator_at(engine, host)?, Some(protocol), beside)?;
            has_changed = true;
        }
        Ok(has_changed)
    }

    fn is_held_on(engine: &Engine, port: &HeldPort, host: Option<IpAddr>) -> bool {
        let Some(host) = host.filter(|_| engine.publishing() != Publishing::Elsewhere) else { return true };
        port.addrs().iter().any(|addr| addr.ip() == host || addr.ip().is_unspecified())
    }

    /// Where a port is acquired that is published on this address. An engine elsewhere has other ones.
    fn allocator_at(&self, engine: &Engine, host: Option<IpAddr>) -> Result<Option<Arc<PortAllocator>>> {
        match host.filter(|_| engine.publishing() != Publishing::Elsewhere) {
            Some(host) => allocator_for(host),
            None => Ok(self.allocator.clone()),
        }
    }

    /// Under the names by which conditions know them.
    fn named(&self, document: &Document, ports: Vec<Choice>) -> Vec<Wanted> {
        let named = ports.into_iter().enumerate().map(|(place, choice)| Wanted {
            name: self.ports.get(place).map(|(variable, _)| variable.clone()),
            inside: document
                .entries
                .iter()
                .find(|entry| entry.place == place)
                .map(|entry| format!("{}:{}", entry.service, entry.inside()).into()),
            choice,
        });
        named.collect()
    }

    /// The user's command, in the user's directory.
    pub(super) fn command(
        &self,
        engine: &Engine,
        tool: &Tool,
        directory: &Path,
        name: &str,
        numbers: &[u16],
    ) -> Result<Command> {
        let mut command = tool.at(engine)?;
        command.current_dir(directory).arg("--project-directory").arg(directory).args(["-p", name]);
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        let variables = self.ports.iter().zip(numbers);
        command.envs(variables.map(|((variable, _), number)| (&**variable, number.to_string())));
        Ok(command)
    }

    pub(super) async fn config(
        &self,
        engine: &Engine,
        tool: &Tool,
        directory: &Path,
        name: &str,
        numbers: &[u16],
    ) -> Result<Document> {
        let mut command = self.command(engine, tool, directory, name, numbers)?;
        for file in &self.files {
            let file = std::path::absolute(file).map_err(Error::system(None, "find the compose file"))?;
            command.arg("-f").arg(file);
        }
        command.arg("config").args(tool.format());
        let ran = captured(command).await.map_err(Error::system(None, "run the compose command"))?;
        if !ran.status.success() {
            let reason = format!("`{} config`: {}\nnext: mend the file", tool.shown(), ran.told(true));
            return Err(self.refused("read", reason));
        }
        let document = Document::parse(&ran.text(), &self.services, numbers);
        let document = document.map_err(|wrong| self.refused("use", wrong))?;
        self.check_variables(&document, numbers)?;
        Ok(document)
    }

    /// Each of them has to be somewhere in the file.
    fn check_variables(&self, document: &Document, numbers: &[u16]) -> Result<()> {
        for ((variable, _), number) in self.ports.iter().zip(numbers) {
            if !document.mentions(*number) {
                let reason = format!(
                    "nothing in it has the value of `{variable}`\nnext: publish a port as \"${{{variable}}}:80\" in it, or \
                     leave out `.port(\"{variable}\")`"
                );
                return Err(self.refused("use", reason));
            }
        }
        Ok(())
    }
}

/// What is in use at an engine elsewhere: others will do. Without an answer the start shows it.
pub(super) async fn published_elsewhere(engine: &Engine) -> Vec<PublishedPort> {
    match engine.publishing() {
        Publishing::Elsewhere => engine.published().await.unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The numbers of the variables' ports.
fn numbers_of(ports: &[Choice]) -> Vec<u16> {
    let number = |choice: &Choice| match choice {
        Choice::Held(port) | Choice::Acquired(port, _) => port.port(),
        _ => unreachable!("they are acquired"),
    };
    ports.iter().map(number).collect()
}

fn acquire(
    allocator: Option<Arc<PortAllocator>>,
    protocol: Option<Protocol>,
    beside: &[PublishedPort],
) -> Result<Choice> {
    let from = allocator.as_deref().unwrap_or(PortAllocator::global());
    let port = from.acquire_for(protocol.or(Some(Protocol::Tcp)), beside)?;
    Ok(Choice::Acquired(port, allocator))
}
