//! Answers of the three APIs, whole and as streams that are cut anywhere.

use crate::model::{
    Api,
    answer::{Reader, Reading, State, read},
};

fn stream(api: Api, events: &[&str]) -> Reading {
    let mut reader = Reader::new(api, 1 << 20);
    events.iter().for_each(|event| reader.event(event.as_bytes()));
    reader.end()
}

fn calls(reading: &Reading) -> Vec<(&str, &str, &str)> {
    reading.calls.iter().map(|call| (call.id.as_str(), call.tool.as_str(), call.arguments.as_str())).collect()
}

const CHAT: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4.1-2025-04-14","choices":[{"index":0,"message":{"role":"assistant","content":null,
"tool_calls":[{"id":"call_1","type":"function","function":{"name":"send_money","arguments":"{\"recipient\": \"Ann\", \"amount\": 50}"}},
{"id":"call_2","type":"function","function":{"name":"get_balance","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":80,"completion_tokens":20}}"#;

const RESPONSE: &str = r#"{"id":"resp_1","object":"response","model":"gpt-4.1","status":"completed","output":[{"type":"reasoning","id":"rs_1","summary":[]},
{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"I pay.","annotations":[]}]},
{"type":"function_call","id":"fc_1","call_id":"call_1","name":"send_money","arguments":"{\"amount\":50}"},{"type":"web_search_call","id":"ws_1"}],
"usage":{"input_tokens":80,"output_tokens":20}}"#;

const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"I pay."},
{"type":"tool_use","id":"toolu_1","name":"send_money","input":{"amount":50.00,"to":"é"}}],"stop_reason":"tool_use","usage":{"input_tokens":80,"output_tokens":20}}"#;

#[test]
fn a_plain_answer_of_each_api_says_its_model_why_it_ended_and_what_it_proposes() {
    let chat = read(Api::Chat, CHAT.as_bytes(), true);
    assert_eq!(
        (chat.state, chat.model.as_deref(), chat.finish.as_deref()),
        (State::Whole, Some("gpt-4.1-2025-04-14"), Some("tool_calls"))
    );
    assert_eq!(
        calls(&chat),
        [("call_1", "send_money", "{\"recipient\": \"Ann\", \"amount\": 50}"), ("call_2", "get_balance", "{}")]
    );
    assert_eq!(chat.tokens, Some([80, 20]));
    let response = read(Api::Responses, RESPONSE.as_bytes(), true);
    assert_eq!(
        (response.state, response.id.as_deref(), response.text.as_str()),
        (State::Whole, Some("resp_1"), "I pay.")
    );
    assert_eq!(calls(&response), [("call_1", "send_money", "{\"amount\":50}")]);
    assert_eq!(response.hosted, ["web_search_call"]);
    let message = read(Api::Messages, MESSAGE.as_bytes(), true);
    assert_eq!(
        (message.state, message.finish.as_deref(), message.text.as_str()),
        (State::Whole, Some("tool_use"), "I pay.")
    );
    assert_eq!(calls(&message), [("toolu_1", "send_money", "{\"amount\":50.00,\"to\":\"é\"}")]);
}

#[test]
fn what_is_no_answer_says_so() {
    for (body, ok, state) in [
        ("{\"error\":{\"message\":\"Rate limit\",\"type\":\"requests\"}}", false, State::Error),
        ("<html>bad gateway</html>", false, State::Unreadable),
        ("[]", true, State::Unreadable),
        ("{\"object\":\"list\"}", true, State::Unreadable),
        ("{\"choices\":[],\"choices\":[]}", true, State::Unreadable),
        ("{\"choices\":[{\"message\":", true, State::Unreadable),
    ] {
        let reading = read(Api::Chat, body.as_bytes(), ok);
        assert_eq!((reading.state, reading.calls.is_empty()), (state, true), "{body}");
        assert!(reading.trouble.is_some(), "{body}");
    }
}

