//! Receipts that are lost, taken away, of something else, or by somebody else.

use super::*;

/// Between API and gateway: takes receipts away that come with the answer.
async fn stripping(request: Request, next: middleware::Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().remove("signature");
    response.headers_mut().remove("signature-input");
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_got_lost_is_fetched_and_written_as_late() {
    let dir = tempfile::tempdir().unwrap();
    let api = serve(routes().layer(layer()).layer(middleware::from_fn(stripping))).await;
    let world = World::start(dir.path(), upstream(api)).await;
    assert_eq!(world.get("/balance").await.0, 200);
    let (entry, receipt, said) = world.receipt().await;
    assert_eq!(
        (said.as_deref(), &entry.body["late"], &entry.body["differs"]),
        (Some("missing"), &json!(true), &json!([]))
    );
    world.verify(dir.path(), &[receipt]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_receipt_is_kept_from_the_agent_where_one_is_required() {
    let dir = tempfile::tempdir().unwrap();
    let api = serve(routes().layer(layer()).layer(middleware::from_fn(stripping))).await;
    let mut upstream = upstream(api);
    upstream.receipts.as_mut().unwrap().required = true;
    let world = World::start(dir.path(), upstream).await;
    let cut = world.agent.send("GET", "/balance", None).await;
    assert!(cut.is_err() || cut.is_ok_and(|answer| answer.body.is_empty()), "the answer was passed on");
    let (outcome, _) = world.wait(Kind::Outcome, 1).await.remove(0);
    assert_eq!((outcome.text("result"), outcome.text("receipt")), (Some("response_cut"), Some("missing")));
}

/// Between API and gateway: changes what the API answered.
async fn changing(request: Request, next: middleware::Next) -> Response {
    let status = request.uri().path() == "/file";
    let (mut parts, _) = next.run(request).await.into_parts();
    if status {
        parts.status = http::StatusCode::ACCEPTED;
        return Response::from_parts(parts, Body::from("3"));
    }
    parts.headers.remove("content-length");
    Response::from_parts(parts, Body::from("{\"amount\":\"500\"}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_answer_is_told_from_the_one_that_the_api_signed() {
    let dir = tempfile::tempdir().unwrap();
    let api = serve(routes().layer(layer()).layer(middleware::from_fn(changing))).await;
    let world = World::start(dir.path(), upstream(api)).await;
    world.agent.send("POST", "/pay", Some(&json!({ "amount": "5" }))).await.unwrap();
    let (entry, receipt, said) = world.receipt().await;
    assert_eq!((check(&entry, "result"), &entry.body["differs"]), ("valid", &json!(["response"])));
    assert_eq!(said.as_deref(), Some("received"));
    // Another status than the one signed: the signature does not fit.
    world.agent.send("PUT", "/file", Some(&json!(1))).await.unwrap();
    let (entry, _) = world.wait(Kind::Receipt, 2).await.remove(1);
    assert_eq!(check(&entry, "result"), "invalid");
    world.verify(dir.path(), &[receipt]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_of_another_call_or_by_another_key_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let first: Arc<parking_lot::Mutex<Option<http::HeaderMap>>> = Arc::default();
    let replaying = move |request: Request, next: middleware::Next| {
        let first = first.clone();
        async move {
            let mut response = next.run(request).await;
            let mut first = first.lock();
            match &*first {
                Some(headers) => *response.headers_mut() = headers.clone(),
                None => *first = Some(response.headers().clone()),
            }
            response
        }
    };
    let api = serve(routes().layer(layer()).layer(middleware::from_fn(replaying))).await;
    let world = World::start(dir.path(), upstream(api)).await;
    world.get("/balance").await;
    world.get("/balance").await;
    let receipts = world.wait(Kind::Receipt, 2).await;
    let results: Vec<&str> = receipts.iter().map(|(entry, _)| check(entry, "result")).collect();
    assert_eq!(results, ["valid", "invalid"]);
    world.verify(dir.path(), &[]).await;

    let dir = tempfile::tempdir().unwrap();
    let other = ReceiptLayer::new(key(21), GatewayKeys::new([jwk(10)]));
    let world = World::start(dir.path(), upstream(serve(routes().layer(other)).await)).await;
    world.get("/balance").await;
    let (entry, _, said) = world.receipt().await;
    assert_eq!((check(&entry, "result"), said.as_deref()), ("unknown_key", Some("received")));
    // The key becomes known: the receipt is asked for again.
    world.gateway.key("registered", "bank", &jwk(21), None, "test").await.unwrap();
    let (entry, _) = world.wait(Kind::Receipt, 2).await.remove(1);
    assert_eq!((check(&entry, "result"), &entry.body["late"]), ("valid", &json!(true)));
    world.verify(dir.path(), &[]).await;
}
