//! More of everything than anybody needs: connections that say nothing or little, heads and bodies without end, HTTP/2 frames by the thousand. Good calls pass
//! meanwhile, memory stays bounded, and what reached the API is on record.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    http2::{GET, PREFACE, block, frame},
    world::World,
};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What the sidecar may take beside what it had, whatever comes.
const BOUND_KIB: u64 = 150 << 10;

/// A plain request that must pass whatever else goes on.
fn good(world: &World) {
    let reply = world.ask(b"GET /x?q=x HTTP/1.1\r\nhost: a\r\n{T}\r\nconnection: close\r\n\r\n", false);
    assert_eq!(reply.statuses, [200], "{reply:?}");
}

/// Reads until the gateway says no more; none when it still holds the connection after a minute.
fn rest(stream: &mut TcpStream) -> Option<Vec<u8>> {
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Some(bytes),
            Ok(read) => bytes.extend(&piece[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Some(bytes),
            Err(_) => return None,
        }
    }
}

#[test]
fn who_says_nothing_or_says_it_slowly_is_let_go() {
    let mut world = World::start();
    let token = format!("authorization: Bearer {}\r\n", world.token());
    let slow_body = format!(
        "POST /pay HTTP/1.1\r\nhost: a\r\n{token}content-type: application/json\r\ncontent-length: 42\r\n\r\n{{"
    );
    // Nothing at all, a part of HTTP/2's preface, a part of a head, a head that never ends, a body that never ends.
    let kinds: [&[u8]; 5] = [b"", &PREFACE[..7], b"GET /x HT", b"GET /x HTTP/1.1\r\nhost: a\r\n", slow_body.as_bytes()];
    let mut open: Vec<(usize, TcpStream)> = Vec::new();
    for _ in 0..40 {
        for (kind, start) in kinds.iter().enumerate() {
            let mut stream = TcpStream::connect(world.gateway()).unwrap();
            stream.write_all(start).unwrap();
            open.push((kind, stream));
        }
    }
    good(&world);
    // Now and then another byte, so that none of them is idle.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(12) {
        for (kind, stream) in open.iter_mut().filter(|(kind, _)| *kind >= 3) {
            let more: &[u8] = if *kind == 3 { b"x-a: 1\r\n" } else { b" " };
            let _ = stream.write_all(more);
        }
        thread::sleep(Duration::from_millis(1500));
    }
    for (kind, stream) in &mut open {
        let answer = rest(stream).unwrap_or_else(|| panic!("kind {kind} is still held"));
        let text = String::from_utf8_lossy(&answer);
        match kind {
            4 => assert!(text.starts_with("HTTP/1.1 408") && text.contains("/problems/body-timeout"), "{text}"),
            _ => assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{kind}: {text}"),
        }
    }
    good(&world);
    // The slow bodies are attempts, and recorded; nothing was sent of them.
    world.ends_well(42);
}

#[test]
fn ten_thousand_connections_that_say_nothing_cost_little_and_hold_nobody_up_for_ever() {
    // As many as this process may have open; the sidecar inherits the limit.
    let own = std::process::id().to_string();
    let _ = Command::new("prlimit").args(["--pid", &own, "--nofile=20000:20000"]).status();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let files: usize = files.split_whitespace().nth(3).unwrap().parse().unwrap();
    let count = 10_000.min(files.saturating_sub(1000));
    if count < 10_000 {
        eprintln!("SKIPPED in part: {count} connections, for this process may have {files} files open");
    }
    let mut world = World::limited(&format!("connections = {}", count + 10));
    good(&world);
    let before = world.rss_kib();
    let mut open: Vec<TcpStream> = (0..count).map(|_| TcpStream::connect(world.gateway()).unwrap()).collect();
    good(&world);
    let taken = world.rss_kib().saturating_sub(before);
    println!("{count} idle connections: {taken} KiB more");
    assert!(taken < BOUND_KIB, "{taken} KiB for {count} idle connections");
    // More than there are places: who is beyond waits in the kernel's queue, and is served once the silent ones are let go.
    let more: Vec<TcpStream> = (0..50).map(|_| TcpStream::connect(world.gateway()).unwrap()).collect();
    assert!(open.iter_mut().all(|stream| rest(stream).is_some()), "a silent connection is still held");
    drop((open, more));
    good(&world);
    world.ends_well(3);
}

