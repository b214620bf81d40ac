//! What a language model is told and answers, as it meets the gateway.

use std::collections::BTreeMap;

use bytes::Bytes;
use countersign_authorize::{
    Json,
    model::{
        Api, answer,
        compare::{Faith, Observed, compare},
        heard::Heard,
        prompt::{self, Prompt},
    },
};
use countersign_proxy::model::Listening;

const APIS: [Api; 3] = [Api::Chat, Api::Responses, Api::Messages];

pub(crate) fn answers() -> Vec<Vec<u8>> {
    let call = "{\"id\":\"c\",\"function\":{\"name\":\"pay\",\"arguments\":\"{\\\"a\\\":1}\"}}";
    let texts = [
        format!("data: {{\"model\":\"m\",\"choices\":[{{\"delta\":{{\"tool_calls\":[{call}]}},\"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"),
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"pay\",\"input\":{}}}\n\n\
         data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n".to_owned(),
        "data: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"pay\",\"arguments\":\"{}\"}]}}\n\n".to_owned(),
        format!("{{\"choices\":[{{\"message\":{{\"tool_calls\":[{call}]}}}}],\"usage\":{{\"prompt_tokens\":1}}}}"),
        "{\"content\":[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"pay\",\"input\":{\"a\":[1]}}]}".to_owned(),
    ];
    texts.map(String::into_bytes).into()
}

/// However a stream is cut, the same is read of it, and what is held and what passes is what came.
pub(crate) fn answer(input: &[u8]) {
    for api in APIS {
        let _ = (answer::read(api, input, true), answer::read(api, input, false));
        let readings = [1, 5, input.len().max(1)].map(|piece| {
            let (mut listening, mut passed) = (Listening::new(api, true, true), Vec::new());
            for chunk in input.chunks(piece) {
                listening.push(chunk);
                passed.extend(listening.pass(Bytes::copy_from_slice(chunk)).unwrap_or_default());
            }
            passed.extend(listening.held());
            assert_eq!(passed, input);
            listening.end(None)
        });
        assert!(readings.iter().all(|reading| Some(reading) == readings.first()));
    }
}

pub(crate) fn prompts() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"messages":[{"role":"user","content":"pay 5 to Ann"},{"role":"tool","tool_call_id":"c","content":"{\"balance\": 1810.0}"},{"role":"tool","content":[{"type":"text","text":"- balance: 9"}]}]}"#,
        r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"pay"}]},{"type":"function_call_output","call_id":"c","output":"Result: [1810]"}],"previous_response_id":"r"}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"1810"}]}]}"#,
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}

/// A result that is the answer itself is faithful, whatever it is.
pub(crate) fn prompt(input: &[u8]) {
    let Ok(body) = Json::parse_response(input, 64) else { return };
    let mut heard = Heard::default();
    heard.observe("entry", &body);
    let made = BTreeMap::from([("c".to_owned(), "entry".to_owned())]);
    let observed =
        Observed { words: "pay 5 to Ann", attached: &[], heard: &heard, made: &made, earlier: &BTreeMap::new() };
    for api in APIS {
        let _ = compare(&Prompt::of(api, &body), &observed);
    }
    let result = prompt::Result { at: String::new(), id: Some("c".to_owned()), text: Some(body.to_text()) };
    let told = Prompt { results: vec![result], ..Prompt::default() };
    assert_eq!(compare(&told, &observed).count(Faith::Faithful), 1, "{}", body.to_text());
}
