//! Holds what the API really answers to its OpenAPI document.

use serde_json::Value;

use super::world::Answer;

/// What the document says of an answer, or why it says something else.
pub fn check(method: &str, path: &str, answer: &Answer) -> Result<(), String> {
    let document: Value = serde_json::from_str(crate::api::OPENAPI).unwrap();
    let path = path.split('?').next().unwrap();
    let Some((_, methods)) = document["paths"].as_object().unwrap().iter().find(|(template, _)| fits(template, path))
    else {
        // Only what is not there may be answered without being described.
        return (answer.status == 404).then_some(()).ok_or(format!("{path} is not in the document"));
    };
    let Some(operation) = methods.get(method.to_lowercase()) else {
        return (answer.status == 405).then_some(()).ok_or(format!("{method} {path} is not in the document"));
    };
    let responses = &operation["responses"];
    let response = match responses.get(answer.status.to_string()) {
        Some(response) => response,
        None if answer.status >= 400 => follow(&document, &responses["default"]),
        None => return Err(format!("{method} {path}: status {} is not in the document", answer.status)),
    };
    let media = answer.headers["content-type"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let schema = response["content"].get(&media).ok_or(format!("{method} {path}: {media} is not in the document"))?;
    match media.as_str() {
        "text/plain" => Ok(()),
        _ => matches(&document, &schema["schema"], &answer.json(), "$"),
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let same = |(wanted, found): (&&str, &&str)| wanted.starts_with('{') || wanted == found;
    template.len() == path.len() && template.iter().zip(&path).all(same)
}

fn follow<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            document.pointer(reference.strip_prefix('#').unwrap()).expect("a reference that leads somewhere")
        }
        None => schema,
    }
}

/// The keywords that the document uses for answers. An object whose members are listed has no others.
fn matches(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = follow(document, schema);
    if let Some(list) = schema["oneOf"].as_array() {
        let tried = list.iter().map(|schema| matches(document, schema, value, at));
        let failed: Vec<String> = tried.filter_map(Result::err).collect();
        return if failed.len() + 1 == list.len() {
            Ok(())
        } else {
            Err(format!("{at}: fits {} of {}: {failed:?}", list.len() - failed.len(), list.len()))
        };
    }
    let wrong = |what: &str| Err(format!("{at}: {what}: {value}"));
    let is = |named: &Value| match named.as_str() {
        Some("object") => Ok(value.is_object()),
        Some("array") => Ok(value.is_array()),
        Some("string") => Ok(value.is_string()),
        Some("integer") => Ok(value.is_u64() || value.is_i64()),
        Some("boolean") => Ok(value.is_boolean()),
        Some("null") => Ok(value.is_null()),
        _ => wrong(&format!("no such type: {named}")).map(|()| false),
    };
    let of_type = match &schema["type"] {
        Value::Null => true,
        Value::Array(several) => several.iter().map(is).collect::<Result<Vec<_>, _>>()?.contains(&true),
        one => is(one)?,
    };
    if !of_type {
        return wrong("another type");
    }
    if schema["enum"].as_array().is_some_and(|list| !list.contains(value)) {
        return wrong("not one of the values listed");
    }
    // What must be there must be there in an object; anything else that fits the type has no members.
    let required = schema["required"].as_array().filter(|_| value.is_object());
    for name in required.into_iter().flatten() {
        if value.get(name.as_str().unwrap()).is_none() {
            return wrong(&format!("{name} is missing"));
        }
    }
    if let (Some(known), Some(members)) = (schema["properties"].as_object(), value.as_object()) {
        for (name, member) in members {
            let schema = known.get(name).ok_or(format!("{at}: `{name}` is not in the document"))?;
            matches(document, schema, member, &format!("{at}.{name}"))?;
        }
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for (index, value) in values.iter().enumerate() {
            matches(document, items, value, &format!("{at}[{index}]"))?;
        }
    }
    Ok(())
}

#[test]
fn the_check_sees_what_does_not_fit() {
    let answer = |status, body: &str| Answer {
        status,
        headers: [(http::header::CONTENT_TYPE, "application/json".parse().unwrap())].into_iter().collect(),
        body: Some(bytes::Bytes::copy_from_slice(body.as_bytes())),
    };
    let good = r#"{"entry":"e","seq":1,"proof":"p"}"#;
    assert_eq!(check("POST", "/v1/parties", &answer(201, good)), Ok(()));
    for (method, path, status, body) in [
        ("POST", "/v1/parties", 200, good),
        ("POST", "/v1/parties", 201, r#"{"entry":"e","seq":1}"#),
        ("POST", "/v1/parties", 201, r#"{"entry":"e","seq":"1","proof":"p"}"#),
        ("POST", "/v1/parties", 201, r#"{"entry":"e","seq":1,"proof":"p","secret":"s"}"#),
        ("POST", "/v1/parties", 400, "{}"),
        ("GET", "/v1/parties", 200, good),
        ("GET", "/v1/calls/x", 200, r#"{"call":"c","entry":"e","status":"perhaps"}"#),
        ("GET", "/v1/nothing", 200, good),
    ] {
        assert!(check(method, path, &answer(status, body)).is_err(), "{method} {path} {status} {body}");
    }
}
