//! Lengths and chunks: where a body ends.

use super::{Code, GOOD, Http, Row, Sent};

/// What says how long a body is.
pub(super) const FRAMING: &[Row] = &[
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
];
