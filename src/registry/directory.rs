//! Where names are written down.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Once;

use super::Named;
use crate::directory::{Unfit, base_in, ensure_own, file_name};
use crate::error::{Error, Result};
use crate::lease::{LeaseOwner, Record};
use crate::owned_file::{self, OwnedFile};
use crate::protocol::Protocol;

/// The directory, among those of owners.
const NAMES: &str = "named";

/// The longest name, in bytes.
const LONGEST: usize = 256;

/// More addresses than a port has, each as long as it can be: `[ffff:…:ffff%4294967295]:65535`.
const ADDRS: usize = 16 * 64;

/// The most that a file has that is written here.
const CONTENT: usize = Record::LONGEST + 1 + ADDRS + 1 + LONGEST;

/// How often a name is asked for that another has each time, who has let go of it when he is asked who he is.
const ROUNDS: u32 = 100;

/// How many names an error lists.
const LISTED: usize = 8;

/// The directory of names.
#[derive(Debug)]
pub(crate) struct Names(PathBuf);

impl Names {
    /// That of this user's processes.
    pub(crate) fn open() -> Result<Self> {
        static SWEPT: Once = Once::new();
        let names = Self::open_in(&env::temp_dir())?;
        SWEPT.call_once(|| owned_file::sweep(&names.0));
        Ok(names)
    }

    pub(super) fn open_in(temporary: &Path) -> Result<Self> {
        let names = Self(base_in(temporary)?.join(NAMES));
        ensure_own(&names.0).map_err(|unfit| names.refused(unfit))?;
        Ok(names)
    }

    /// Writes down where the port of this name is, until the file is dropped.
    pub(crate) fn put(&self, name: &str, addrs: &[SocketAddr], protocol: Protocol) -> Result<OwnedFile> {
        check("named", name)?;
        let content = content(name, addrs, protocol);
        for _ in 0..ROUNDS {
            let file = OwnedFile::put(&self.file_of(name), content.as_bytes());
            if let Some(file) = file.map_err(|unfit| self.refused(unfit))? {
                return Ok(file);
            }
            self.check_free(name)?;
        }
        Err(taken(name, "somebody's who cannot be told".into()))
    }

    /// The error if a living process has it.
    pub(crate) fn check_free(&self, name: &str) -> Result<()> {
        check("named", name)?;
        match self.look(name)? {
            Some((_, false)) | None => Ok(()),
            Some((Some(named), true)) => Err(taken(name, named.what())),
            Some((None, true)) => Err(taken(name, "somebody's who cannot be told".into())),
        }
    }

    pub(super) fn find(&self, name: &str) -> Result<Named> {
        check("lookup", name)?;
        match self.look(name)? {
            Some((Some(named), true)) if named.name == name => Ok(named),
            Some((Some(named), false)) if named.name == name => {
                Err(Error::NameGone { name: name.into(), what: named.what() })
            }
            _ => Err(Error::NoSuchName { name: name.into(), others: others(&self.all()?) }),
        }
    }

    /// Those of living processes, in the order of their names.
    pub(super) fn all(&self) -> Result<Vec<Named>> {
        let files = owned_file::all_owned(&self.0, CONTENT + 1).map_err(|unfit| self.refused(unfit))?;
        let named = files.iter().filter_map(|(file, content)| {
            parse(content)
                .filter(|named| Some(&*file_name(&named.name, named.name.as_bytes())) == file.to_str())
        });
        let mut all: Vec<_> = named.collect();
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// What its file says, as far as it can be read, and whether its owner lives.
    fn look(&self, name: &str) -> Result<Option<(Option<Named>, bool)>> {
        let found = owned_file::look(&self.file_of(name), CONTENT + 1);
        let found = found.map_err(|unfit| self.refused(unfit))?;
        Ok(found.map(|found| (parse(&found.content), found.is_owned)))
    }

    fn file_of(&self, name: &str) -> PathBuf {
        self.0.join(file_name(name, name.as_bytes()))
    }

    fn refused(&self, unfit: Unfit) -> Error {
        Error::directory(&self.0, unfit.wrong, unfit.mend, unfit.source)
    }
}

fn check(setting: &'static str, name: &str) -> Result<()> {
    let reason = match name.len() {
        0 => "the name is empty: give one that says what the port is for",
        1..=LONGEST => return Ok(()),
        _ => "the name is longer than 256 bytes: give a shorter one",
    };
    Err(Error::InvalidSetting { name: setting, reason })
}

fn taken(name: &str, what: Box<str>) -> Error {
    Error::NameTaken { name: name.into(), what }
}

/// Which names there are, in words.
fn others(all: &[Named]) -> Box<str> {
    let listed: Vec<_> = all.iter().take(LISTED).map(|named| format!("{:?}", named.name)).collect();
    match all.len() {
        0 => "(nor is any other)".into(),
        few @ 1..=LISTED => format!("(the {few} that have a name: {})", listed.join(", ")).into(),
        many => format!("(those that have a name: {} and {} more)", listed.join(", "), many - LISTED).into(),
    }
}

/// Whose it is; where it is; and its name, of whatever lines.
pub(super) fn content(name: &str, addrs: &[SocketAddr], protocol: Protocol) -> String {
    let word = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::TcpAndUdp => "both",
    };
    let words = [word.to_owned()].into_iter().chain(addrs.iter().map(ToString::to_string));
    let words: Vec<_> = words.collect();
    format!("{}\n{}\n{name}", Record::new(&LeaseOwner::current()), words.join(" "))
}

/// Reads what [`content`] writes; none of anything else.
fn parse(content: &[u8]) -> Option<Named> {
    let mut lines = std::str::from_utf8(content).ok()?.splitn(3, '\n');
    let Record { owner, since } = Record::parse(lines.next()?)?;
    let mut words = lines.next()?.split(' ');
    let protocol = match words.next()? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "both" => Protocol::TcpAndUdp,
        _ => return None,
    };
    let addrs = words.map(|word| word.parse().ok()).collect::<Option<Vec<SocketAddr>>>()?;
    let name = lines.next().filter(|name| (1..=LONGEST).contains(&name.len()))?.to_owned();
    Some(Named { name, addr: *addrs.first()?, addrs, protocol, owner, since })
}
