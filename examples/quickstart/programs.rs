//! The programs that run as child processes.

use std::env::{self, consts::EXE_SUFFIX};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::{self, Ask};

/// A server that is told on its command line which number to bind, and knows nothing of held ports.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// How to find out that it answers.
    pub(crate) ask: Ask,
    executable: PathBuf,
    /// In place of `PORT`, the number.
    args: &'static [&'static str],
    directory: PathBuf,
}

impl Program {
    /// This example itself (see `servers::serve_number`), python's HTTP server, and redis. They work in
    /// `directory`.
    pub(crate) fn all(directory: &Path) -> io::Result<[Self; 3]> {
        let program = |name, ask, executable: PathBuf, args| {
            let directory = directory.to_owned();
            Self { name, ask, executable, args, directory }
        };
        let python = &["-m", "http.server", "PORT", "--bind", "127.0.0.1", "--directory", "."];
        let redis = &["--port", "PORT", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        Ok([
            program("child (this example)", client::get, env::current_exe()?, &["serve", "PORT"]),
            program("python3 -m http.server", client::get, "python3".into(), python),
            program("redis-server", client::ping, "redis-server".into(), redis),
        ])
    }

    /// Whether it is where the system looks for programs.
    pub(crate) fn is_installed(&self) -> bool {
        // Joined to a directory, an absolute path stays as it is.
        let file = format!("{}{EXE_SUFFIX}", self.executable.display());
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|directory| directory.join(&file).is_file())
    }

    /// Starts it on this number.
    pub(crate) fn command(&self, port: u16) -> Command {
        let number = port.to_string();
        let mut command = Command::new(&self.executable);
        command.args(self.args.iter().map(|arg| if *arg == "PORT" { number.as_str() } else { *arg }));
        command.current_dir(&self.directory);
        command
    }
}
