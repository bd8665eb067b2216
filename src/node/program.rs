//! A program with its arguments, environment and files, written down before its ports are known.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::{env, fmt};

use super::NodePorts;
use super::template::{self, Values};
use crate::error::{Error, Result};
use crate::imp;
use crate::owner::NodeDirectory;

/// What is done to a command before each start.
type Change = Box<dyn FnMut(&mut Command) + Send>;

/// A program for [`TestNodeBuilder::program`](crate::TestNodeBuilder::program), with words that stand for what is known
/// when it starts:
///
/// | in arguments, values of variables, the working directory, files | becomes |
/// |---|---|
/// | `{port}` | the number of the first port |
/// | `{port:grpc}`, `{port:2}` | that of the port with this name, or at this place |
/// | `{addr}`, `{addr:grpc}` | the same with the address: `127.0.0.1:20123` |
/// | `{dir}` | a directory of the node's own, where its files are |
///
/// All other braces stay as they are. The environment also has `PORT`, the first number, `PORT_1`, `PORT_2` and so on,
/// and `PORT_GRPC` for a port named `grpc`, unless it is set here otherwise.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
/// use heldport::{ProgramSpec, TestNode};
///
/// let nginx = ProgramSpec::new("nginx").args(["-e", "stderr", "-c", "{dir}/nginx.conf"]).file(
///     "nginx.conf",
///     "daemon off; pid {dir}/pid; events {}
///      http { access_log off; server { listen {addr}; location / { return 200 ok; } } }",
/// );
/// let node = TestNode::builder().with_auto_port().program(nginx).await?;
/// println!("{} is configured in {:?}", node.url("/"), node.dir());
/// # Ok(()) }
/// ```
#[must_use = "a program is started by a node: give it to `TestNodeBuilder::program`"]
pub struct ProgramSpec {
    program: OsString,
    args: Vec<OsString>,
    /// Set, or with no value removed.
    envs: Vec<(OsString, Option<OsString>)>,
    clears_env: bool,
    current_dir: Option<PathBuf>,
    files: Vec<(PathBuf, String)>,
    changes: Vec<Change>,
    /// The numbers that the files have been written with.
    written: Option<NodePorts>,
}