#[test]
fn heads_and_bodies_without_end_are_cut_off() {
    let mut world = World::limited("body_bytes = 1048576");
    let long =
        format!("GET /x HTTP/1.1\r\nhost: a\r\n{{T}}\r\nx-a: {}\r\nconnection: close\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("GET /x HTTP/1.1\r\nhost: a\r\n{{T}}\r\n{}connection: close\r\n\r\n", "x-a: b\r\n".repeat(5000));
    let target = format!("GET /x?q={} HTTP/1.1\r\nhost: a\r\n{{T}}\r\nconnection: close\r\n\r\n", "a".repeat(10_000));
    for (name, request, expected) in
        [("a long header", long, 431), ("many headers", many, 431), ("a long target", target, 414)]
    {
        let reply = world.ask(request.as_bytes(), false);
        assert_eq!(reply.statuses, [expected], "{name}: {reply:?}");
        assert!(reply.seen.is_empty());
    }
    let before = world.rss_kib();
    for (kind, status) in [("application/json", 413), ("application/octet-stream", 400)] {
        let (method, path) = if status == 413 { ("POST", "/pay") } else { ("PUT", "/upload") };
        let mut stream = TcpStream::connect(world.gateway()).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n",
            world.token()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let chunk = [format!("{:x}\r\n", 1 << 16).as_bytes(), &vec![b' '; 1 << 16], b"\r\n"].concat();
        // A gigabyte, unless it says no.
        let sent = (0..1 << 14).take_while(|_| stream.write_all(&chunk).is_ok()).count();
        assert!(sent < 1 << 13, "{kind}: {sent} chunks were taken");
        let answer = rest(&mut stream).unwrap();
        let text = String::from_utf8_lossy(&answer);
        // The answer may be lost when the connection is reset while bytes are still coming; where it is there, it is the right one.
        assert!(text.is_empty() || text.starts_with(&format!("HTTP/1.1 {status}")), "{kind}: {text}");
    }
    let taken = world.rss_kib().saturating_sub(before);
    assert!(taken < BOUND_KIB, "{taken} KiB for bodies without end");
    good(&world);
    world.ends_well(4);
}

/// Sends pieces on an HTTP/2 connection until the gateway takes no more, at most so many; gives how many and whether it ended the connection.
fn flood(world: &World, start: &[u8], count: usize, piece: impl Fn(usize) -> Vec<u8>) -> (usize, bool) {
    let mut stream = TcpStream::connect(world.gateway()).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), start].concat()).unwrap();
    let sent = (0..count).take_while(|index| stream.write_all(&piece(*index)).is_ok()).count();
    if sent == count {
        return (sent, rest(&mut stream).is_some());
    }
    (sent, true)
}

#[test]
fn floods_of_http_2_frames_end_the_connection_and_cost_little() {
    let mut world = World::start();
    good(&world);
    let before = world.rss_kib();
    let bearer = format!("Bearer {}", world.token());
    let request = block(&[&GET[..], &[("authorization", bearer.as_str())]].concat());
    // A request, given up at once, again and again (CVE-2023-44487).
    let reset = |index: usize| {
        let stream = u32::try_from(2 * index + 1).unwrap();
        [frame(HEADERS, END_STREAM | END_HEADERS, stream, &request), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
            .concat()
    };
    let (resets, ended) = flood(&world, &[], 50_000, reset);
    println!("{resets} requests given up before the connection ended");
    assert!(ended && resets < 50_000, "{resets} requests were taken and given up");
    good(&world);
    // Headers that never end, large and empty (CVE-2024-27316).
    let start = frame(HEADERS, END_STREAM, 1, &request);
    let large = frame(CONTINUATION, 0, 1, &block(&[("x-a", "a".repeat(16_000).as_str())]));
    let (frames, ended) = flood(&world, &start, 10_000, |_| large.clone());
    assert!(ended && frames < 10_000, "{frames} large frames were taken");
    let empty = frame(CONTINUATION, 0, 1, &[]).repeat(100);
    let (frames, ended) = flood(&world, &start, 100_000, |_| empty.clone());
    assert!(ended && frames < 100_000, "{frames} times a hundred empty frames were taken");
    // Questions whose answers nobody reads.
    let pings = frame(PING, 0, 0, &[0; 8]).repeat(1000);
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]).repeat(1000);
    for (name, piece) in [("PING", pings), ("SETTINGS", settings)] {
        let (frames, _) = flood(&world, &[], 20_000, |_| piece.clone());
        println!("{name}: {frames} thousand taken");
        let taken = world.rss_kib().saturating_sub(before);
        assert!(taken < BOUND_KIB, "{name}: {taken} KiB");
    }
    let taken = world.rss_kib().saturating_sub(before);
    println!("after the floods: {taken} KiB more");
    assert!(taken < BOUND_KIB, "{taken} KiB for floods");
    good(&world);
    world.ends_well(3);
}
