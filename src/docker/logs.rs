//! What a container prints, on its way to the node's output.

use std::io::{self, Read};
use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error as Refusal;
use bollard::query_parameters::AttachContainerOptionsBuilder;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

/// A container's output from the next start on.
pub(super) type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Refusal>> + Send>>;

/// Pieces that wait for the reader: with that many, the container has to wait too.
const PIECES: usize = 256;

/// The bytes that wait for the end of their line. What has no lines goes on in pieces, as the reader takes it.
const LONGEST: usize = 4096;

/// Attaches to a container that is not started yet, so that nothing is missed.
pub(super) async fn attach(client: &bollard::Docker, name: &str) -> Result<Output, Refusal> {
    let options = AttachContainerOptionsBuilder::new().stream(true).stdout(true).stderr(true).build();
    Ok(client.attach_container(name, Some(options)).await?.output)
}

/// What the reader reads, and what fills it.
pub(super) fn pipe() -> (Writer, LogReader) {
    let (writer, reader) = mpsc::channel(PIECES);
    (
        Writer { pieces: writer, prefix: String::new() },
        LogReader { pieces: reader, piece: Vec::new(), read: 0 },
    )
}

pub(super) struct Writer {
    pieces: mpsc::Sender<Vec<u8>>,
    /// What its lines begin with.
    prefix: String,
}

impl Writer {
    /// Another one, whose lines begin with this.
    #[cfg(feature = "compose")]
    pub(super) fn prefixed(&self, prefix: String) -> Self {
        Self { pieces: self.pieces.clone(), prefix }
    }

    /// Passes lines on, on a thread that may wait.
    #[cfg(feature = "compose")]
    pub(super) fn write(&self, lines: &[u8]) {
        // A reader that has gone has all that it wants.
        let _ = self.pieces.blocking_send(lines.to_vec());
    }

    /// Passes the output on in whole lines, so that those of stdout and stderr do not mix, until it ends.
    pub(super) async fn pump(self, mut output: Output) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(Ok(piece)) = output.next().await {
            let rest = if matches!(piece, LogOutput::StdErr { .. }) { &mut stderr } else { &mut stdout };
            rest.extend_from_slice(piece.as_ref());
            let end = match piece.as_ref().iter().rev().position(|byte| *byte == b'\n') {
                Some(behind) => rest.len() - behind,
                None if rest.len() >= LONGEST => rest.len(),
                None => continue,
            };
            let lines = self.with_prefix(rest.drain(..end).collect());
            if self.pieces.send(lines).await.is_err() {
                return;
            }
        }
        for mut rest in [stdout, stderr].into_iter().filter(|rest| !rest.is_empty()) {
            rest.push(b'\n');
            // A reader that has gone has all that it wants.
            let _ = self.pieces.send(self.with_prefix(rest)).await;
        }
    }

    fn with_prefix(&self, lines: Vec<u8>) -> Vec<u8> {
        if self.prefix.is_empty() {
            return lines;
        }
        let each = lines.split_inclusive(|byte| *byte == b'\n');
        each.flat_map(|line| [self.prefix.as_bytes(), line].concat()).collect()
    }
}

/// Ends when the container's output does.
pub(super) struct LogReader {
    pieces: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    read: usize,
}

impl Read for LogReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() {
            let Some(piece) = self.pieces.blocking_recv() else { return Ok(0) };
            (self.piece, self.read) = (piece, 0);
        }
        let read = (&self.piece[self.read..]).read(buffer)?;
        self.read += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use proptest::prelude::*;

    fn out(text: &str) -> LogOutput {
        LogOutput::StdOut { message: text.to_owned().into() }
    }

    fn err(text: &str) -> LogOutput {
        LogOutput::StdErr { message: text.to_owned().into() }
    }

    #[tokio::test]
    async fn what_has_no_lines_does_not_wait_for_one() {
        let piece = || out(&"x".repeat(LONGEST / 2));
        let pieces = [piece(), piece(), err("e\n"), piece(), out("\n")];
        let (writer, mut reader) = pipe();
        writer.pump(Box::pin(futures_util::stream::iter(pieces.map(Ok)))).await;
        let text = std::thread::spawn(move || io::read_to_string(&mut reader).unwrap()).join().unwrap();
        assert_eq!(text, format!("{}e\n{}\n", "x".repeat(LONGEST), "x".repeat(LONGEST / 2)));
    }

    #[tokio::test]
    async fn lines_of_both_streams_stay_whole_and_the_last_ones_need_no_end() {
        let pieces = [out("a"), err("x\ny"), out("b\nc"), err("z\n"), out("d"), err("last")];
        let (writer, mut reader) = pipe();
        writer.pump(Box::pin(futures_util::stream::iter(pieces.map(Ok)))).await;
        let text = std::thread::spawn(move || io::read_to_string(&mut reader).unwrap()).join().unwrap();
        assert_eq!(text, "x\nab\nyz\ncd\nlast\n");
    }

    proptest! {
        #[test]
        fn all_that_is_printed_is_read_with_each_line_whole(
            pieces in prop::collection::vec((any::<bool>(), near::bytes(&[b"a line\n", b"two\nlines\n", b"part of"])), 0..40),
        ) {
            let piece = |(err, bytes): (bool, Vec<u8>)| {
                let message = bytes.into();
                Ok(if err { LogOutput::StdErr { message } } else { LogOutput::StdOut { message } })
            };
            let of = |wanted: bool| -> Vec<u8> {
                let own = pieces.iter().filter(|(err, _)| *err == wanted);
                let mut all = own.flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>();
                if all.last().is_some_and(|last| *last != b'\n') {
                    all.push(b'\n');
                }
                all
            };
            let mut lines: Vec<_> = [of(false), of(true)].concat().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let output = futures_util::stream::iter(pieces.into_iter().map(piece));
            let (writer, mut reader) = pipe();
            let read = std::thread::spawn(move || {
                let mut read = Vec::new();
                reader.read_to_end(&mut read).map(|_| read)
            });
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(writer.pump(Box::pin(output)));
            let read = read.join().unwrap().unwrap();
            let mut read: Vec<_> = read.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            // Lines of the two streams are mixed.
            lines.sort_unstable();
            read.sort_unstable();
            lines.retain(|line| !line.is_empty());
            read.retain(|line| !line.is_empty());
            prop_assert_eq!(read, lines);
        }
    }
}