impl ProgramSpec {
    /// A program by its path, or by its name in PATH.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            clears_env: false,
            current_dir: None,
            files: Vec::new(),
            changes: Vec::new(),
            written: None,
        }
    }

    /// A binary target of the package under test, by its name: what `env!("CARGO_BIN_EXE_name")` says in an integration
    /// test, and for tests of other kinds too, as long as it has been built.
    ///
    /// It is looked for in the environment (`NEXTEST_BIN_EXE_name`, `CARGO_BIN_EXE_name`), then where cargo puts it
    /// beside this test.
    ///
    /// # Errors
    /// [`Error::NoSuchProgram`] if it is not there.
    pub fn cargo_bin(name: &str) -> Result<Self> {
        cargo_bin(name).map(Self::new)
    }

    /// An argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Arguments, after those of earlier calls.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// A variable of its environment, beside those of this process.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// A variable that it does not get.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), None));
        self
    }

    /// Nothing of this process's environment, not even PATH; only what is set here, and the ports.
    pub fn env_clear(mut self) -> Self {
        self.clears_env = true;
        self
    }

    /// Its working directory. Default: this process's.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.current_dir = Some(directory.as_ref().to_owned());
        self
    }

    /// A file in the node's own directory, of this name or path: written before the first start, and not again, so that
    /// a program may change it. Only this user may read it: a program that becomes another user (`postgres`, a worker
    /// of a server that root starts) needs a directory of yours.
    pub fn file(mut self, path: impl AsRef<Path>, content: impl Into<String>) -> Self {
        self.files.push((path.as_ref().to_owned(), content.into()));
        self
    }

    /// Whatever else a [`Command`] can do (another user, a `pre_exec` hook), before each start. Its standard streams
    /// are set by the node afterwards.
    pub fn with(mut self, change: impl FnMut(&mut Command) + Send + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// The command for these ports.
    pub(super) fn command(
        &mut self,
        ports: &NodePorts,
        directory: &mut Option<NodeDirectory>,
    ) -> Result<Command> {
        if directory.is_none() && self.needs_directory() {
            let name = Path::new(&self.program).file_name().unwrap_or_default();
            *directory = Some(NodeDirectory::create(&name.to_string_lossy())?);
        }
        let values = Values { ports, directory: directory.as_ref().map(NodeDirectory::path) };
        self.write_files(&values)?;
        let render = |text: &OsStr| rendered(text, &values);
        let mut command = Command::new(render(&self.program)?);
        if self.clears_env {
            command.env_clear();
        }
        // First, so that what is set or removed here stays so.
        command.envs(ports.variables());
        for arg in &self.args {
            command.arg(render(arg)?);
        }
        for (name, value) in &self.envs {
            match value {
                Some(value) => command.env(name, render(value)?),
                None => command.env_remove(name),
            };
        }
        if let Some(current_dir) = &self.current_dir {
            command.current_dir(render(current_dir.as_os_str())?);
        }
        self.changes.iter_mut().for_each(|change| change(&mut command));
        Ok(command)
    }

    fn needs_directory(&self) -> bool {
        let values = self.envs.iter().filter_map(|(_, value)| value.as_ref());
        let current_dir = self.current_dir.iter().map(|directory| directory.as_os_str());
        let texts =
            self.args.iter().chain(values).chain([&self.program]).map(OsString::as_os_str).chain(current_dir);
        !self.files.is_empty() || texts.filter_map(OsStr::to_str).any(template::needs_directory)
    }

    fn write_files(&mut self, values: &Values<'_>) -> Result<()> {
        let Some(directory) = values.directory.filter(|_| self.written.as_ref() != Some(values.ports)) else {
            return Ok(());
        };
        for (path, content) in &self.files {
            let is_within = path.components().all(|part| matches!(part, Component::Normal(_)));
            if path.as_os_str().is_empty() || !is_within {
                let reason =
                    "its path is empty or leads out of the node's directory: give one that begins in it";
                return Err(Error::InvalidSetting { name: "file", reason });
            }
            let (path, content) = (directory.join(path), template::render(content, values)?);
            write(&path, &content).map_err(|e| {
                Error::directory(&path, "a file cannot be written", "make room for it", Some(e))
            })?;
        }
        self.written = Some(values.ports.clone());
        Ok(())
    }
}

/// Writes a file for this user alone, in directories of its own, in the place of an earlier one.
fn write(path: &Path, content: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file: File = imp::create_own_file(path)?;
    file.write_all(content.as_bytes())
}

/// What is no text has no words in it.
fn rendered(text: &OsStr, values: &Values<'_>) -> Result<OsString> {
    let Some(known) = text.to_str() else { return Ok(text.to_owned()) };
    template::render(known, values).map(Into::into)
}

fn cargo_bin(name: &str) -> Result<PathBuf> {
    let told =
        ["NEXTEST_BIN_EXE_", "CARGO_BIN_EXE_"].iter().find_map(|kind| env::var_os(format!("{kind}{name}")));
    let path = told.map(PathBuf::from).or_else(|| {
        // Integration tests are in `deps`, examples in `examples`, and what they test in the directory above.
        let test = env::current_exe().ok()?;
        Some(test.parent()?.parent()?.join(format!("{name}{}", env::consts::EXE_SUFFIX)))
    });
    match path {
        Some(path) if path.is_file() => Ok(path),
        _ => Err(Error::NoSuchProgram { name: name.into(), looked_at: path.map(PathBuf::into_boxed_path) }),
    }
}

impl fmt::Debug for ProgramSpec {
    /// Without its environment and its files, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramSpec").field("program", &self.program).finish_non_exhaustive()
    }
}
