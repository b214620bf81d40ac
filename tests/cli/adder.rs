//! A listener that adds a token to what passes, for clients that can send none.

use std::{
    io::{Read, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

/// Starts it in front of a gateway; gives its URL.
pub fn start(gateway: &str, token: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = gateway.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (gateway, token) = (gateway.clone(), token.clone());
            thread::spawn(move || pass(client, &gateway, &token));
        }
    });
    format!("http://{address}/")
}

/// One request per connection: its head with the token and `Connection: close`, then everything as it is, both ways.
fn pass(mut client: TcpStream, gateway: &str, token: &str) -> Option<()> {
    let mut server = TcpStream::connect(gateway).ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if client.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let kept = text.trim_end().lines().filter(|line| !line.to_lowercase().starts_with("connection:"));
    let added =
        [format!("authorization: Bearer {token}"), "connection: close".to_owned(), String::new(), String::new()];
    let head: Vec<String> = kept.map(str::to_owned).chain(added).collect();
    server.write_all(head.join("\r\n").as_bytes()).ok()?;
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    // The answer as it comes: events are not to wait for each other.
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = server.read(&mut buffer).ok().filter(|read| *read > 0)?;
        client.write_all(&buffer[..read]).ok()?;
    }
}
