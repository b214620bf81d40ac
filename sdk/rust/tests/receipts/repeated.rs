//! Requests that come twice: captured by somebody, or sent again by the gateway.

use super::*;

/// Keeps requests as they come, as somebody does who listens on the way.
#[derive(Clone, Default)]
struct Captured(Arc<parking_lot::Mutex<Vec<(http::HeaderMap, bytes::Bytes)>>>);

async fn capturing(
    axum::extract::State(captured): axum::extract::State<Captured>,
    request: Request,
    next: middleware::Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    captured.0.lock().push((parts.headers.clone(), body.clone()));
    next.run(Request::from_parts(parts, Body::from(body))).await
}

/// Sends the first captured request again, as it was; gives the status and the reason.
async fn again(captured: &Captured, to: SocketAddr) -> (u16, String) {
    let (headers, body) = captured.0.lock().first().cloned().unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let of_the_connection = ["content-length", "content-type", "transfer-encoding", "te"];
    let kept = headers.iter().filter(|(name, _)| !of_the_connection.contains(&name.as_str()));
    let kept: Vec<(&str, &str)> = kept.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let thief = Plain::anonymous(&format!("http://{to}")).unwrap();
    let answer = thief.exchange("POST", "/pay", &kept, Some(&body)).await.unwrap();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    (answer.status.as_u16(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_captured_request_that_is_sent_again_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (captured, store) = (Captured::default(), Arc::new(Memory::default()));
    let router = routes().layer(layer().keeping(store.clone()));
    let api = serve(router.layer(middleware::from_fn_with_state(captured.clone(), capturing))).await;
    // Another instance of the API that shares the receipts, and one that remembers by itself only.
    let (shared, alone) = (serve(routes().layer(layer().keeping(store))).await, serve(routes().layer(layer())).await);
    let world = World::start(dir.path(), upstream(api)).await;
    let pay = async || world.agent.send("POST", "/pay", Some(&json!({ "amount": "5" }))).await.unwrap().status;
    assert_eq!(pay().await, 200);
    world.receipt().await;
    let (status, why) = again(&captured, api).await;
    assert!(status == 401 && why.contains("taken before"), "{status} {why}");
    let (status, why) = again(&captured, shared).await;
    assert!(status == 401 && why.contains("answered before"), "{status} {why}");
    assert_eq!(again(&captured, alone).await.0, 200, "it never saw it");
    let (status, why) = again(&captured, alone).await;
    assert!(status == 401 && why.contains("taken before"), "{status} {why}");
    // One that starts after it was signed knows nothing of what was before.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (status, why) = again(&captured, serve(routes().layer(layer())).await).await;
    assert!(status == 401 && why.contains("began"), "{status} {why}");
    let strict = layer().keeping(Arc::new(Forgetful)).within(Duration::ZERO);
    let (status, why) = again(&captured, serve(routes().layer(strict)).await).await;
    assert!(status == 401 && why.contains("seconds ago"), "{status} {why}");
    assert_eq!(pay().await, 200, "the gateway signs each call anew");
    world.verify(dir.path(), &[]).await;
}

/// Keeps no receipts, and says of nothing that it is too old.
struct Forgetful;

impl Store for Forgetful {
    fn keep(&self, _: [countersign_ledger::Hash; 2], _: &SignedText) {}

    fn find(&self, _: &countersign_ledger::Hash) -> Option<SignedText> {
        None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_sends_again_is_signed_anew_and_taken() {
    let dir = tempfile::tempdir().unwrap();
    let captured = Captured::default();
    let lost = Arc::new(std::sync::atomic::AtomicBool::new(false));
    // Somebody between them loses the first answer, behind which the API has done its work.
    let losing = move |request: Request, next: middleware::Next| {
        let lost = lost.clone();
        async move {
            let mut response = next.run(request).await;
            if !lost.swap(true, std::sync::atomic::Ordering::SeqCst) {
                *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            }
            response
        }
    };
    let router = routes().layer(layer()).layer(middleware::from_fn_with_state(captured.clone(), capturing));
    let retries = Retries { attempts: 2, pause: Duration::from_millis(1) };
    let upstream = Upstream { retries, ..upstream(serve(router.layer(middleware::from_fn(losing))).await) };
    let world = World::start(dir.path(), upstream).await;
    assert_eq!(world.get("/balance").await.0, 200);
    let nonces: Vec<String> = captured.0.lock().iter().map(|(headers, _)| nonce(headers)).collect();
    assert!(nonces.len() == 2 && nonces[0] != nonces[1] && nonces[0].len() == 22, "{nonces:?}");
    let (_, _, said) = world.receipt().await;
    assert_eq!(said.as_deref(), Some("received"));
    world.verify(dir.path(), &[]).await;
}

fn nonce(headers: &http::HeaderMap) -> String {
    let input = headers["signature-input"].to_str().unwrap();
    let (_, rest) = input.split_once(";nonce=\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}
