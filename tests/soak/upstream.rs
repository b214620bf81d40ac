//! An API that writes down each call that reaches it, and then answers, stalls, fails or hangs up, as the path says.

use std::{
    fs::OpenOptions,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// On a fixed port, so that it can be killed and started again.
pub fn serve(port: u16, log: &Path) {
    let log = Arc::new(Mutex::new(OpenOptions::new().create(true).append(true).open(log).unwrap()));
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    for stream in listener.incoming().flatten() {
        let log = log.clone();
        thread::spawn(move || while one(&stream, &log).is_some() {});
    }
}

/// One request of a connection; `None` when there are no more.
fn one(stream: &TcpStream, log: &Mutex<std::fs::File>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut entry) = (String::new(), String::new());
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("countersign-entry")
        {
            value.trim().clone_into(&mut entry);
        }
    }
    // Before anything else: what is written here has reached the API. In one piece, for this process may be killed at any point.
    log.lock().ok()?.write_all(format!("{entry}\n").as_bytes()).ok()?;
    let mut stream = stream;
    let mut say = |text: &str| stream.write_all(text.as_bytes()).ok();
    let whole = |status: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    match first.split(' ').nth(1)? {
        "/slow" => {
            thread::sleep(Duration::from_millis(300));
            say(&whole("200 OK", "{\"slow\":true}"))
        }
        "/error" => say(&whole("503 Service Unavailable", "{\"error\":\"busy\"}")),
        "/reset" => None,
        "/half" => {
            say("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1000\r\n\r\nthe first half")?;
            None
        }
        "/stream" => {
            say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
            for _ in 0..5 {
                say("9\r\ndata: 1\n\n\r\n")?;
                thread::sleep(Duration::from_millis(10));
            }
            say("0\r\n\r\n")
        }
        _ => say(&whole("200 OK", "{\"balance\":\"1810.00\"}")),
    }
}
