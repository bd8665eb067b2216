//! A connection's two ends, for runtimes with the traits of the futures crate: async-std and smol.

use std::io;

use futures_lite::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::Token;

/// The server's end.
pub async fn answer(client: impl AsyncRead + AsyncWrite + Unpin, token: &Token) -> io::Result<()> {
    let (mut client, mut question) = (BufReader::new(client), String::new());
    client.read_line(&mut question).await?;
    client.get_mut().write_all(token.answer(question.trim_end()).as_bytes()).await
}

/// The client's end.
pub async fn ask(mut server: impl AsyncRead + AsyncWrite + Unpin, question: &str) -> io::Result<String> {
    server.write_all(format!("{question}\n").as_bytes()).await?;
    let mut answer = String::new();
    server.read_to_string(&mut answer).await?;
    Ok(answer)
}
