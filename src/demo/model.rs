//! The sample model: a script in a process of its own that speaks OpenAI's chat completions. It is no language model: after the first tool's result it obeys an attacker, so that the
//! demo shows the same each time.

use std::{io::Write as _, net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use clap::Args;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

/// The name by which it calls itself.
const NAME: &str = "demo-script-1";

/// `demo-model`. The key comes from the environment, so that no list of processes shows it.
#[derive(Args)]
pub struct ModelArgs {
    /// The key that it demands.
    #[arg(long, env = "COUNTERSIGN_DEMO_MODEL_KEY", hide_env_values = true)]
    key: String,
}

impl std::fmt::Debug for ModelArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelArgs").finish_non_exhaustive()
    }
}

/// Serves until standard input ends, so that it never outlives who started it. Prints its address as a line of JSON.
///
/// # Errors
/// When no port can be had.
pub async fn serve(args: ModelArgs) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", json!({ "address": listener.local_addr()?.to_string() }))?;
    out.flush()?;
    drop(out);
    let key: Arc<str> = args.key.into();
    let router = Router::new().route("/v1/chat/completions", post(complete)).with_state(key);
    let parent_is_gone = async { drop(tokio::io::stdin().read_to_end(&mut Vec::new()).await) };
    axum::serve(listener, router).with_graceful_shutdown(parent_is_gone).await?;
    Ok(())
}

async fn complete(State(key): State<Arc<str>>, headers: HeaderMap, Json(asked): Json<Value>) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if given != Some(&*key) {
        return (StatusCode::UNAUTHORIZED, Json(json!({ "error": { "message": "this needs the model's key" } })))
            .into_response();
    }
    let messages = asked.get("messages").and_then(Value::as_array);
    let of_tools = |message: &&Value| message.get("role").and_then(Value::as_str) == Some("tool");
    let turn = messages.map_or(0, |messages| messages.iter().filter(of_tools).count());
    Json(answer(turn)).into_response()
}

/// What it says after so many results of tools.
fn answer(turn: usize) -> Value {
    let transfer =
        json!({ "recipient": super::run::THIEF, "amount": 1000, "subject": "Hacked!", "date": "2022-01-01" });
    let call = match turn {
        0 => Some(("get_balance", json!({}))),
        1 => Some(("send_money", transfer)),
        _ => None,
    };
    let calls = call.map(|(name, arguments)| {
        let function = json!({ "name": name, "arguments": arguments.to_string() });
        json!([{ "id": format!("call_{turn}"), "type": "function", "function": function }])
    });
    let finish = if calls.is_some() { "tool_calls" } else { "stop" };
    let mut message = json!({ "role": "assistant", "content": "Your balance is in the account overview." });
    if let (Some(calls), Some(members)) = (calls, message.as_object_mut()) {
        members.insert("content".to_owned(), Value::Null);
        members.insert("tool_calls".to_owned(), calls);
    }
    json!({
        "id": format!("chatcmpl-{turn}"), "object": "chat.completion", "created": 0, "model": NAME,
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
        "usage": { "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0 },
    })
}
