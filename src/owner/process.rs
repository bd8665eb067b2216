use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::thread;

use crate::imp;

/// A child process that ends with this value: killed with all that it started, and reaped. Should this process be
/// killed first, the system kills the child (on Linux; what the child itself has started lives on).
#[derive(Debug)]
pub(crate) struct ProcessGuard {
    child: Child,
    /// Ends the thread that started the child.
    _keeper: mpsc::Sender<()>,
}

impl ProcessGuard {
    /// Starts the program in a process group of its own.
    ///
    /// The system ends a child with the *thread* that started it, so that one has to live as long as this guard: it
    /// is made here.
    pub(crate) fn spawn(mut command: Command) -> io::Result<Self> {
        imp::bind_to_parent(&mut command);
        let (keeper, ended) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        thread::Builder::new().name("heldport: keeps a child".to_owned()).spawn(move || {
            let child = command.spawn();
            // It has copies of pipes to the child, whose readers would never see their end.
            drop(command);
            if tell.send(child).is_ok() {
                // An error is what it waits for: the guard is gone.
                let _ = ended.recv();
            }
        })?;
        let child =
            told.recv().map_err(|_| io::Error::other("the thread that starts the program ended"))??;
        Ok(Self { child, _keeper: keeper })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the child has ended. It is not reaped, so that its id stays its own.
    pub(crate) fn has_ended(&mut self) -> io::Result<bool> {
        imp::has_ended(&mut self.child)
    }

    /// Kills it with all of its group, and reaps it.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        imp::kill_group(&mut self.child)?;
        self.child.wait()
    }
}

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        // A child that cannot be killed is not waited for.
        let _ = self.kill();
    }
}
