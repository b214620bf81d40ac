//! The samples of another parser's tests (`data/llhttp.jsonl`): as requests of an agent, and as answers of an API. What that parser refuses must not
//! pass here as if it were whole; what passes is recorded, each once.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::world::World;

const SAMPLES: &str = include_str!("data/llhttp.jsonl");

struct Sample {
    title: String,
    /// `request` or `response`; with a suffix where that parser was told to be lenient, which ours never is.
    kind: String,
    bytes: Vec<u8>,
    refused: bool,
}

/// The samples of requests, or those of responses.
fn samples(kind: &str) -> Vec<Sample> {
    let lines = SAMPLES.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let samples = lines.filter(|line| line.get("_header").is_none()).map(|line| Sample {
        title: line["title"].as_str().unwrap().to_owned(),
        kind: line["kind"].as_str().unwrap().to_owned(),
        bytes: bytes(line["http"].as_str().unwrap()),
        refused: line["refused"].as_bool().unwrap(),
    });
    let of_kind: Vec<Sample> = samples.filter(|sample| sample.kind.starts_with(kind)).collect();
    assert!(of_kind.len() > 80);
    of_kind
}

/// The bytes of a sample: a line's end is CR LF, the last one is not part of it, a backslash at a line's end joins it to the next, others are escapes.
fn bytes(text: &str) -> Vec<u8> {
    let joined = text.replace("\\\n", "");
    let text = joined.strip_suffix('\n').unwrap_or(&joined).replace('\n', "\r\n");
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        let (byte, used) = match (first, after) {
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'f', ..]) => (0x0c, 2),
            (b'\\', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                (u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap(), 4)
            }
            (other, _) => (*other, 1),
        };
        bytes.push(byte);
        rest = &rest[used..];
    }
    bytes
}

/// Actions for the targets that most samples have, whose bodies are not read.
fn catalogue() -> String {
    let mut text = "upstream = \"bank\"\n".to_owned();
    for (index, path) in ["/", "/url", "/test", "/demo", "/hello"].iter().enumerate() {
        for method in ["GET", "PUT", "POST"] {
            let _ = write!(
                text,
                "[[action]]\nname = \"{}{index}\"\nmethod = \"{method}\"\npath = \"{path}\"\neffect = \"write\"\nbody = \"opaque\"\n",
                method.to_lowercase()
            );
        }
    }
    text + "[[action]]\nname = \"sample\"\nmethod = \"GET\"\npath = \"/sample/{n}\"\neffect = \"read\"\n[action.arguments]\nn = { in = \"path\", type = \"integer\", required = true }\n"
}

fn actions() -> Vec<String> {
    catalogue().lines().filter_map(|line| Some(line.strip_prefix("name = \"")?.strip_suffix('"')?.to_owned())).collect()
}

/// A sample with the token, and a host where it names none, behind its first line.
fn with_token(sample: &[u8]) -> Vec<u8> {
    let start = sample.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(0);
    let line = sample[start..].windows(2).position(|pair| pair == b"\r\n");
    let Some(line) = line.map(|line| start + line + 2) else { return sample.to_vec() };
    let named = String::from_utf8_lossy(sample).to_lowercase().contains("\nhost:");
    let added: &[u8] = if named { b"{T}\r\n" } else { b"host: a\r\n{T}\r\n" };
    [&sample[..line], added, &sample[line..]].concat()
}

/// Whether a sample has one request only, so that what is wrong with it is wrong with that one.
fn is_single(sample: &[u8]) -> bool {
    let text = String::from_utf8_lossy(sample);
    text.matches(" HTTP/").count() <= 1
}

/// What the gateway takes though the other parser does not: spaces behind a chunk's size, and of answers also the end of a line without CR and an extension
/// without a name. There is one reading of each, and it goes on framed anew.
const READ_ALL_THE_SAME: [&str; 6] = [
    "`chunked` / Space after chunk header",
    "Incomplete HTTP protocol / Invalid space after start line / Only LFs present and no body",
    "Incomplete HTTP protocol / Invalid space after start line / Only LFs present",
    "Simple response / No carriage ret",
    "Trailing space on chunked body",
    "Trailing space on chunked body / No extension after semicolon",
];