#[test]
fn a_stream_of_chat_completions_adds_up_to_parallel_calls() {
    let events = [
        r#"{"id":"c","model":"gpt-4.1","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"send_money","arguments":""}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"am"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_2","function":{"name":"read_file","arguments":"{\"path\":\"r\\u"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"ount\":50}"}},{"index":1,"function":{"arguments":"00e9\"}"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
    ];
    let mut reader = Reader::new(Api::Chat, 1 << 20);
    for (index, event) in events.iter().enumerate() {
        assert_eq!(reader.is_finishing(), index > 5, "{event}");
        reader.event(event.as_bytes());
    }
    assert!(!reader.is_over());
    reader.event(b"[DONE]");
    assert!(reader.is_over());
    let reading = reader.end();
    assert_eq!((reading.state, reading.tokens), (State::Whole, Some([1, 2])));
    assert_eq!(
        calls(&reading),
        [("call_1", "send_money", "{\"amount\":50}"), ("call_2", "read_file", "{\"path\":\"r\\u00e9\"}")]
    );
    assert_eq!(reading.calls[1].json().unwrap().to_text(), "{\"path\":\"ré\"}");
}

#[test]
fn a_stream_of_responses_is_read_from_its_pieces_and_its_end() {
    let events = [
        r#"{"type":"response.created","response":{"id":"resp_1","model":"gpt-4.1","output":[]}}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"send_money","arguments":""}}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":0,"item_id":"fc_1","delta":"{\"amount\":"}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":0,"item_id":"fc_1","delta":"50}"}"#,
        r#"{"type":"response.function_call_arguments.done","output_index":0,"item_id":"fc_1","arguments":"{\"amount\":50}"}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"delta":"Done."}"#,
    ];
    let partial = stream(Api::Responses, &events);
    assert_eq!((partial.state, partial.id.as_deref()), (State::Partial, Some("resp_1")));
    assert_eq!(calls(&partial), [("call_1", "send_money", "{\"amount\":50}")]);
    let end = format!("{{\"type\":\"response.completed\",\"response\":{RESPONSE}}}");
    let whole = stream(Api::Responses, &[&events[..], &[&end]].concat());
    assert_eq!((whole.state, whole.text.as_str(), whole.tokens), (State::Whole, "I pay.", Some([80, 20])));
    assert_eq!(calls(&whole), [("call_1", "send_money", "{\"amount\":50}")]);
}

#[test]
fn a_stream_of_messages_adds_up_to_its_blocks() {
    let events = [
        r#"{"type":"message_start","message":{"id":"msg_1","model":"claude-x","usage":{"input_tokens":9,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"I pay."}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"send_money","input":{}}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"amount\""}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":": 50}"}}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_2","name":"get_balance","input":{}}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":30}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let reading = stream(Api::Messages, &events);
    assert_eq!(
        (reading.state, reading.model.as_deref(), reading.tokens),
        (State::Whole, Some("claude-x"), Some([9, 30]))
    );
    assert_eq!(calls(&reading), [("toolu_1", "send_money", "{\"amount\": 50}"), ("toolu_2", "get_balance", "")]);
    assert_eq!(reading.calls[1].json().unwrap().to_text(), "{}");
    let error = stream(
        Api::Messages,
        &[&events[..3], &[r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#]].concat(),
    );
    assert_eq!(
        (error.state, error.trouble.as_deref(), error.text.as_str()),
        (State::Error, Some("Overloaded"), "I pay.")
    );
}

#[test]
fn what_is_too_long_or_malformed_ends_the_reading_and_nothing_else() {
    let mut reader = Reader::new(Api::Chat, 100);
    for _ in 0..50 {
        reader.event(br#"{"choices":[{"index":0,"delta":{"content":"0123456789"}}]}"#);
    }
    assert_eq!(reader.end().state, State::Unreadable);
    let reading = stream(Api::Chat, &["{\"choices\":[", "[DONE]"]);
    assert_eq!(reading.state, State::Unreadable);
    assert!(stream(Api::Chat, &["7", "null", "\"x\"", "[]"]).calls.is_empty());
}
