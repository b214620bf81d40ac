//! An answer that would hand the gateway's credential to the agent is cut and recorded.

use data_encoding::{BASE64, HEXLOWER};
use http::Response;
use http_body::Frame;
use serde_json::json;

use super::world::{Api, SECRET, World, channel_body, json_answer, piece, whole};

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_holds_the_credential_is_withheld() {
    let api = Api::start(|got| {
        let echoed = got.headers["authorization"].clone();
        Response::builder().header("x-debug", echoed).body(whole("body")).unwrap()
    })
    .await;
    let world = World::start(api.address).await;
    let answer = world.get("/x").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "response-cut"));
    assert!(!format!("{answer:?}").contains(SECRET));
    let (outcome, _) = world.outcome().await;
    assert_eq!((outcome.text("result"), outcome.text("sent")), (Some("response_cut"), Some("yes")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_holds_the_credential_in_any_spelling_is_cut() {
    let escaped: String = SECRET.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let basic = BASE64.encode(format!("key:{SECRET}").as_bytes());
    for spelling in [SECRET.to_owned(), escaped, percent, basic, HEXLOWER.encode(SECRET.as_bytes())] {
        let text = format!("{{\"seen\":\"{spelling}\"}}");
        let api = Api::start(move |_| {
            Response::builder().header("content-type", "application/json").body(whole(&text)).unwrap()
        })
        .await;
        let world = World::start(api.address).await;
        let request = world.request("GET", "/x").body(whole("")).unwrap();
        // The head may or may not have left before the body is met.
        let answer = match world.client.request(request).await {
            Ok(response) => super::world::read(response).await.body,
            Err(_) => None,
        };
        assert_eq!(answer, None, "{spelling}");
        let (outcome, values) = world.outcome().await;
        assert_eq!(outcome.text("result"), Some("response_cut"), "{spelling}");
        assert!(!values.to_string().contains(&spelling), "nor is it kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_in_pieces_does_not_pass_piece_by_piece() {
    let (pieces, body) = channel_body();
    let body = parking_lot::Mutex::new(Some(body));
    let api = Api::start(move |_| Response::new(body.lock().take().unwrap())).await;
    let world = World::start(api.address).await;
    let request = world.request("GET", "/x").body(whole("")).unwrap();
    let mut response = world.client.request(request).await.unwrap();
    let (one, two) = SECRET.split_at(11);
    let mut passed = Vec::new();
    for text in ["before ", one, two] {
        pieces.send(piece(text)).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    while let Some(Ok(frame)) = http_body_util::BodyExt::frame(&mut response).await {
        passed.extend(frame.into_data().unwrap());
    }
    assert_eq!(passed, b"before ");
    assert_eq!(world.outcome().await.0.text("result"), Some("response_cut"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailer_that_holds_the_credential_is_cut() {
    let (pieces, body) = channel_body();
    let body = parking_lot::Mutex::new(Some(body));
    let api = Api::start(move |_| {
        Response::builder().header("trailer", "x-debug").body(body.lock().take().unwrap()).unwrap()
    })
    .await;
    let world = World::start(api.address).await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-debug", SECRET.parse().unwrap());
    pieces.send(piece("abc")).await.unwrap();
    pieces.send(Ok(Frame::trailers(trailers))).await.unwrap();
    drop(pieces);
    let answer = world.send_as(world.request("GET", "/x").header("te", "trailers").body(whole("")).unwrap()).await;
    assert_eq!(answer.body, None);
    assert_eq!(world.outcome().await.0.text("result"), Some("response_cut"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoded_answer_cannot_be_searched_and_is_withheld() {
    let api =
        Api::start(|_| Response::builder().header("content-encoding", "gzip").body(whole("\u{1f}")).unwrap()).await;
    let world = World::start(api.address).await;
    assert_eq!(world.get("/x").await.code(), "response-cut");
    assert_eq!(world.outcome().await.0.text("result"), Some("response_cut"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_only_resembles_it_passes() {
    let api = Api::start(|_| json_answer(&json!({ "a": "sk-upstream-secret-01234567", "b": "sk-upstream" }))).await;
    let world = World::start(api.address).await;
    assert_eq!(world.get("/x").await.json(), json!({ "a": "sk-upstream-secret-01234567", "b": "sk-upstream" }));
}
