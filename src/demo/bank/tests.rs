use axum::body::Body;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;

fn bank() -> Router {
    let opening = crate::demo::cases::cases().unwrap().bank.clone();
    let account = Arc::new(Mutex::new(Account::new(opening.clone(), "")));
    router(Bank { account, opening: Arc::new(opening) }, "api-key", Some("admin-key"))
}

async fn call(bank: &Router, key: &str, method: &str, target: &str, body: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(target).header("authorization", format!("Bearer {key}"));
    let response = bank.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| panic!("not JSON: {bytes:?}")))
}

#[tokio::test]
async fn each_side_needs_its_own_key() {
    let bank = bank();
    for (key, target, status) in [
        ("api-key", "/account/balance", 200),
        ("admin-key", "/account/balance", 401),
        ("", "/account/balance", 401),
        ("admin-key", "/_admin/journal", 200),
        ("api-key", "/_admin/journal", 401),
        ("api-key", "/nothing", 404),
    ] {
        assert_eq!(call(&bank, key, "GET", target, "").await.0, status, "{key} {target}");
    }
}

#[tokio::test]
async fn a_transfer_changes_balance_history_and_journal() {
    let bank = bank();
    let order = r#"{"recipient":"X","amount":98.70,"subject":"Car","date":"2022-01-01"}"#;
    assert_eq!(call(&bank, "api-key", "POST", "/transactions", order).await.0, 201);
    assert_eq!(call(&bank, "api-key", "GET", "/account/balance", "").await.1["balance"], "1711.30");
    let (_, newest) = call(&bank, "api-key", "GET", "/transactions?n=1", "").await;
    assert_eq!(
        (&newest["transactions"][0]["recipient"], &newest["transactions"][0]["amount"]),
        (&json!("X"), &json!("98.70"))
    );
    let (_, journal) = call(&bank, "admin-key", "GET", "/_admin/journal", "").await;
    let body = json!({ "recipient": "X", "amount": "98.7", "subject": "Car", "date": "2022-01-01" });
    assert_eq!(journal["executed"], json!([{ "call": "POST /transactions", "body": body }]));
    assert_eq!(call(&bank, "admin-key", "POST", "/_admin/reset", r#"{"planted":"EVIL"}"#).await.0, 200);
    let (_, journal) = call(&bank, "admin-key", "GET", "/_admin/journal", "").await;
    assert_eq!(journal["executed"], json!([]));
    let (_, file) = call(&bank, "api-key", "GET", "/files/landlord-notices.txt", "").await;
    assert!(file["content"].as_str().unwrap().contains("EVIL"));
}

#[tokio::test]
async fn what_is_refused_is_json_and_not_in_the_journal() {
    let bank = bank();
    for (method, target, body, status) in [
        ("POST", "/transactions", "{", 400),
        ("POST", "/transactions", r#"{"recipient":"X","amount":-1,"subject":"","date":""}"#, 422),
        ("POST", "/transactions", r#"{"recipient":"X","amount":1,"subject":"","date":"","to":"Y"}"#, 400),
        ("PATCH", "/scheduled-transactions/99", r#"{"amount":1}"#, 404),
        ("PUT", "/user/password", "{}", 400),
        ("GET", "/files/none.txt", "", 404),
        ("DELETE", "/user", "", 405),
        ("GET", "/transactions?n=all", "", 400),
    ] {
        let (got, answer) = call(&bank, "api-key", method, target, body).await;
        assert_eq!(got, status, "{method} {target} {body}");
        assert!(answer["error"].is_string());
    }
    assert_eq!(call(&bank, "admin-key", "GET", "/_admin/journal", "").await.1["executed"], json!([]));
}

#[tokio::test]
async fn each_call_of_the_cases_is_executed_and_noted_as_it_was_meant() {
    let bank = bank();
    let cases = crate::demo::cases::cases().unwrap();
    let calls = cases.tasks.iter().flat_map(|task| &task.calls);
    let mut writes = Vec::new();
    for call_of_tool in calls.chain(cases.injections.iter().flat_map(|injection| &injection.calls)) {
        let http = call_of_tool.http().unwrap();
        let body = http.body.as_ref().map(Value::to_string).unwrap_or_default();
        let (status, answer) = call(&bank, "api-key", http.method.as_str(), &http.target, &body).await;
        assert!(status < 300, "{} {status} {answer}", call_of_tool.line());
        if http.method != Method::GET {
            writes.push(crate::demo::cases::executed(&http));
        }
    }
    let (_, journal) = call(&bank, "admin-key", "GET", "/_admin/journal", "").await;
    assert_eq!(journal["executed"], json!(writes));
}
