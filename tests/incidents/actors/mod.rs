//! The API and the model, each a process of its own: this test's own binary, started with `actor NAME`. They do what a script says that was laid
//! before the run under its trace id, and end when their standard input does.

pub mod api;
pub mod model;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use axum::http::HeaderMap;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

/// A running actor.
pub struct Actor {
    child: Child,
    pub url: String,
    /// The public key that an API signs with.
    pub jwk: Value,
}

impl Actor {
    pub fn start(name: &str) -> Actor {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["actor", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Actor { child, url: format!("http://{}", said["address"].as_str().unwrap()), jwk: said["jwk"].clone() }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves as the actor of that name.
pub async fn serve(name: &str) {
    let (router, jwk) = match name {
        "api" => api::router(),
        "model" => (model::router(), Value::Null),
        other => panic!("there is no actor `{other}`"),
    };
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", json!({ "address": listener.local_addr().unwrap().to_string(), "jwk": jwk })).unwrap();
    out.flush().unwrap();
    drop(out);
    let parent_is_gone = async { drop(tokio::io::stdin().read_to_end(&mut Vec::new()).await) };
    tokio::select! {
        served = axum::serve(listener, router) => served.unwrap(),
        () = parent_is_gone => {}
    }
}

/// The trace id of a request: whose script holds.
fn trace(headers: &HeaderMap) -> String {
    let header = headers.get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default();
    header.split('-').nth(1).unwrap_or_default().to_owned()
}
