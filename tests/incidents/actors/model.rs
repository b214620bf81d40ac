//! A model's endpoint that says what its script says, turn by turn, in the shape of OpenAI's chat completions.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The model that answers.
pub const MODEL: &str = "gpt-4o-2024-08-06";

/// What the model says at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Calls of tools: name and arguments.
    Calls(Vec<(String, Value)>),
    /// Words for the user.
    Text(String),
}

#[derive(Default)]
struct Run {
    turns: Vec<Turn>,
    next: usize,
}

type Shared = Arc<Mutex<HashMap<String, Run>>>;

pub fn router() -> Router {
    Router::new()
        .route("/_admin/script", post(script))
        .route("/v1/chat/completions", post(complete))
        .with_state(Shared::default())
}

async fn script(State(runs): State<Shared>, headers: HeaderMap, Json(turns): Json<Vec<Turn>>) -> StatusCode {
    runs.lock().insert(super::trace(&headers), Run { turns, next: 0 });
    StatusCode::NO_CONTENT
}

async fn complete(State(runs): State<Shared>, headers: HeaderMap, Json(_asked): Json<Value>) -> Response {
    let trace = super::trace(&headers);
    let mut runs = runs.lock();
    let Some(run) = runs.get_mut(&trace) else { return StatusCode::NOT_FOUND.into_response() };
    let number = run.next;
    run.next += 1;
    let turn = run.turns.get(number).cloned().unwrap_or_else(|| Turn::Text("That is all.".to_owned()));
    let short = &trace[..8];
    let (message, why) = match turn {
        Turn::Text(text) => (json!({ "role": "assistant", "content": text }), "stop"),
        Turn::Calls(calls) => {
            let calls: Vec<Value> = calls
                .into_iter()
                .enumerate()
                .map(|(at, (name, arguments))| {
                    json!({ "id": format!("call_{short}_{number}_{at}"), "type": "function",
                            "function": { "name": name, "arguments": arguments.to_string() } })
                })
                .collect();
            (json!({ "role": "assistant", "content": null, "tool_calls": calls }), "tool_calls")
        }
    };
    let answer = json!({
        "id": format!("chatcmpl-{short}-{number}"),
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": MODEL,
        "choices": [{ "index": 0, "message": message, "finish_reason": why }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120 },
    });
    Json(answer).into_response()
}
