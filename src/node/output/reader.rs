//! What reads a node's output.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::Output;
use super::life::Life;

/// The bytes of one line. A longer one, or what has no lines, comes in pieces.
const LONGEST: u64 = 4096;

/// A daemon that has left its group may keep a pipe open for ever. Without one this takes microseconds, but the machine
/// may be busy.
const FINISH: Duration = Duration::from_secs(1);

/// The thread that reads the output of one life, which ends with the pipe.
#[derive(Debug)]
pub(crate) struct Reader {
    output: Output,
    life: u32,
    /// Closed when the thread has ended.
    reading: Mutex<mpsc::Receiver<()>>,
}

impl Reader {
    /// Begins a new life of the node. A thread reads it, so that a child never waits for a test that does not look. It
    /// prints into what the test harness has captured for the test that it was started by.
    pub(crate) fn start(output: &Output, pipe: impl Read + Send + 'static) -> io::Result<Self> {
        let (life, (ends, reading)) = (output.begin(), mpsc::channel());
        let reader = Self { output: output.clone(), life: life.number(), reading: Mutex::new(reading) };
        thread::Builder::new().name(format!("heldport: output of {}", output.0.node)).spawn(move || {
            read(pipe, life);
            drop(ends);
        })?;
        Ok(reader)
    }

    /// Waits until all is read that a server has printed which has ended.
    pub(crate) fn finish(&self) {
        // Nothing is ever sent: it waits for the end.
        let _ = self.reading.lock().recv_timeout(FINISH);
        // What a daemon still prints is kept, and not waited for.
        self.output.end(self.life);
    }
}

fn read(pipe: impl Read, mut life: Life) {
    let (mut pipe, mut bytes) = (BufReader::new(pipe), Vec::new());
    while matches!(pipe.by_ref().take(LONGEST).read_until(b'\n', &mut bytes), Ok(read) if read > 0) {
        life.push(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']));
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use proptest::prelude::*;
    use std::sync::atomic::Ordering;

    proptest! {
        #[test]
        fn every_line_is_kept(bytes in near::bytes(&[b"listening\r\non 8080\n", b"\xe9\n", b"\n\n"]), times in 1..4_usize) {
            let bytes = bytes.repeat(times);
            let output = Output::new("api", false);
            output.0.shown.store(usize::MAX, Ordering::Relaxed);
            read(&bytes[..], output.begin());
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            let pieces = lines.flat_map(|line| line.chunks(usize::try_from(LONGEST).unwrap()));
            let expected: Vec<_> = pieces
                .map(|piece| String::from_utf8_lossy(piece).trim_end_matches(['\r', '\n']).to_owned())
                .collect();
            prop_assert_eq!(output.logs(), expected);
        }
    }
}
