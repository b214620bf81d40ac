"""A model that does as scripted, with the answers of OpenAI's and Anthropic's APIs in the shapes that these have, plain and streamed. The name of the model that
is asked for says what goes wrong: `fails-429`, `fails-500`, `breaks` (the stream ends in the middle)."""

import json
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "model-key-0123456789"
CALLS = [
    ("call_balance", "get_balance", {}),
    ("call_pay", "send_money", {"recipient": "GB29NWBK60161331926819", "amount": 98.70, "subject": "Miete für Jänner 房租 " + "x" * 3000, "date": "2022-01-01"}),
]
TEXT = "Das ist überwiesen."


def has_results(body):
    return "call_balance" in json.dumps(body.get("messages", body.get("input")))


def pieces(text, size=7):
    return [text[at : at + size] for at in range(0, len(text), size)]


def chat(body):
    calls = [] if has_results(body) else CALLS
    head = {"id": "chatcmpl-1", "created": 1700000000, "model": "gpt-test-2026-01-01"}
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    finish = "tool_calls" if calls else "stop"
    if not body.get("stream"):
        message = {"role": "assistant", "content": None if calls else TEXT, "refusal": None}
        if calls:
            message["tool_calls"] = [{"id": i, "type": "function", "function": {"name": n, "arguments": json.dumps(a)}} for i, n, a in calls]
        return {**head, "object": "chat.completion", "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}], "usage": usage}

    def chunk(delta, why=None):
        return {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": why}]}

    events = [chunk({"role": "assistant", "content": ""})]
    for index, (i, n, a) in enumerate(calls):
        events.append(chunk({"tool_calls": [{"index": index, "id": i, "type": "function", "function": {"name": n, "arguments": ""}}]}))
        events += [chunk({"tool_calls": [{"index": index, "function": {"arguments": p}}]}) for p in pieces(json.dumps(a))]
    if not calls:
        events += [chunk({"content": p}) for p in pieces(TEXT)]
    events.append(chunk({}, finish))
    events.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return [(None, event) for event in events] + [(None, "[DONE]")]


def response(body):
    calls = [] if has_results(body) else CALLS
    output = [{"type": "function_call", "id": "fc_" + i, "call_id": i, "name": n, "arguments": json.dumps(a), "status": "completed"} for i, n, a in calls]
    if not calls:
        output = [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": TEXT, "annotations": []}]}]
    whole = {
        "id": "resp_1", "object": "response", "created_at": 1700000000, "model": "gpt-test-2026-01-01", "status": "completed", "output": output, "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 13},
    }
    if not body.get("stream"):
        return whole
    events = [{"type": "response.created", "response": {**whole, "status": "in_progress", "output": [], "usage": None}}]
    for index, item in enumerate(output):
        begun = {**item, "status": "in_progress", "arguments": ""} if calls else {**item, "status": "in_progress", "content": []}
        events.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        if calls:
            events += [{"type": "response.function_call_arguments.delta", "item_id": item["id"], "output_index": index, "delta": p} for p in pieces(item["arguments"])]
            events.append({"type": "response.function_call_arguments.done", "item_id": item["id"], "name": item["name"], "output_index": index, "arguments": item["arguments"]})
        else:
            events.append({"type": "response.content_part.added", "item_id": "msg_1", "output_index": 0, "content_index": 0, "part": {"type": "output_text", "text": "", "annotations": []}})
            events += [{"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": p, "logprobs": []} for p in pieces(TEXT)]
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": whole})
    return [(event["type"], {**event, "sequence_number": number}) for number, event in enumerate(events)]


def message(body):
    calls = [] if has_results(body) else CALLS
    content = [{"type": "tool_use", "id": i, "name": n, "input": a} for i, n, a in calls] or [{"type": "text", "text": TEXT}]
    finish = "tool_use" if calls else "end_turn"
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test", "content": content, "stop_reason": finish, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 4}}
    if not body.get("stream"):
        return whole
    events = [{"type": "message_start", "message": {**whole, "content": [], "stop_reason": None, "usage": {"input_tokens": 9, "output_tokens": 1}}}, {"type": "ping"}]
    for index, block in enumerate(content):
        text = block["type"] == "text"
        begun = {"type": "text", "text": ""} if text else {**block, "input": {}}
        events.append({"type": "content_block_start", "index": index, "content_block": begun})
        said = block["text"] if text else json.dumps(block["input"])
        delta = (lambda p: {"type": "text_delta", "text": p}) if text else (lambda p: {"type": "input_json_delta", "partial_json": p})
        events += [{"type": "content_block_delta", "index": index, "delta": delta(p)} for p in pieces(said)]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": finish, "stop_sequence": None}, "usage": {"output_tokens": 4}})
    events.append({"type": "message_stop"})
    return [(event["type"], event) for event in events]


ANSWERS = {"/v1/chat/completions": chat, "/v1/responses": response, "/v1/messages": message}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, kind, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.send(200, "application/json", json.dumps({"object": "list", "data": [{"id": "gpt-test", "object": "model", "created": 1, "owned_by": "us"}]}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = body["model"]
        if KEY not in (self.headers.get("authorization", "") + self.headers.get("x-api-key", "")):
            return self.send(401, "application/json", json.dumps({"error": {"message": "no key", "type": "auth"}}))
        if name.startswith("fails-"):
            error = {"type": "error", "error": {"type": "rate_limit_error", "message": "not now"}}
            return self.send(int(name[6:]), "application/json", json.dumps(error))
        answer = ANSWERS[self.path.split("?")[0]](body)
        if isinstance(answer, dict):
            return self.send(200, "application/json", json.dumps(answer))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if name == "breaks":
            answer = answer[: len(answer) // 2]
        text = "".join((f"event: {kind}\n" if kind else "") + f"data: {event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)}\n\n" for kind, event in answer)
        # Cut without regard to events and characters.
        data = text.encode()
        for at in range(0, len(data), 1000):
            piece = data[at : at + 1000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
            time.sleep(0.001)
        if name == "breaks":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(b"0\r\n\r\n")


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
