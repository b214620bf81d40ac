//! A small HTTP server of the test's own: an API, a model, an MCP server. It frames messages by itself, as plainly as the standard says: tests that have
//! only the binary share it, those inside `proxy` have the gateway's server (`proxy/src/tests/world.rs`).

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its first line and its headers, byte for byte.
    pub head: String,
    /// The target of its first line.
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
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|read| *read > 0)?;
    }
    let path = head.split(' ').nth(1)?.to_owned();
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let headers = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut asked = Asked { path, headers, head, body: Vec::new() };
    let length = asked.header("content-length").map_or(Some(0), |length| length.parse().ok())?;
    asked.body = vec![0; length];
    reader.read_exact(&mut asked.body).ok()?;
    if asked.header("transfer-encoding").is_some() {
        asked.body = chunks(reader)?;
    }
    Some(asked)
}

fn chunks(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend(&chunk[..size]);
        if size == 0 {
            return Some(body);
        }
    }
}
