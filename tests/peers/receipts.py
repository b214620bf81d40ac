"""An API, and somebody between a gateway and an API, that speak HTTP message signatures with a library that is not ours.

    receipts.py api PORT SEED_HEX        verifies each request of the gateway, and signs a receipt for it
    receipts.py between PORT BANK JWK    verifies each request of the gateway, hands it on, and verifies the bank's receipt

What does not verify is answered with 502 and the reason.
"""

import base64
import hashlib
import http.client
import json
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import http_sf
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms

REQUEST = ['"@method"', '"@authority"', '"@path"', '"@query"', '"countersign-entry"', '"countersign-checkpoint"', '"countersign-n"', '"signature-agent";key="countersign"']
RECEIPT = ['"@status"', '"content-digest"', '"countersign-execution"', '"@method";req', '"@authority";req', '"@path";req', '"@query";req',
           '"countersign-entry";req', '"countersign-checkpoint";req', '"countersign-n";req', '"signature";req;key="countersign"']


def base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def thumbprint(jwk):
    members = json.dumps({"crv": jwk["crv"], "kty": jwk["kty"], "x": jwk["x"]}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).decode().rstrip("=")


class Keys(HTTPSignatureKeyResolver):
    def __init__(self, jwks, private=None):
        self.public = {thumbprint(jwk): ed25519.Ed25519PublicKey.from_public_bytes(base64url(jwk["x"])) for jwk in jwks}
        self.private = private

    def resolve_public_key(self, key_id):
        return self.public.get(key_id)

    def resolve_private_key(self, key_id):
        return self.private


class Request:
    def __init__(self, handler, body):
        self.method = handler.command
        self.url = f"http://{handler.headers['host']}{handler.path}"
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = body


class Response:
    def __init__(self, request, status, headers, body):
        self.request, self.status_code, self.headers, self.body = request, status, headers, body


def gateway_keys(request):
    """As the request names them: only for a test, where nobody else can be reached."""
    agent = http_sf.parse(request.headers["signature-agent"].encode(), tltype="dictionary")
    origin, parameters = agent["countersign"]
    assert parameters["agent"] == "assistant", parameters
    with urllib.request.urlopen(f"{origin}/.well-known/http-message-signatures-directory") as answer:
        return json.load(answer)["keys"]


def verify(message, jwks, tag, parts):
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=Keys(jwks))
    return verifier.verify(message, expect_tag=tag, require_components=parts, body=message.body)


def receipt(request, seed):
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    x = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    body = json.dumps({"balance": "1810.00", "currency": "EUR"}).encode()
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    headers = {"Content-Type": "application/json", "Content-Digest": f"sha-256=:{digest}:", "Countersign-Execution": 'id="py-1", queue_ms=3, deadlock=?0, changed=0'}
    response = Response(request, 200, headers, body)
    parts = RECEIPT + (['"content-digest";req'] if "content-digest" in request.headers else [])
    signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=Keys([], private))
    key_id = thumbprint({"crv": "Ed25519", "kty": "OKP", "x": x})
    signer.sign(response, key_id=key_id, covered_component_ids=parts, label="py", tag="countersign-receipt", body=body, use_existing_digest=True)
    return response


def hand_on(request, bank, jwk):
    connection = http.client.HTTPConnection(bank)
    connection.request(request.method, "/" + request.url.split("/", 3)[3], request.body, request.headers)
    answer = connection.getresponse()
    headers = {name: value for name, value in answer.getheaders() if name.lower() not in ("connection", "transfer-encoding", "content-length", "date")}
    response = Response(request, answer.status, headers, answer.read())
    verify(response, [json.loads(jwk)], "countersign-receipt", RECEIPT)
    return response


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        request = Request(self, self.rfile.read(int(self.headers.get("content-length", 0))))
        try:
            found, = verify(request, gateway_keys(request), "web-bot-auth", REQUEST + (['"content-digest"'] if request.body else []))
            assert found.parameters["nonce"] not in SEEN, "the same signature twice"
            SEEN.add(found.parameters["nonce"])
            response = receipt(request, *ARGUMENTS) if MODE == "api" else hand_on(request, *ARGUMENTS)
        except Exception as error:  # noqa: BLE001: told to whoever reads the test's output
            response = Response(request, 502, {}, f"{type(error).__name__}: {error}".encode())
        self.send_response(response.status_code)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        self.wfile.write(response.body)

    do_GET = do_POST = do_PATCH = do_PUT = handle_any

    def log_message(self, *_):
        pass


SEEN = set()
MODE, PORT, ARGUMENTS = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
