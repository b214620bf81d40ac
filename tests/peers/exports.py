"""Reads what `countersign export` made, with libraries that are not ours: exports.py ocsf|otlp|csv|prov FILE. Prints what it counted, as JSON."""

import base64
import csv
import json
import sys

# What 1.9 adds, as in the schema's public sources: the published JSON schemas end with 1.8, so these three are compared by hand.
NEW = {
    "ai_agent": {"uid", "name", "type", "type_id", "instance_uid", "ai_model", "version", "charter"},
    "delegation": {"uid", "issuer_uid", "audience", "created_time", "expiration_time", "parent_uid", "scopes"},
    "attestation": {"uid", "authority_uid", "signatures", "fingerprint", "prev_event", "chain_uid"},
}


def ocsf(path):
    from jsonschema import Draft202012Validator
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))
    count = 0
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            assert event["metadata"]["version"] == "1.9.0" and event["class_uid"] == 6003, event
            for name, members in NEW.items():
                there = event.pop(name, None)
                assert there is None or (set(there) <= members and there["uid"]), (name, there)
                if name == "attestation":
                    assert set(there["fingerprint"]) == {"algorithm_id", "algorithm", "value"}, there
            profiles = [profile for profile in event["metadata"]["profiles"] if profile != "record_integrity"]
            event["metadata"].update(version="1.8.0", profiles=profiles)
            validator = Draft202012Validator(schema.get_class_schema("api_activity", profiles))
            errors = [f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(event)]
            assert not errors, errors
            count += 1
    return {"events": count}


def otlp(path):
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            # OTLP writes ids as hexadecimal, where the mapping of protobuf has base64: the one thing in which it differs.
            for resource in document["resourceSpans"]:
                for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                    for name, digits in (("traceId", 32), ("spanId", 16), ("parentSpanId", 16)):
                        if name in span:
                            assert len(bytes.fromhex(span[name])) * 2 == digits, span
                            span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
            request = json_format.ParseDict(document, ExportTraceServiceRequest(), ignore_unknown_fields=False)
            spans += [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    assert all(0 < span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
    assert all(len(span.trace_id) == 16 and len(span.span_id) == 8 and span.kind == 3 for span in spans)
    return {"spans": len(spans), "names": sorted({span.name for span in spans})}


def table(path):
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert all(None not in row and None not in row.values() for row in rows), rows
    return {"rows": len(rows), "verdicts": sorted({row["verdict"] for row in rows})}


def prov(path):
    from prov.model import ProvActivity, ProvAgent, ProvDerivation, ProvDocument, ProvEntity

    with open(path, encoding="utf-8") as file:
        document = ProvDocument.deserialize(file, format="json")
    count = lambda kind: len(list(document.get_records(kind)))
    entities = {str(record.identifier) for record in document.get_records(ProvEntity)}
    for derivation in document.get_records(ProvDerivation):
        assert {str(value) for _, value in derivation.formal_attributes if value is not None} <= entities, derivation
    return {"entities": count(ProvEntity), "activities": count(ProvActivity), "agents": count(ProvAgent), "derivations": count(ProvDerivation)}


print(json.dumps({"ocsf": ocsf, "otlp": otlp, "csv": table, "prov": prov}[sys.argv[1]](sys.argv[2])))
