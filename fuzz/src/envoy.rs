//! What Envoy asks and reports: protobuf from a program that another company wrote, about requests that an agent wrote.

use http::header;

/// A field of a protobuf message whose content has a length (wire type 2).
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let (mut bytes, mut length) = (vec![number << 3 | 2], content.len());
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap_or_default());
    bytes.extend(content);
    bytes
}

fn header(name: &str, value: &str) -> Vec<u8> {
    field(1, &[field(1, name.as_bytes()), field(3, value.as_bytes())].concat())
}

/// Questions: with a body, without, with a part of one, and with headers that are not as they came.
pub fn questions() -> Vec<Vec<u8>> {
    let question = |headers: &[Vec<u8>], rest: &[u8]| {
        let http = [
            field(2, b"POST"),
            field(4, b"/pay?x=1"),
            field(5, b"bank.example"),
            field(6, b"https"),
            field(13, &headers.concat()),
            rest.to_vec(),
        ];
        let address = field(1, &[field(2, b"127.0.0.1"), vec![3 << 3, 0x90, 0x4e]].concat());
        let source = field(1, &[field(1, &address), field(4, b"spiffe://a/b")].concat());
        field(1, &[source, field(4, &field(2, &http.concat()))].concat())
    };
    let json = header("content-type", "application/json");
    let whole = [json.clone(), header("content-length", "9"), header("x-envoy-auth-partial-body", "false")];
    let part = [json.clone(), header("x-envoy-auth-partial-body", "true")];
    vec![
        question(&whole, &field(12, b"{\"to\":\"b\"}")),
        question(&part, &field(12, b"{\"to\":")),
        question(&[header(":path", "/pay"), header("accept", "a"), header("accept", "b")], &[]),
        question(&[json], &field(11, b"{}")),
    ]
}

/// What is judged has one host, no authority in its target, no pseudo-header, no word of Envoy's about the body, and no more body than Envoy showed.
pub fn question(input: &[u8]) {
    let Some(request) = countersign_proxy::envoy::question(input) else { return };
    assert!(request.uri().authority().is_none());
    assert!(request.headers().get_all(header::HOST).iter().count() <= 1);
    assert!(request.headers().keys().all(|name| !name.as_str().starts_with(':')));
    assert!(!request.headers().contains_key("x-envoy-auth-partial-body"));
    if let Some(body) = request.body().as_ref().filter(|body| !body.is_empty()) {
        assert!(input.windows(body.len()).any(|window| window == body));
    }
}

/// A call that ended well, one whose agent went away, and a request for which nobody asked.
pub fn reports() -> Vec<Vec<u8>> {
    let entry = "0123456789abcdef".repeat(4);
    let value = field(3, entry.as_bytes());
    let fields = field(1, &[field(1, b"countersign-entry"), field(2, &value)].concat());
    let namespace = field(1, &[field(1, b"envoy.filters.http.ext_authz"), field(2, &fields)].concat());
    // Fields from 16 on have a tag of two bytes.
    let late = |number: u16, content: &[u8]| {
        let tag = u32::from(number) << 3 | 2;
        let low = u8::try_from(tag & 0x7f).unwrap_or_default() | 0x80;
        let mut bytes = vec![low, u8::try_from(tag >> 7).unwrap_or_default()];
        let rest = field(1, content);
        bytes.extend(rest.into_iter().skip(1));
        bytes
    };
    let response = field(4, &[field(1, &[8, 0xc8, 1]), field(6, b"via_upstream")].concat());
    let line = |common: &[Vec<u8>]| {
        let line = [field(1, &common.concat()), response.clone()].concat();
        field(2, &field(1, &line))
    };
    vec![
        line(&[late(17, &namespace)]),
        line(&[late(16, &[15 << 3, 1]), late(17, &namespace)]),
        line(&[field(7, &[8, 1])]),
    ]
}

/// Whatever Envoy says, it is read.
pub fn report(input: &[u8]) {
    let _ = countersign_proxy::envoy::reports(input);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_good_inputs_are_read() {
        let shown: Vec<Option<usize>> = questions()
            .iter()
            .map(|input| countersign_proxy::envoy::question(input).unwrap().body().as_ref().map(|body| body.len()))
            .collect();
        assert_eq!(shown, [Some(10), None, Some(0), None]);
        let told: Vec<usize> = reports().iter().map(|input| countersign_proxy::envoy::reports(input)).collect();
        assert_eq!(told, [1, 1, 0]);
    }
}
