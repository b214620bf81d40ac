//! HTTP/1.1, byte by byte.

mod bodies;
mod framing;
mod heads;

use std::fmt::Write as _;

use crate::{
    corpus::{HOSTILE_BODIES, HOSTILE_HEADERS, HOSTILE_TARGETS},
    world::{Reply, World},
};

const GOOD: &str = "{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}";

/// What must become of a request.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// Refused by judgement, with this code.
    Code(&'static str),
    /// Refused by the reader of HTTP, before there is a request that could be judged: this status without a problem document, or with 0 no answer at all.
    Http(u16),
    /// Sent to the API, once, with this request line and this body.
    Sent(&'static str, &'static str),
}
use Expect::{Code, Http, Sent};

/// Name, template, what must become of it. In a template `{T}` stands for the line with the token, and `\n` for CR LF. `~` stands for a bare LF, `^` for a bare CR.
type Row = (&'static str, &'static str, Expect);

fn wire(template: &str) -> Vec<u8> {
    template.replace('\n', "\r\n").replace('~', "\n").replace('^', "\r").into_bytes()
}

fn judge(reply: &Reply, expect: Expect) -> Result<(), String> {
    let seen: Vec<&str> = reply.seen.iter().map(|(head, _)| head.lines().next().unwrap_or_default()).collect();
    let fine = match expect {
        Code(code) => reply.code == code && reply.statuses.len() == 1 && reply.seen.is_empty(),
        Http(0) => reply.statuses.is_empty() && reply.seen.is_empty(),
        Http(status) => reply.statuses == [status] && reply.code.is_empty() && reply.seen.is_empty(),
        Sent(line, body) => {
            let sent = reply.seen.first().is_some_and(|(_, sent)| sent == body.as_bytes());
            seen == [format!("{line} HTTP/1.1")] && sent && reply.statuses.first() == Some(&200)
        }
    };
    if fine {
        Ok(())
    } else {
        Err(format!("expected {expect:?}, got {:?} `{}`, the API saw {seen:?}", reply.statuses, reply.code))
    }
}

#[test]
fn hostile_bytes_reach_no_api() {
    let mut world = World::start();
    let mut wrong = String::new();
    let mut count = 0;
    let mut check = |name: &str, bytes: &[u8], expect: &[Expect]| {
        count += 1;
        let reply = world.ask(bytes, name.ends_with("cut short"));
        let results: Vec<_> = expect.iter().map(|expect| judge(&reply, *expect)).collect();
        if results.iter().all(Result::is_err) {
            let _ = writeln!(wrong, "{name}: {}", results[0].clone().unwrap_err());
        }
    };
    for (name, template, expect) in [heads::HEADS, framing::FRAMING, bodies::BODIES].into_iter().flatten() {
        check(name, &wire(template), &[*expect]);
    }
    for (target, code) in HOSTILE_TARGETS {
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\n{{T}}\r\nconnection: close\r\n\r\n");
        // Some targets the reader of HTTP refuses already.
        check(&format!("target {target}"), request.as_bytes(), &[Code(code), Http(400), Code("upstream-unknown")]);
    }
    for (method, headers, code) in HOSTILE_HEADERS {
        let mut request = format!("{method} /pay HTTP/1.1\r\nhost: a\r\n{{T}}\r\nconnection: close\r\n");
        let said = |name: &str| headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
        if !said("content-type") {
            request += "content-type: application/json\r\n";
        }
        let chunked = said("transfer-encoding");
        if !chunked && !said("content-length") {
            request += "content-length: 2\r\n";
        }
        for (name, value) in *headers {
            let _ = write!(request, "{name}: {value}\r\n");
        }
        request += if chunked { "\r\n2\r\n{}\r\n0\r\n\r\n" } else { "\r\n{}" };
        // A body that is no JSON is for the catalogue to refuse; lengths and codings are for the reader of HTTP, which also strips a length beside chunks.
        let other = match *code {
            "content-type-not-json" => Code("body-not-json"),
            "framing" | "transfer-encoding" => Code("argument-missing"),
            _ => Http(400),
        };
        check(&format!("{method} {headers:?}"), request.as_bytes(), &[Code(code), other, Http(400)]);
    }
    for (body, code) in HOSTILE_BODIES {
        let head = format!(
            "POST /pay HTTP/1.1\r\nhost: a\r\n{{T}}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        check(&String::from_utf8_lossy(body), &[head.as_bytes(), body].concat(), &[Code(code)]);
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count >= 150, "{count}");
    // Whoever was known was recorded, refusals too.
    world.ends_well(250);
}
