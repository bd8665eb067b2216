//! The server on tokio.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::{PEERS, Token, token};

/// Answers clients until it is cancelled.
pub async fn serve(listener: TcpListener, token: Token) -> io::Result<()> {
    serve_among(Vec::new(), listener, token).await
}

pub async fn serve_among(peers: Vec<SocketAddr>, listener: TcpListener, token: Token) -> io::Result<()> {
    loop {
        answer(listener.accept().await?.0, &token, &peers).await?;
    }
}

async fn answer(client: TcpStream, token: &Token, peers: &[SocketAddr]) -> io::Result<()> {
    let (mut client, mut question) = (BufReader::new(client), String::new());
    client.read_line(&mut question).await?;
    let question = question.trim_end();
    let mut answer = token.answer(question);
    if question == PEERS {
        for peer in peers {
            answer = token::join(answer, &ask(*peer, "peer").await?);
        }
    }
    client.write_all(answer.as_bytes()).await
}

pub async fn ask(server: SocketAddr, question: &str) -> io::Result<String> {
    let mut server = TcpStream::connect(server).await?;
    server.write_all(format!("{question}\n").as_bytes()).await?;
    let mut answer = String::new();
    server.read_to_string(&mut answer).await?;
    Ok(answer)
}

pub async fn assert_answers(addr: SocketAddr, token: &Token, question: &str) {
    assert_eq!(ask(addr, question).await.unwrap(), token.answer(question), "from {addr}");
}

/// Starts the server in a task, and is its client.
pub async fn assert_serves(listener: TcpListener, token: &Token) {
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, token.clone()));
    assert_answers(addr, token, "hello").await;
    server.abort();
}
