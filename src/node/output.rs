//! What a child prints: passed on as it comes, and its end kept for errors.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::panic::catch_unwind;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{fmt, io, thread};

use os_pipe::PipeReader;
use parking_lot::Mutex;

/// The lines that are kept, and the bytes of one. What a server says of its failure is at the end.
const KEPT: usize = 100;
const LONGEST: u64 = 4096;

/// A daemon that has left its group may keep a pipe open for ever; without one this takes microseconds.
const FINISH: Duration = Duration::from_millis(200);

/// The last lines of a child's output.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Output {
    fn push(&self, line: String) {
        let mut lines = self.lines.lock();
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines.lock();
        if lines.is_empty() {
            return f.write_str("it printed nothing");
        }
        f.write_str("its last output:")?;
        lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// The thread that reads a child's output, which ends with the pipe.
#[derive(Debug)]
pub(super) struct Reader {
    output: Output,
    /// Closed when the thread has ended.
    reading: Mutex<mpsc::Receiver<()>>,
}

impl Reader {
    /// A thread, so that a child never waits for a test that does not look. It prints into what the test harness has
    /// captured for the test that it was started by.
    pub(super) fn start(node: &str, pipe: PipeReader) -> io::Result<Self> {
        let (output, (ends, reading)) = (Output::default(), mpsc::channel());
        let (node, kept) = (node.to_owned(), output.clone());
        thread::Builder::new().name(format!("heldport: output of {node}")).spawn(move || {
            read(&node, pipe, &kept);
            drop(ends);
        })?;
        Ok(Self { output, reading: Mutex::new(reading) })
    }

    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    /// Waits until all is read that a child has printed which has ended.
    pub(super) fn finish(&self) {
        // Nothing is ever sent: it waits for the end.
        let _ = self.reading.lock().recv_timeout(FINISH);
    }
}

fn read(node: &str, pipe: impl Read, output: &Output) {
    let (mut pipe, mut bytes, mut prints) = (BufReader::new(pipe), Vec::new(), true);
    // A line without an end, as of a binary, comes in pieces.
    while matches!(pipe.by_ref().take(LONGEST).read_until(b'\n', &mut bytes), Ok(read) if read > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned();
        // Where stderr is gone the child goes on all the same.
        prints = prints && print(&format!("[{node}] {line}\n"));
        output.push(line);
        bytes.clear();
    }
}

/// Prints in one piece to what the test harness captures, which this macro alone does. It panics if there is no
/// stderr.
fn print(text: &str) -> bool {
    catch_unwind(|| eprint!("{text}")).is_ok()
}
