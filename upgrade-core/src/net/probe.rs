//! Whether a service answers.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How much of an answer is read, in bytes: its first line is enough.
const HEAD: usize = 64;

/// The status that a `GET` is answered with.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<u16, String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        stream.take(HEAD as u64).read_to_end(&mut head).await?;
        std::io::Result::Ok(head)
    };
    let head = ask.await.map_err(|error| error.to_string())?;
    let head = String::from_utf8_lossy(&head);
    let status = head
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1));
    let status = status.and_then(|status| status.get(..3)?.parse().ok());
    status.ok_or_else(|| "the answer is not HTTP".to_owned())
}
