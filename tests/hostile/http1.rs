//! HTTP/1.1, byte by byte.

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

/// Requests in which `{T}` stands for the line with the token, and `\n` for CR LF. `~` stands for a bare LF, `^` for a bare CR.
const WIRE: &[(&str, &str, Expect)] = &[
    ("a plain request", "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Sent("GET /x?q=x", "")),
    (
        "a plain change",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Sent("POST /pay", GOOD),
    ),
    (
        "a chunked change",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Sent("POST /pay", GOOD),
    ),
    (
        "a change in two chunks",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n1\n{\n29\n\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Sent("POST /pay", GOOD),
    ),
    (
        "a chunk with an extension",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n2a;a=b\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Sent("POST /pay", GOOD),
    ),
    (
        "trailers of a judged body stay behind",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\nx-tag: 1\nauthorization: Bearer x\n\n",
        Sent("POST /pay", GOOD),
    ),
    (
        "one spelling is sent",
        "GET /files/m%c3%bcller HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n",
        Sent("GET /files/m%C3%BCller", ""),
    ),
    (
        "a needless escape goes",
        "GET /files/%61.txt HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n",
        Sent("GET /files/a.txt", ""),
    ),
    ("a plus is a space", "GET /x?q=a+b HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Sent("GET /x?q=a%20b", "")),
    ("header names in capitals", "GET /x?q=x HTTP/1.1\nHOST: a\n{T}\nCONNECTION: close\n\n", Sent("GET /x?q=x", "")),
    ("HTTP/1.0", "GET /x?q=x HTTP/1.0\nhost: a\n{T}\n\n", Sent("GET /x?q=x", "")),
    ("no version", "GET /x?q=x\n\n", Http(400)),
    ("HTTP/0.9", "GET /x HTTP/0.9\nhost: a\n{T}\n\n", Http(400)),
    ("HTTP/1.2", "GET /x HTTP/1.2\nhost: a\n{T}\n\n", Http(400)),
    ("HTTP/2.0 as a text", "GET /x HTTP/2.0\nhost: a\n{T}\n\n", Http(400)),
    ("HTTP/11", "GET /x HTTP/11\nhost: a\n{T}\n\n", Http(400)),
    ("http in small letters", "GET /x http/1.1\nhost: a\n{T}\n\n", Http(400)),
    ("two spaces", "GET  /x HTTP/1.1\nhost: a\n{T}\n\n", Http(400)),
    ("two spaces before the version", "GET /x  HTTP/1.1\nhost: a\n{T}\n\n", Http(400)),
    ("a space at the end", "GET /x HTTP/1.1 \nhost: a\n{T}\n\n", Http(400)),
    ("a tab", "GET\t/x HTTP/1.1\nhost: a\n{T}\n\n", Http(400)),
    ("a space in the target", "GET /x y HTTP/1.1\nhost: a\n{T}\n\n", Http(400)),
    ("two targets", "GET /x /admin HTTP/1.1\nhost: a\n{T}\n\n", Http(400)),
    ("a NUL in the target", "GET /x\u{0} HTTP/1.1\nhost: a\n{T}\n\n", Http(400)),
    ("a NUL in the method", "GE\u{0}T /x HTTP/1.1\nhost: a\n{T}\n\n", Http(400)),
    ("an empty method", " /x HTTP/1.1\nhost: a\n{T}\n\n", Http(400)),
    ("a method with a slash", "GET/ /x HTTP/1.1\nhost: a\n{T}\n\n", Http(400)),
    ("a method with a colon", "GET: /x HTTP/1.1\nhost: a\n{T}\n\n", Http(400)),
    ("a method in small letters", "get /x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Code("action-unknown")),
    ("a method nobody knows", "PAY /x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Code("action-unknown")),
    ("an empty target", "GET  HTTP/1.1\nhost: a\n{T}\n\n", Http(400)),
    ("a target without a slash", "GET x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Code("target-absolute")),
    ("a backslash", "GET \\x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Http(400)),
    ("a fragment", "GET /x#/../admin HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Sent("GET /x", "")),
    ("a fragment before the query", "GET /x#?q=1 HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Sent("GET /x", "")),
    (
        "an absolute target of another host",
        "GET http://evil.example/x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n",
        Code("target-absolute"),
    ),
    (
        "an absolute target of this host",
        "GET http://a/x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n",
        Code("target-absolute"),
    ),
    (
        "an absolute target with userinfo",
        "GET http://a@evil.example/x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n",
        Code("target-absolute"),
    ),
    (
        "an absolute target of another scheme",
        "GET file:///etc/passwd HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n",
        Http(400),
    ),
    (
        "an authority as target",
        "GET evil.example:443 HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n",
        Code("target-absolute"),
    ),
    ("CONNECT", "CONNECT evil.example:443 HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Code("method-refused")),
    ("OPTIONS of all", "OPTIONS * HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Code("upstream-unknown")),
    (
        "empty lines before the request",
        "\n\nGET /x?q=x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n",
        Sent("GET /x?q=x", ""),
    ),
    (
        "the preface of HTTP/2 with a request of HTTP/1.1 behind",
        "PRI * HTTP/2.0\n\nSM\n\nGET /x?q=x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n",
        Http(0),
    ),
    ("a header without a colon", "GET /x HTTP/1.1\nhost: a\n{T}\nbad\n\n", Http(400)),
    ("a space before the colon", "GET /x HTTP/1.1\nhost: a\n{T}\nx-tag : 1\n\n", Http(400)),
    ("a tab before the colon", "GET /x HTTP/1.1\nhost: a\n{T}\nx-tag\t: 1\n\n", Http(400)),
    ("a folded header", "GET /x HTTP/1.1\nhost: a\n{T}\nx-tag: 1\n 2\n\n", Http(400)),
    ("a folded header with a tab", "GET /x HTTP/1.1\nhost: a\n{T}\nx-tag: 1\n\t2\n\n", Http(400)),
    ("a first line folded", "GET /x HTTP/1.1\n host: a\n{T}\n\n", Http(400)),
    ("an empty header name", "GET /x HTTP/1.1\nhost: a\n{T}\n: 1\n\n", Http(400)),
    ("a header name with a NUL", "GET /x HTTP/1.1\nhost: a\n{T}\nx\u{0}y: 1\n\n", Http(400)),
    ("a header name with a bracket", "GET /x HTTP/1.1\nhost: a\n{T}\nx(y): 1\n\n", Http(400)),
    ("a header name beyond ASCII", "GET /x HTTP/1.1\nhost: a\n{T}\nx\u{e9}: 1\n\n", Http(400)),
    ("a header value with a NUL", "GET /x HTTP/1.1\nhost: a\n{T}\nx-tag: a\u{0}b\n\n", Http(400)),
    ("a header value with a bare CR", "GET /x HTTP/1.1\nhost: a\n{T}\nx-tag: a^b\n\n", Http(400)),
    (
        "a header value with a CR before another header",
        "GET /x HTTP/1.1\nhost: a\n{T}\nx-tag: a^x-http-method-override: DELETE\n\n",
        Http(400),
    ),
    (
        "a header hidden behind a bare LF",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nx-other: a~x-http-method-override: DELETE\nconnection: close\n\n",
        Code("override-header"),
    ),
    ("a header value with DEL", "GET /x HTTP/1.1\nhost: a\n{T}\nx-tag: a\u{7f}b\n\n", Http(400)),
    (
        "a header argument twice",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nx-tag: 1\nx-tag: 2\nconnection: close\n\n",
        Code("header-ambiguous"),
    ),
    (
        "a header argument beyond ASCII",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nx-tag: \u{e9}\nconnection: close\n\n",
        Code("header-ambiguous"),
    ),
    (
        "a header argument with a tab",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nx-tag: a\tb\nconnection: close\n\n",
        Code("header-ambiguous"),
    ),
    (
        "a header argument that Connection takes away",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nx-tag: 1\nconnection: close, x-tag\n\n",
        Code("connection-option"),
    ),
    (
        "a media type that Connection takes away",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42\nconnection: close, content-type\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("connection-option"),
    ),
    (
        "a token that Connection takes away",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nconnection: close, authorization\n\n",
        Code("connection-option"),
    ),
    (
        "Connection in two lines",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nx-tag: 1\nconnection: x-tag\nconnection: close\n\n",
        Code("connection-option"),
    ),
    ("no Host", "GET /x?q=x HTTP/1.1\n{T}\nconnection: close\n\n", Code("host")),
    ("two Hosts", "GET /x?q=x HTTP/1.1\nhost: a\nhost: evil.example\n{T}\nconnection: close\n\n", Code("host")),
    ("a Host with userinfo", "GET /x?q=x HTTP/1.1\nhost: a@evil.example\n{T}\nconnection: close\n\n", Code("host")),
    ("a Host with a path", "GET /x?q=x HTTP/1.1\nhost: a/evil\n{T}\nconnection: close\n\n", Code("host")),
    ("a Host with a space", "GET /x?q=x HTTP/1.1\nhost: a evil.example\n{T}\nconnection: close\n\n", Code("host")),
    ("a Host that is a list", "GET /x?q=x HTTP/1.1\nhost: a,evil.example\n{T}\nconnection: close\n\n", Code("host")),
    (
        "lengths that differ",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42\ncontent-length: 3\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Http(400),
    ),
    (
        "lengths that are equal",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42\ncontent-length: 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Sent("POST /pay", GOOD),
    ),
    (
        "a list of lengths",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42, 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Http(400),
    ),
    (
        "a length with a plus",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: +42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Http(400),
    ),
    (
        "a negative length",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: -1\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Http(400),
    ),
    (
        "a length in hexadecimal",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 0x2a\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Http(400),
    ),
    (
        "a length with a fraction",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42.0\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Http(400),
    ),
    (
        "a length beyond 64 bits",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 18446744073709551658\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Http(400),
    ),
    (
        "a length with a space in it",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 4 2\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Http(400),
    ),
    (
        "a length that is empty",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length:\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Http(400),
    ),
    (
        "a length beside chunks: the chunks count",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\ncontent-length: 4\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Sent("POST /pay", GOOD),
    ),
    (
        "a length that would smuggle, beside chunks",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\ncontent-length: 4\nconnection: close\n\n0\n\nGET /admin HTTP/1.1\nhost: a\n\n",
        Code("argument-missing"),
    ),
    (
        "chunks with another coding",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: gzip, chunked\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Code("transfer-encoding"),
    ),
    (
        "chunks not last",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked, identity\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Http(400),
    ),
    (
        "chunks twice",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked, chunked\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Code("transfer-encoding"),
    ),
    (
        "chunks in two lines",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\ntransfer-encoding: chunked\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Code("transfer-encoding"),
    ),
    (
        "chunks and cows",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\ntransfer-encoding: cow\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Http(400),
    ),
    (
        "a coding nobody knows",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: xchunked\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Http(400),
    ),
    (
        "a coding with a vertical tab",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: \u{b}chunked\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Http(400),
    ),
    (
        "a coding with a space before the colon",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding : chunked\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Http(400),
    ),
    (
        "a coding folded",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding:\n chunked\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Http(400),
    ),
    (
        "a coding in quotes",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: \"chunked\"\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Http(400),
    ),
    (
        "chunks in HTTP/1.0",
        "POST /pay HTTP/1.0\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Http(400),
    ),
    (
        "a chunk size with 0x",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n0x2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Code("body-incomplete"),
    ),
    (
        "a chunk size with a plus",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n+2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Code("body-incomplete"),
    ),
    (
        "a negative chunk size",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n-2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Code("body-incomplete"),
    ),
    (
        "a chunk size beyond 64 bits",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n1000000000000002a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Code("body-incomplete"),
    ),
    (
        "a chunk size that is empty",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Code("body-incomplete"),
    ),
    (
        "a chunk longer than its size",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n2\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Code("body-incomplete"),
    ),
    (
        "a chunk without its end",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}0\n\n",
        Code("body-incomplete"),
    ),
    (
        "a chunk that ends in a bare LF",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n2a~{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Code("body-incomplete"),
    ),
    (
        "a chunk extension with a bare CR",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n2a;a^b\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Code("body-incomplete"),
    ),
    (
        "a chunk extension with a bare LF",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n2a;a~b\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n0\n\n",
        Code("body-incomplete"),
    ),
    (
        "chunks, cut short",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ntransfer-encoding: chunked\nconnection: close\n\n2a\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}\n",
        Code("body-incomplete"),
    ),
    (
        "a body, cut short",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 99\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("body-incomplete"),
    ),
    (
        "a body that is longer than its length",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 2\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("json-malformed"),
    ),
    (
        "a body without a length",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("argument-missing"),
    ),
    (
        "a body of GET",
        "GET /x HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("argument-unknown"),
    ),
    (
        "a body of an action that has none",
        "GET /files/a.txt HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("argument-unknown"),
    ),
    (
        "a form",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/x-www-form-urlencoded\ncontent-length: 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("body-not-json"),
    ),
    (
        "a multipart form",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: multipart/form-data; boundary=x\ncontent-length: 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("body-not-json"),
    ),
    (
        "JSON called text",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: text/plain\ncontent-length: 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("body-not-json"),
    ),
    (
        "JSON called nothing",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-length: 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("body-not-json"),
    ),
    (
        "JSON called text/json",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: text/json\ncontent-length: 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("body-not-json"),
    ),
    (
        "JSON called a sequence",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json-seq\ncontent-length: 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("body-not-json"),
    ),
    (
        "JSON in UTF-7",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json; charset=utf-7\ncontent-length: 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("charset"),
    ),
    (
        "two media types",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42\ncontent-type: text/plain\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("content-type-twice"),
    ),
    (
        "a media type in a list",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json, text/plain\ncontent-length: 42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("content-type-twice"),
    ),
    (
        "an encoded body",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42\ncontent-encoding: gzip\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("content-encoding"),
    ),
    (
        "an encoding nobody knows",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42\ncontent-encoding: x\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("content-encoding"),
    ),
    (
        "a part of a body",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42\ncontent-range: bytes 0-41/42\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("content-range"),
    ),
    (
        "an expectation nobody knows",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42\nexpect: 200-ok\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Code("expectation"),
    ),
    (
        "an expectation that is met",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 42\nexpect: 100-continue\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}",
        Sent("POST /pay", GOOD),
    ),
    (
        "an undeclared member",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 55\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5,\"as\":\"admin\"}",
        Code("argument-unknown"),
    ),
    (
        "a member in other letters",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 51\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5,\"To\":\"X\"}",
        Code("argument-unknown"),
    ),
    (
        "a member in the wrong place",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 60\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5,\"meta\":{\"to\":\"X\"}}",
        Code("argument-unknown"),
    ),
    (
        "a member of a prototype",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 69\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":5,\"__proto__\":{\"admin\":true}}",
        Code("argument-unknown"),
    ),
    (
        "an object for a text",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 28\nconnection: close\n\n{\"to\":{\"$ne\":\"\"},\"amount\":5}",
        Code("argument-type"),
    ),
    (
        "a list for a text",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 48\nconnection: close\n\n{\"to\":[\"GB29NWBK60161331926819\",\"X\"],\"amount\":5}",
        Code("argument-type"),
    ),
    (
        "a list of requests",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 44\nconnection: close\n\n[{\"to\":\"GB29NWBK60161331926819\",\"amount\":5}]",
        Code("argument-unknown"),
    ),
    (
        "an amount that is a text with a unit",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 48\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":\"5 EUR\"}",
        Code("argument-type"),
    ),
    (
        "an amount in full-width digits",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 46\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\",\"amount\":\"\u{ff15}\"}",
        Code("argument-type"),
    ),
    (
        "an account with an invisible character",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 45\nconnection: close\n\n{\"to\":\"GB29NWBK60161331926819\u{200b}\",\"amount\":5}",
        Code("argument-type"),
    ),
    (
        "an empty body",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 0\nconnection: close\n\n",
        Code("argument-missing"),
    ),
    ("an unknown path", "GET /admin HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Code("action-unknown")),
    ("a path in capitals", "GET /X HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Code("action-unknown")),
    ("a slash at the end", "GET /x/ HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Code("action-unknown")),
    ("another method", "DELETE /x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Code("action-unknown")),
    ("HEAD of what is read", "HEAD /x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Http(403)),
    (
        "an undeclared parameter",
        "GET /x?q=x&admin=1 HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n",
        Code("argument-unknown"),
    ),
    ("a parameter in brackets", "GET /x?q[]=x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Code("argument-unknown")),
    ("a parameter in capitals", "GET /x?Q=x HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n", Code("argument-unknown")),
    (
        "a parameter of another type",
        "GET /x?n=1e3 HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n",
        Code("argument-type"),
    ),
    (
        "a method in the query",
        "GET /x?_method=DELETE HTTP/1.1\nhost: a\n{T}\nconnection: close\n\n",
        Code("argument-unknown"),
    ),
    (
        "an override that looks otherwise",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nx_http-method_override: DELETE\nconnection: close\n\n",
        Code("override-header"),
    ),
    (
        "a path that some servers read from a header",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nx-original-url: /admin\nconnection: close\n\n",
        Code("override-header"),
    ),
    (
        "an upgrade to HTTP/2",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nupgrade: h2c\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\nconnection: upgrade, http2-settings\n\n",
        Code("upgrade"),
    ),
    (
        "a web socket",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nupgrade: websocket\nsec-websocket-key: x\nsec-websocket-version: 13\nconnection: upgrade\n\n",
        Code("upgrade"),
    ),
    ("no token", "GET /x HTTP/1.1\nhost: a\nconnection: close\n\n", Code("token-missing")),
    (
        "two tokens",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\nauthorization: Bearer x\nconnection: close\n\n",
        Code("token-invalid"),
    ),
    (
        "a token of another scheme",
        "GET /x HTTP/1.1\nhost: a\nauthorization: Basic YTpi\nconnection: close\n\n",
        Code("token-missing"),
    ),
    (
        "a token with something behind",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T} x\nconnection: close\n\n",
        Code("token-invalid"),
    ),
    (
        "a cause that is none",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\ncountersign-decision: x\nconnection: close\n\n",
        Code("decision-unknown"),
    ),
    (
        "a cause of nobody",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\ncountersign-decision: 0000000000000000000000000000000000000000000000000000000000000000\nconnection: close\n\n",
        Code("decision-unknown"),
    ),
    (
        "a second request without a token",
        "GET /x?q=x HTTP/1.1\nhost: a\n{T}\n\nGET /x HTTP/1.1\nhost: a\nconnection: close\n\n",
        Sent("GET /x?q=x", ""),
    ),
    (
        "a second request behind a length of 0",
        "POST /pay HTTP/1.1\nhost: a\n{T}\ncontent-type: application/json\ncontent-length: 0\nconnection: close\n\nGET /x HTTP/1.1\nhost: a\n\n",
        Code("argument-missing"),
    ),
];

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
    for (name, template, expect) in WIRE {
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
