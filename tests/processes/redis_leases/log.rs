//! The server's own file of changes, which knows nothing of this crate: what was leased when, by the server's clock, in the
//! order in which it happened.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use heldport::TestNode;

use crate::Outcome;

/// A lease, as others know it too.
pub(super) type Lease = (u16, String);

/// Times are in ms of Unix time.
#[derive(Debug)]
enum Change {
    Leased {
        lease: Lease,
        until: i64,
    },
    Renewed {
        port: u16,
        until: i64,
    },
    /// It was ended, or its time was up.
    Gone {
        port: u16,
    },
}

#[derive(Debug)]
pub(super) struct Log(Vec<Change>);

/// What those say who had leases.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Whether it is all that there was: then nobody else has ended anything.
    pub(super) all: bool,
    pub(super) had: HashMap<Lease, u32>,
    pub(super) renewed: HashMap<Lease, u32>,
    /// When its holder was about to end it.
    pub(super) ended: HashMap<Lease, i64>,
}

impl Log {
    pub(super) fn of(server: &TestNode) -> Result<Self> {
        let directory = server.dir().context("the server has one")?.join("appendonlydir");
        let mut files: Vec<_> =
            fs::read_dir(&directory)?.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
        files.retain(|file| file.to_string_lossy().ends_with(".incr.aof"));
        ensure!(files.len() == 1, "{files:?}");
        let text = fs::read(&files[0])?;
        let commands = commands(&text)?;
        let changes = commands.iter().filter_map(|command| change(command).transpose());
        Ok(Self(changes.collect::<Result<_>>()?))
    }

    /// Never two at once.
    pub(super) fn check(&self, lives: Duration) -> Outcome {
        self.compare(lives, &Said::default()).map(drop)
    }

    /// The same. Nor was one ended by another than its holder, nor did any but its holder think to have renewed it. Returns
    /// how many leases there were.
    pub(super) fn compare(&self, lives: Duration, said: &Said) -> Result<usize> {
        let lives = i64::try_from(lives.as_millis())?;
        let mut now: HashMap<u16, (&Lease, i64)> = HashMap::new();
        let (mut had, mut renewed) = (HashMap::<&Lease, u32>::new(), HashMap::<&Lease, u32>::new());
        // When it was at least, going back from each change.
        let at_most = self.at_most(lives);
        for (change, at_most) in self.0.iter().zip(at_most) {
            match change {
                Change::Leased { lease, until } => {
                    if let Some((before, end)) = now.insert(lease.0, (lease, *until)) {
                        let at = until - lives;
                        ensure!(end <= at, "{lease:?} was leased at {at}, and {before:?} until {end}");
                    }
                    *had.entry(lease).or_default() += 1;
                }
                Change::Renewed { port, until } => {
                    let (lease, end) = now.get_mut(port).with_context(|| format!("{change:?} of nothing"))?;
                    *end = *until;
                    *renewed.entry(lease).or_default() += 1;
                }
                Change::Gone { port } => {
                    let (lease, end) = now.remove(port).with_context(|| format!("{change:?} of nothing"))?;
                    let was_its_own = said.ended.get(lease).is_some_and(|ended| *ended <= at_most);
                    ensure!(
                        !said.all || end <= at_most || was_its_own,
                        "{lease:?} until {end}: ended by another"
                    );
                }
            }
        }
        // A lease may have been had once more than its holder knows: it asks again if the answer does not come.
        for (lease, times) in &said.had {
            ensure!(had.get(lease) >= Some(times), "{lease:?}: had, but never leased");
        }
        for (lease, times) in &said.renewed {
            ensure!(renewed.get(lease) >= Some(times), "{lease:?}: another's was renewed");
        }
        Ok(had.len())
    }

    /// For each change, the time that the next one tells: then it had happened.
    fn at_most(&self, lives: i64) -> Vec<i64> {
        let mut next = i64::MAX;
        let mut times: Vec<i64> = Vec::with_capacity(self.0.len());
        for change in self.0.iter().rev() {
            if let Change::Leased { until, .. } | Change::Renewed { until, .. } = change {
                next = until - lives;
            }
            times.push(next);
        }
        times.reverse();
        times
    }
}

/// Redis writes them as a client sends them.
fn commands(mut text: &[u8]) -> Result<Vec<Vec<String>>> {
    let mut commands = Vec::new();
    while !text.is_empty() {
        let words = number(&mut text, b'*')?;
        let command = (0..words).map(|_| {
            let length = number(&mut text, b'$')?;
            let (word, rest) = text.split_at_checked(length).context("a word has an end")?;
            text = rest.strip_prefix(b"\r\n").context("a word is a line")?;
            Ok(String::from_utf8(word.to_vec())?)
        });
        commands.push(command.collect::<Result<_>>()?);
    }
    Ok(commands)
}

fn number(text: &mut &[u8], kind: u8) -> Result<usize> {
    let end = text.windows(2).position(|end| end == b"\r\n").context("a line has an end")?;
    let (line, rest) = text.split_at(end);
    *text = &rest[2..];
    let digits = line.strip_prefix(&[kind]).with_context(|| format!("no {}", char::from(kind)))?;
    Ok(std::str::from_utf8(digits)?.parse()?)
}

/// None, if it is about no lease.
fn change(command: &[String]) -> Result<Option<Change>> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let port = |key: &str| key.strip_prefix("heldport:lease:").and_then(|port| port.parse::<u16>().ok());
    Ok(match (words[0].to_uppercase().as_str(), &words[1..]) {
        ("SELECT" | "MULTI" | "EXEC", _) => None,
        ("SET", [key, value, option, until, ..]) => match port(key) {
            Some(port) => {
                ensure!(*option == "PXAT", "{words:?}");
                let (token, _) = value.split_once(' ').context("a token is first")?;
                Some(Change::Leased { lease: (port, token.to_owned()), until: until.parse()? })
            }
            None => None,
        },
        ("PEXPIREAT", [key, until]) => match port(key) {
            Some(port) => Some(Change::Renewed { port, until: until.parse()? }),
            None => None,
        },
        ("DEL" | "UNLINK", [key]) => port(key).map(|port| Change::Gone { port }),
        _ => bail!("{words:?}"),
    })
}
