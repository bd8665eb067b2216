//! The compose command: finding it, and running it to its end.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use super::super::engine::Engine;
use super::super::logs::Writer;
use crate::error::{Error, Result};
use crate::held::{Pauses, pause};
use crate::owner::ProcessGuard;

/// The bytes of a run's output that are kept for errors: much more than they show.
const KEPT: usize = 1 << 16;

/// The lines of it that errors show.
const LAST: usize = 100;

/// What would mean another engine, project or file than the ones that are meant.
const CLEARED: [&str; 7] = [
    "DOCKER_CONTEXT",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
    "COMPOSE_FILE",
    "COMPOSE_PROJECT_NAME",
    "COMPOSE_ENV_FILES",
];

/// A compose command that is there.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    words: Vec<OsString>,
    /// `docker-compose` 1, which knows no JSON.
    is_old: bool,
}

impl Tool {
    /// The first of these that answers: `docker compose`, and `docker-compose`; or this one.
    pub(super) async fn find(own: Option<&[OsString]>) -> Result<Self> {
        let usual = || vec![vec!["docker".into(), "compose".into()], vec!["docker-compose".into()]];
        let mut failed = Vec::new();
        for words in own.map_or_else(usual, |own| vec![own.to_vec()]) {
            let shown = shown(&words);
            match version(&words).await {
                Ok(version) => {
                    tracing::debug!(target: "heldport", command = shown, version, "compose found");
                    return Ok(Self { words, is_old: version.starts_with("1.") });
                }
                Err(why) => failed.push(format!("\n  {shown}: {why}")),
            }
        }
        let reason = format!(
            "none answers{}\nnext: install one: Docker's package `docker-compose-plugin` (`docker compose`), or your \
             system's `docker-compose`; or name it by `Compose::command`",
            failed.concat()
        );
        Err(Error::docker("find the compose command", reason, None))
    }

    /// For errors.
    pub(super) fn shown(&self) -> String {
        shown(&self.words)
    }

    /// What makes `config` print what is read here.
    pub(super) fn format(&self) -> &'static [&'static str] {
        if self.is_old { &[] } else { &["--format", "json"] }
    }

    /// The command for an engine.
    pub(super) fn at(&self, engine: &Engine) -> Result<Command> {
        let Some(host) = engine.command_host() else {
            let reason = "only this test's own client knows where its engine is\nnext: give it one by \
                          `Docker::connect_to`";
            return Err(Error::docker("run the compose command", reason, None));
        };
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).env("DOCKER_HOST", host);
        for name in CLEARED {
            command.env_remove(name);
        }
        // Its output is read line by line.
        command.args(["--ansi", "never"]);
        Ok(command)
    }
}

fn shown(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// What it says, or why there is none.
async fn version(words: &[OsString]) -> Result<String, String> {
    let Some(program) = words.first() else { return Err("it has no words".to_owned()) };
    let mut command = Command::new(program);
    command.args(&words[1..]).args(["version", "--short"]);
    let ran = match captured(command).await {
        Ok(ran) => ran,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err("there is no such program".to_owned()),
        Err(e) => return Err(e.to_string()),
    };
    let version = ran.text().trim().trim_start_matches('v').to_owned();
    let is_one = version.starts_with(|c: char| c.is_ascii_digit());
    if ran.status.success() && is_one { Ok(version) } else { Err(ran.first_line()) }
}

/// A run that has ended.
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Ran {
    /// What it has printed, without its complaints if these were apart.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    fn first_line(&self) -> String {
        let text = [&*self.errors, &*self.output].concat();
        let text = String::from_utf8_lossy(&text);
        text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing").to_owned()
    }

    /// Its end, and its last lines: those of a list of all that is resolved are left out.
    pub(super) fn told(&self, complaints_alone: bool) -> String {
        let output = if complaints_alone { &self.errors } else { &self.output };
        let text = String::from_utf8_lossy(output);
        let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(LAST)..];
        let said = if last.is_empty() { "\nit printed nothing".to_owned() } else { indented(last) };
        format!("it ended with {}, and said:{said}", self.status)
    }
}

pub(super) fn indented(lines: &[impl AsRef<str>]) -> String {
    lines.iter().flat_map(|line| ["\n  ", line.as_ref()]).collect()
}

/// Runs it to its end, without showing what it prints. It ends with the future.
pub(super) async fn captured(mut command: Command) -> io::Result<Ran> {
    let ((output, to_output), (errors, to_errors)) = (os_pipe::pipe()?, os_pipe::pipe()?);
    command.stdout(to_output).stderr(to_errors);
    let (output, errors) = (thread::spawn(|| read(output, None)), thread::spawn(|| read(errors, None)));
    let status = ended(command).await?;
    Ok(Ran { status, output: joined(output), errors: joined(errors) })
}

/// Runs it to its end, and passes on what it prints. It ends with the future.
pub(super) async fn passed_on(mut command: Command, writer: Writer) -> io::Result<Ran> {
    let (output, to_output) = os_pipe::pipe()?;
    command.stdout(to_output.try_clone()?).stderr(to_output);
    let output = thread::spawn(move || read(output, Some(&writer)));
    let status = ended(command).await?;
    Ok(Ran { status, output: joined(output), errors: Vec::new() })
}

/// Waits for its end. All that it has started ends too: what has its output open would keep the one who reads it.
async fn ended(mut command: Command) -> io::Result<ExitStatus> {
    command.stdin(Stdio::null());
    let mut process = ProcessGuard::spawn(command, |mut command| command.spawn())?;
    let mut pauses = Pauses::new();
    while process.status()?.is_none() {
        pause(pauses.next()).await;
    }
    process.kill()
}

fn joined(reader: thread::JoinHandle<Vec<u8>>) -> Vec<u8> {
    reader.join().unwrap_or_default()
}

/// All of it; of what is passed on, the end.
fn read(mut pipe: impl Read, writer: Option<&Writer>) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = match pipe.read(&mut piece) {
            Ok(0) => return all,
            Ok(read) => read,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return all,
        };
        all.extend_from_slice(&piece[..read]);
        if let Some(writer) = writer {
            writer.write(&piece[..read]);
            let much = all.len().saturating_sub(KEPT);
            all.drain(..much);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_that_a_command_prints_is_too_odd(
            output in near::bytes(&[b"v2.29.1\n", b"services:\n  db: {}\n"]),
            errors in near::bytes(&[b"unknown flag: --short\n\nUsage: docker\n"]),
        ) {
            let ran = Ran { status: ExitStatus::default(), output, errors };
            prop_assert!(!ran.first_line().is_empty() && !ran.first_line().contains('\n'));
            for complaints_alone in [false, true] {
                let told = ran.told(complaints_alone);
                prop_assert!(told.contains("and said:\n"), "{}", told);
            }
        }
    }
}
