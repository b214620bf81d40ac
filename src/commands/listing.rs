//! Asks an MCP server over Streamable HTTP what it has: protocol version 2026-07-28 first, which has no sessions, else 2025-11-25.

use anyhow::{Context as _, anyhow, bail};
use countersign_authorize::import::{Listing, harmless};
use countersign_sdk::{Answer, Plain};
use http::{Uri, header};
use serde_json::{Value, json};

const STATELESS: &str = "2026-07-28";
const SESSIONS: &str = "2025-11-25";
/// The most pages of one list.
const MAX_PAGES: usize = 1000;

/// A URL's scheme and authority, and its path and query.
///
/// # Errors
/// When it is no URL.
pub fn split(url: &str) -> anyhow::Result<(String, String)> {
    let uri: Uri = url.parse().with_context(|| format!("`{url}` is not a URL"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        bail!("`{url}` is not a URL with a host")
    };
    Ok((
        format!("{scheme}://{authority}"),
        uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
    ))
}

/// What the server at `url` lists.
///
/// # Errors
/// When it gives no answer, or none that is MCP.
pub async fn ask(url: &str, token: Option<&str>) -> anyhow::Result<Listing> {
    let (base, target) = split(url)?;
    let client = match token {
        Some(token) => Plain::new(&base, token)?,
        None => Plain::anonymous(&base)?,
    };
    let mut server = Server { client, target, version: STATELESS.to_owned(), session: None, id: 0 };
    let about = server.begin().await.with_context(|| format!("`{url}` is no MCP server that can be asked"))?;
    let info = |key: &str| {
        about
            .pointer(&format!("/serverInfo/{key}"))
            .or_else(|| about.pointer(&format!("/_meta/io.modelcontextprotocol~1serverInfo/{key}")))
    };
    let info = |key: &str| info(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let has = |what: &str| about.pointer(&format!("/capabilities/{what}")).is_some();
    let mut listing = Listing {
        server: harmless(&format!("{} {} ({})", info("name"), info("version"), server.version), 100),
        ..Listing::default()
    };
    if has("tools") {
        listing.tools = server.list("tools/list", "tools").await?;
    }
    if has("resources") {
        listing.resources = server.list("resources/list", "resources").await?;
        listing.templates = server.list("resources/templates/list", "resourceTemplates").await?;
    }
    if has("prompts") {
        listing.prompts = server.list("prompts/list", "prompts").await?;
    }
    server.end().await;
    Ok(listing)
}

struct Server {
    client: Plain,
    target: String,
    version: String,
    session: Option<String>,
    id: u64,
}

impl Server {
    /// Finds the protocol version; gives what the server says of itself.
    async fn begin(&mut self) -> anyhow::Result<Value> {
        if let Ok(about) = self.call("server/discover", json!({})).await {
            let versions = about.get("supportedVersions").and_then(Value::as_array);
            if versions.is_some_and(|versions| versions.iter().any(|version| version == STATELESS)) {
                return Ok(about);
            }
        }
        self.version = SESSIONS.to_owned();
        let client = json!({ "name": "countersign", "version": env!("CARGO_PKG_VERSION") });
        let asked = json!({ "protocolVersion": SESSIONS, "capabilities": {}, "clientInfo": client });
        let about = self.call("initialize", asked).await?;
        if let Some(version) = about.get("protocolVersion").and_then(Value::as_str) {
            self.version = version.to_owned();
        }
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.post("notifications/initialized", &note).await?;
        Ok(about)
    }

    async fn list(&mut self, method: &str, key: &str) -> anyhow::Result<Vec<Value>> {
        let (mut all, mut cursor): (Vec<Value>, Option<String>) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let params = cursor.as_ref().map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
            let page = match self.call(method, params).await {
                // Some servers say that they have resources and list no templates.
                Err(error) if error.is::<NoMethod>() => return Ok(all),
                other => other?,
            };
            all.extend(page.get(key).and_then(Value::as_array).cloned().unwrap_or_default());
            let next = page.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            if next.is_none() {
                return Ok(all);
            }
            if next == cursor {
                bail!("the server gives the same page of `{method}` again and again");
            }
            cursor = next;
        }
        bail!("the server's `{method}` has more than {MAX_PAGES} pages")
    }

    async fn call(&mut self, method: &str, mut params: Value) -> anyhow::Result<Value> {
        self.id += 1;
        if let Some(params) = params.as_object_mut().filter(|_| self.version == STATELESS) {
            let client = json!({ "name": "countersign", "version": env!("CARGO_PKG_VERSION") });
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": STATELESS,
                "io.modelcontextprotocol/clientInfo": client,
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            params.insert("_meta".to_owned(), meta);
        }
        let message = json!({ "jsonrpc": "2.0", "id": self.id, "method": method, "params": params });
        let answer = self.post(method, &message).await?;
        if let Some(session) = answer.headers.get("mcp-session-id").and_then(|session| session.to_str().ok()) {
            self.session = Some(session.to_owned());
        }
        let id = json!(self.id);
        let reply = replies(&answer)?.into_iter().find(|reply| reply.get("id") == Some(&id));
        let reply = reply
            .ok_or_else(|| anyhow!("the server answered `{method}` with {} and without a reply", answer.status))?;
        match (reply.get("result"), reply.pointer("/error/code").and_then(Value::as_i64)) {
            (Some(result), _) => Ok(result.clone()),
            (None, Some(-32601)) => Err(NoMethod.into()),
            _ => {
                let message = reply.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
                bail!("the server refused `{method}`: {}", harmless(message, 300))
            }
        }
    }

    async fn post(&self, method: &str, message: &Value) -> anyhow::Result<Answer> {
        let mut headers = vec![("accept", "application/json, text/event-stream")];
        if method != "initialize" {
            headers.push(("mcp-protocol-version", self.version.as_str()));
        }
        if self.version == STATELESS {
            headers.push(("mcp-method", method));
        }
        headers.extend(self.session.as_deref().map(|session| ("mcp-session-id", session)));
        Ok(self.client.exchange("POST", &self.target, &headers, Some(message)).await?)
    }

    /// A session that nobody needs any more; servers may refuse to end it.
    async fn end(&self) {
        if let Some(session) = &self.session {
            let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", self.version.as_str())];
            let _ = self.client.exchange("DELETE", &self.target, &headers, None).await;
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the server does not know this method")]
struct NoMethod;

/// The JSON-RPC messages of an answer: one JSON value, or the events of a stream.
fn replies(answer: &Answer) -> anyhow::Result<Vec<Value>> {
    let media = answer.headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let text = std::str::from_utf8(&answer.body).context("the answer is no text in UTF-8")?;
    if !media.starts_with("text/event-stream") {
        let reply =
            serde_json::from_str(text).map_err(|_| anyhow!("the server answered {} with no JSON", answer.status))?;
        return Ok(vec![reply]);
    }
    let text = text.replace("\r\n", "\n");
    let events = text.split("\n\n").map(|event| {
        let data = event.lines().filter_map(|line| line.strip_prefix("data:"));
        data.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
    });
    Ok(events.filter_map(|data| serde_json::from_str(&data).ok()).collect())
}
