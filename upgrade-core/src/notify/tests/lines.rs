//! Lines of JSON, also to writers that fail.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncBufReadExt as _, AsyncWrite, BufReader};

use super::*;

async fn notes(count: u32) -> Vec<Notification> {
    let store = MemoryStore::new();
    let journal = open(&store).await;
    for number in 0..count {
        note(&journal, number).await;
    }
    all(&store)
}

/// Takes a number of bytes, then fails once, then takes everything.
#[derive(Debug)]
struct FailsOnce {
    takes: Option<usize>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl AsyncWrite for FailsOnce {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let length = match &mut self.takes {
            None => bytes.len(),
            Some(0) => {
                self.takes = None;
                return Poll::Ready(Err(io::Error::other("the disk is full")));
            }
            Some(takes) => {
                let length = bytes.len().min(*takes);
                *takes -= length;
                length
            }
        };
        self.bytes.lock().unwrap().extend(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_line_that_was_cut_off_is_ended_and_follows_again_as_a_whole() {
    let notes = notes(2).await;
    let length = serde_json::to_string(&notes[0]).unwrap().len() + 1;
    for takes in 0..length {
        let bytes = Arc::default();
        let channel = JsonLines::new(FailsOnce {
            takes: Some(takes),
            bytes: Arc::clone(&bytes),
        });
        let error = channel.deliver(&notes[0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        for one in &notes {
            channel.deliver(one).await.unwrap();
        }
        let text = String::from_utf8(bytes.lock().unwrap().clone()).unwrap();
        let (cut_off, rest) = text.split_once('\n').unwrap();
        assert_eq!(cut_off.len(), takes);
        let read: Vec<Notification> = rest
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(read, notes, "after {takes} bytes");
        assert!(text.ends_with('\n'));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_reads_nothing_is_given_ten_seconds() {
    let notes = notes(1).await;
    let (writer, reader) = tokio::io::duplex(16);
    let channel = JsonLines::new(writer);
    let began = Instant::now();
    let error = channel.deliver(&notes[0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(began.elapsed().as_secs(), 10);
    // Now it reads.
    let mut lines = BufReader::new(reader).lines();
    let (delivered, line) = tokio::join!(channel.deliver(&notes[0]), async {
        lines.next_line().await.unwrap();
        lines.next_line().await.unwrap().unwrap()
    });
    delivered.unwrap();
    assert_eq!(
        serde_json::from_str::<Notification>(&line).unwrap(),
        notes[0]
    );
}
