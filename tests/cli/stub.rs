//! A small HTTP server of the test's own: a collector of OTLP that really decodes, an API, a model, an MCP server.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{KeyValue, any_value::Value as Any},
    logs::v1::LogRecord,
    trace::v1::Span,
};
use prost::Message as _;

/// A request as it came.
pub struct Asked {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}

/// An answer: status, headers, body. A status of 0 closes the connection without one.
pub type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

pub fn json(status: u16, body: &str) -> Answer {
    (status, vec![("content-type", "application/json".to_owned())], body.as_bytes().to_vec())
}

/// Answers until the test ends; gives the address.
pub fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || talk(stream, &*answer));
        }
    });
    address
}

fn talk(stream: TcpStream, answer: &dyn Fn(&Asked) -> Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let asked = read(&mut reader)?;
        let (status, headers, body) = answer(&asked);
        if status == 0 {
            return None;
        }
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 {status} So\r\n{headers}content-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).ok()?;
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    let mut next = || {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = next()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let line = next()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { path, headers, body })
}

/// What a collector got.
#[derive(Default)]
pub struct Got {
    pub spans: Vec<Span>,
    pub metrics: BTreeSet<String>,
    pub logs: Vec<LogRecord>,
    /// Everything that came, decoded and printed.
    pub text: String,
    /// Requests without the header that opens the collector.
    pub strangers: u32,
}

/// A collector, and what it got so far. It wants the header `x-key: collector-key`.
pub fn collector() -> (String, Arc<Mutex<Got>>) {
    let got: Arc<Mutex<Got>> = Arc::default();
    let shared = got.clone();
    let address = start(move |asked| {
        let mut got = shared.lock().unwrap();
        if asked.header("x-key") != Some("collector-key")
            || asked.header("content-type") != Some("application/x-protobuf")
        {
            got.strangers += 1;
            return (401, Vec::new(), Vec::new());
        }
        match asked.path.as_str() {
            "/v1/traces" => {
                let sent = ExportTraceServiceRequest::decode(&*asked.body).unwrap();
                got.text += &format!("{sent:?}\n");
                let scopes = sent.resource_spans.into_iter().flat_map(|of| of.scope_spans);
                got.spans.extend(scopes.flat_map(|of| of.spans));
            }
            "/v1/metrics" => {
                let sent = ExportMetricsServiceRequest::decode(&*asked.body).unwrap();
                got.text += &format!("{sent:?}\n");
                let scopes = sent.resource_metrics.into_iter().flat_map(|of| of.scope_metrics);
                got.metrics.extend(scopes.flat_map(|of| of.metrics).map(|metric| metric.name));
            }
            "/v1/logs" => {
                let sent = ExportLogsServiceRequest::decode(&*asked.body).unwrap();
                got.text += &format!("{sent:?}\n");
                let scopes = sent.resource_logs.into_iter().flat_map(|of| of.scope_logs);
                got.logs.extend(scopes.flat_map(|of| of.log_records));
            }
            other => panic!("{other}"),
        }
        (200, vec![("content-type", "application/x-protobuf".to_owned())], Vec::new())
    });
    (address, got)
}

/// The text of an attribute.
pub fn text<'s>(attributes: &'s [KeyValue], name: &str) -> Option<&'s str> {
    let found = attributes.iter().find(|of| of.key == name)?.value.as_ref()?.value.as_ref()?;
    match found {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
