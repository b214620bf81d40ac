//! The authorizer behind `ext_authz` and `auth_request`: it lets everything pass, and with a file it has one line of JSON about the call on the disk first.
//! It is as fast as we can make it: lines that wait together share one write and one fdatasync.

use std::{fs::OpenOptions, io::Write as _, path::Path};

use anyhow::Context as _;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, oneshot};

type Waiting = (Vec<u8>, oneshot::Sender<()>);

pub fn serve(listen: &str, file: Option<&Path>) -> anyhow::Result<()> {
    let log = file.map(log).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let log = log.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, log.clone()));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

async fn answer(
    request: Request<Incoming>,
    log: Option<mpsc::Sender<Waiting>>,
) -> anyhow::Result<Response<Empty<Bytes>>> {
    if let Some(log) = log {
        let headers: serde_json::Map<String, serde_json::Value> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
            .collect();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros();
        let line = serde_json::json!({
            "time": now as u64, "method": request.method().as_str(), "path": request.uri().path(), "headers": headers, "verdict": "allow",
        });
        let (written, durable) = oneshot::channel();
        log.send((format!("{line}\n").into_bytes(), written)).await?;
        durable.await?;
    }
    Ok(Response::new(Empty::new()))
}

/// A thread that writes what waits and answers when it is on the disk.
fn log(file: &Path) -> anyhow::Result<mpsc::Sender<Waiting>> {
    let mut file =
        OpenOptions::new().create(true).append(true).open(file).with_context(|| format!("{}", file.display()))?;
    let (sender, mut lines) = mpsc::channel::<Waiting>(1024);
    std::thread::spawn(move || {
        let mut batch = Vec::new();
        while lines.blocking_recv_many(&mut batch, 1024) > 0 {
            let bytes: Vec<u8> = batch.iter().flat_map(|(line, _)| line.iter().copied()).collect();
            if file.write_all(&bytes).and_then(|()| file.sync_data()).is_err() {
                std::process::exit(1);
            }
            for (_, written) in batch.drain(..) {
                let _ = written.send(());
            }
        }
    });
    Ok(sender)
}