#[test]
fn what_another_parser_refuses_reaches_no_api_as_a_whole_request() {
    let actions = actions();
    let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
    let mut world = World::before(None, &catalogue(), &actions);
    let (mut wrong, mut passed, mut calls) = (String::new(), 0, 0);
    for sample in samples("request") {
        // Until the first request is answered; a second one has no token.
        let reply = world.ask_until(&with_token(&sample.bytes), |answer| answer.ends_with(b"}"));
        let answered = reply.statuses.iter().filter(|status| **status == 200).count();
        calls += reply.seen.len() as u64;
        let known = |status: &u16| [200, 400, 401, 403, 404, 408, 411, 413, 415, 417, 431, 501].contains(status);
        let fine = reply.seen.len() <= 1
            && answered <= reply.seen.len()
            && reply.statuses.iter().all(known)
            && (reply.seen.is_empty()
                || !sample.refused
                || !is_single(&sample.bytes)
                || READ_ALL_THE_SAME.contains(&sample.title.as_str()));
        if !fine {
            let _ = writeln!(wrong, "{} ({}): {reply:?}", sample.title, sample.kind);
        }
        passed += usize::from(!sample.refused && answered == 1);
    }
    assert!(wrong.is_empty(), "{wrong}");
    println!("{passed} samples that are good reach the API");
    assert!(passed >= 25, "only {passed} of the good ones reach the API");
    // A body that nobody reads reaches the API whatever the method, and whether its length is known or not.
    let chunked = b"GET /url HTTP/1.1\r\nhost: a\r\n{T}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let reply = world.ask(chunked, false);
    assert!(reply.seen.first().is_some_and(|(_, body)| body.starts_with(b"hello")), "{reply:?}");
    // Each request that reached the API has its record and its outcome.
    world.ends_well(calls);
}

/// An API that answers `GET /sample/7` with the seventh sample, as it is, and says no more.
fn api(samples: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let samples = samples.clone();
            thread::spawn(move || answer(stream, &samples));
        }
    });
    address
}

fn answer(mut stream: TcpStream, samples: &[Vec<u8>]) -> Option<()> {
    let (mut head, mut piece) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        head.extend(&piece[..read]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let number: usize = text.split(' ').nth(1)?.rsplit('/').next()?.parse().ok()?;
    stream.write_all(samples.get(number)?).ok()?;
    // Closed with nothing left unread, so that what was sent arrives.
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    while stream.read(&mut piece).is_ok_and(|read| read > 0) {}
    Some(())
}

#[test]
fn what_another_parser_refuses_is_no_whole_answer() {
    let samples = samples("response");
    let address = api(samples.iter().map(|sample| sample.bytes.clone()).collect());
    let mut world = World::before(Some(&address), &catalogue(), &["sample"]);
    let (mut wrong, mut passed) = (String::new(), 0);
    for (number, sample) in samples.iter().enumerate() {
        let request = format!("GET /sample/{number} HTTP/1.1\r\nhost: a\r\n{{T}}\r\nconnection: close\r\n\r\n");
        let (answer, _) = world.send(&world.bytes(request.as_bytes()), false, |_| false);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status: u16 = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        let own = text.contains("/problems/");
        // What is wrong behind the first answer (data after it, a second one) is never read: no second call gets it.
        let first_is_whole = ["keep-alive disabled", "101 response"].iter().any(|part| sample.title.contains(part))
            || READ_ALL_THE_SAME.contains(&sample.title.as_str());
        // None at all, when what is wrong came with the first bytes: the connection breaks.
        let whole = status != 0 && !own && is_whole(&answer);
        let fine = (!own || status == 502) && (!whole || !sample.refused || first_is_whole);
        if !fine {
            let _ = writeln!(wrong, "{} ({}): {text}", sample.title, sample.kind);
        }
        passed += usize::from(!sample.refused && whole);
    }
    assert!(wrong.is_empty(), "{wrong}");
    println!("{passed} answers that are good reach the agent");
    assert!(passed >= 35, "only {passed} of the good answers reach the agent");
    world.ends_well(samples.len() as u64);
}

/// Whether an answer of the gateway's is whole, as its own framing says.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let (head, body) = (String::from_utf8_lossy(&answer[..end]).to_lowercase(), &answer[end + 4..]);
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match header("content-length:") {
        Some(length) => length.parse() == Ok(body.len()) || head.contains(" 304 "),
        None if header("transfer-encoding:").is_some() => body.ends_with(b"0\r\n\r\n"),
        None => true,
    }
}
