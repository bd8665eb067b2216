//! As much of an HTTP server as the example needs: it answers every request with its own process id.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

/// The path that ends a server.
pub(crate) const QUIT: &str = "/quit";

/// A client that says nothing for so long is hung up on.
const SILENCE: Duration = Duration::from_secs(5);

/// Serves one connection after the other, until one asks for [`QUIT`]. A failed connection is the client's
/// concern.
pub(crate) fn serve(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        if answer(&stream).is_ok_and(|path| path == QUIT) {
            return;
        }
    }
}

/// Answers one request, and returns its path.
fn answer(mut stream: &TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    // The headers, up to the empty line: closing before they are read would reset the connection.
    for header in lines.by_ref() {
        if header?.is_empty() {
            break;
        }
    }
    stream.write_all(response().as_bytes())?;
    Ok(request.split(' ').nth(1).unwrap_or_default().to_owned())
}

/// [`serve`] for tokio, with a task for each connection, until its runtime ends.
pub(crate) async fn serve_async(listener: tokio::net::TcpListener) {
    while let Ok((stream, _client)) = listener.accept().await {
        tokio::spawn(answer_async(stream));
    }
}

async fn answer_async(stream: tokio::net::TcpStream) -> io::Result<()> {
    let mut stream = tokio::io::BufStream::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > "\r\n".len() {
        line.clear();
    }
    stream.write_all(response().as_bytes()).await?;
    stream.shutdown().await
}

fn response() -> String {
    let body = format!("process {}\n", std::process::id());
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
