//! Bodies that are no JSON or no arguments, parameters, upgrades, tokens, and second requests.

use super::{Code, GOOD, Http, Row, Sent};

/// What a body, a parameter or a token may not be.
pub(super) const BODIES: &[Row] = &[
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
