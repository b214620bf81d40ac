//! APIs of raw bytes: what breaks off, stalls or is no HTTP, which no server says on purpose.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Answers each connection with the next of these, and with the last one ever after, and hangs up. Gives how many requests came, too.
pub async fn answers(answers: &[&'static str]) -> (SocketAddr, Arc<AtomicUsize>) {
    start(answers, true).await
}

/// Reads a request, says this, and hangs up.
pub async fn breaks(answer: &'static str) -> SocketAddr {
    start(&[answer], true).await.0
}

/// Reads a request, says this, and then nothing.
pub async fn stalls(answer: &'static str) -> SocketAddr {
    start(&[answer], false).await.0
}

async fn start(answers: &[&'static str], close: bool) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, calls) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (counted, mut answers) = (calls.clone(), VecDeque::from(answers.to_vec()));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() };
            let counted = counted.clone();
            tokio::spawn(async move {
                let read = stream.read(&mut [0; 8192]).await.unwrap_or(0);
                counted.fetch_add(usize::from(read > 0), Ordering::SeqCst);
                let _ = stream.write_all(next.unwrap().as_bytes()).await;
                if !close {
                    tokio::time::sleep(Duration::from_secs(30)).await;
                }
            });
        }
    });
    (address, calls)
}
