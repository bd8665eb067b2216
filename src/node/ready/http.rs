//! An HTTP server's answer to one GET. A client of our own: what it needs of HTTP is a page.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::Scene;
use super::attempt::{Answer, Asked, Attempts};
use super::target::Target;

/// A head is far smaller: servers themselves take 8 to 16 KiB from their clients.
const LARGEST_HEAD: usize = 16 * 1024;
/// As many as hyper takes.
const MOST_HEADERS: usize = 100;

#[derive(Clone, Debug)]
pub(super) struct Http {
    path: Box<str>,
    pub(super) status: Option<u16>,
    pub(super) target: Target,
}

impl Http {
    pub(super) fn new(path: &str) -> Self {
        Self { path: path.into(), status: None, target: Target::default() }
    }

    pub(super) fn validate(&self) -> Result<(), &'static str> {
        // What would end the request's first line, or mean another request.
        let is_clean = self.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !is_clean || !self.path.starts_with('/') {
            return Err(
                "the path given to `Ready::http` starts with a slash, as \"/health\"; spaces and what is not ASCII are \
                 percent-encoded",
            );
        }
        if self.status.is_some_and(|status| !(200..=999).contains(&status)) {
            return Err("a final status of HTTP is a number from 200 to 999");
        }
        Ok(())
    }

    pub(super) async fn look(&self, attempts: &mut Attempts, scene: &Scene<'_>) -> Answer {
        let addr = self.target.one(scene.ports).map_err(|e| e.to_string())?;
        let answer = attempts.look(scene.left, || self.ask(addr)).await;
        answer
            .unwrap_or_else(|| Err("is not answered yet".to_owned()))
            .map_err(|missing| format!("GET http://{addr}{} {missing}", self.path))
    }

    fn ask(&self, addr: SocketAddr) -> Asked {
        let request =
            format!("GET {} HTTP/1.1\r\nHost: {addr}\r\nAccept: */*\r\nConnection: close\r\n\r\n", self.path);
        let wanted = self.status;
        Box::pin(async move {
            let status = get(addr, request.as_bytes()).await.map_err(|e| e.to_string())?;
            let is_so = wanted.map_or((200..=299).contains(&status), |wanted| wanted == status);
            if is_so { Ok(()) } else { Err(format!("answers {status}")) }
        })
    }
}

/// The status of the answer.
async fn get(addr: SocketAddr, request: &[u8]) -> Result<u16, Failure> {
    let stream = TcpStream::connect(addr).await?;
    write(&stream, request).await?;
    let (mut head, mut filled) = (vec![0; LARGEST_HEAD], 0);
    while filled < head.len() {
        let read = read(&stream, &mut head[filled..]).await?;
        if read == 0 {
            return Err(Failure::NoAnswer);
        }
        filled += read;
        while let Some((status, length)) = parse(&head[..filled])? {
            if !is_interim(status) {
                return Ok(status);
            }
            head.copy_within(length..filled, 0);
            filled -= length;
        }
    }
    Err(Failure::TooLarge)
}

/// The status of a head and its length, once it is there as a whole.
fn parse(bytes: &[u8]) -> Result<Option<(u16, usize)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let status = head.parse(bytes)?;
    Ok(match (status, head.code) {
        (httparse::Status::Complete(length), Some(code)) => Some((code, length)),
        _ => None,
    })
}

/// Another head follows one like 103, which tells what to load early.
fn is_interim(status: u16) -> bool {
    (100..=199).contains(&status) && status != 101
}

// Without tokio's `io-util`, which nothing else here needs.

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

async fn read(stream: &TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(bytes) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// Why there is no status, told behind the request.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("fails: {0}")]
    Io(#[from] io::Error),
    #[error("is answered with what is not HTTP: {0}")]
    Garbage(#[from] httparse::Error),
    #[error("is answered with a head of more than {LARGEST_HEAD} bytes")]
    TooLarge,
    #[error("is not answered: the connection ends before a whole head has come")]
    NoAnswer,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_head_is_too_odd(bytes in near::bytes(&[
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 503 no\r\n\r\n",
        ])) {
            if let Ok(Some((status, length))) = parse(&bytes) {
                prop_assert!(length > 0 && length <= bytes.len());
                prop_assert!(String::from_utf8_lossy(&bytes).contains(&status.to_string()));
            }
        }

        #[test]
        fn a_head_is_read_however_it_comes(
            status in 100_u16..=999, reason in "[ -~]{0,20}", names in prop::collection::vec("[a-zA-Z-]{1,9}", 0..20), cut: u16,
        ) {
            let headers = names.iter().map(|name| format!("{name}: x\r\n")).collect::<Vec<_>>().concat();
            let head = format!("HTTP/1.1 {status} {reason}\r\n{headers}\r\n");
            let cut = &head.as_bytes()[..usize::from(cut) % head.len()];
            prop_assert_eq!(parse(cut).unwrap(), None);
            prop_assert_eq!(parse([head.as_bytes(), b"body"].concat().as_slice()).unwrap(), Some((status, head.len())));
        }

        #[test]
        fn no_path_ends_the_first_line(path in near::text(&["/health", "/a?b=c%20d"])) {
            if Http::new(&path).validate().is_ok() {
                prop_assert!(path.starts_with('/') && !path.contains(char::is_whitespace));
            }
        }
    }
}
