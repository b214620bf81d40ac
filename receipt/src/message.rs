//! What can be signed of a request and of its answer (RFC 9421 §2).

use http::{HeaderMap, HeaderName, Method, Uri, header};
use sfv::{BareItem, FieldType as _, Item, ListEntry, Parser};

/// Why a part has no value to be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// It is not there.
    #[error("`{0}` is not in the message")]
    Missing(String),
    /// A part that is not supported here.
    #[error("`{0}` is not supported")]
    Unsupported(String),
    /// A field that is not what its part demands.
    #[error("`{0}` cannot be read as its parameters demand")]
    Malformed(String),
}

/// A request, as far as it can be signed.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// Host and port, lower case, without the port that its scheme implies.
    pub authority: String,
    /// The path.
    pub path: String,
    /// The query without its `?`.
    pub query: Option<String>,
    /// The fields.
    pub headers: HeaderMap,
}

impl Asked {
    /// Of a request's head, on either side. A server finds the authority in `Host`.
    pub fn new(method: &Method, uri: &Uri, headers: &HeaderMap) -> Asked {
        let host = || headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
        let mut authority = uri.authority().map_or_else(host, |authority| authority.as_str().to_owned());
        authority.make_ascii_lowercase();
        let implied = match uri.scheme_str() {
            Some("http") => ":80",
            Some("https") => ":443",
            _ => "",
        };
        if let Some(short) = authority.strip_suffix(implied).filter(|_| !implied.is_empty()) {
            authority = short.to_owned();
        }
        Asked {
            method: method.clone(),
            authority,
            path: if uri.path().is_empty() { "/".to_owned() } else { uri.path().to_owned() },
            query: uri.query().map(str::to_owned),
            headers: headers.clone(),
        }
    }

    /// Path and query.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// An answer, as far as it can be signed.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'m> {
    /// The status.
    pub status: u16,
    /// The fields of its head.
    pub headers: &'m HeaderMap,
    /// The fields behind its content, once they are there.
    pub trailers: Option<&'m HeaderMap>,
}

/// What is signed: a request, or an answer with the request that it answers.
#[derive(Debug, Clone, Copy)]
pub struct Message<'m> {
    /// The request.
    pub asked: &'m Asked,
    /// The answer, if that is what is signed.
    pub answer: Option<Answer<'m>>,
}

impl Message<'_> {
    /// The value of a part, by its component identifier (RFC 9421 §2.5).
    ///
    /// # Errors
    /// [`PartError`].
    pub fn value(&self, part: &Item) -> Result<String, PartError> {
        let identifier = part.serialize();
        let unsupported = || PartError::Unsupported(identifier.clone());
        let name = part.bare_item.as_string().ok_or_else(unsupported)?.as_str();
        let (mut of_request, mut trailer, mut key) = (false, false, None);
        for (parameter, value) in &part.params {
            match (parameter.as_str(), value) {
                ("req", BareItem::Boolean(true)) => of_request = true,
                ("tr", BareItem::Boolean(true)) => trailer = true,
                ("key", BareItem::String(named)) => key = Some(named.as_str()),
                _ => return Err(unsupported()),
            }
        }
        // RFC 9421 §2.4: `req` stands only in the signature of an answer.
        if of_request && self.answer.is_none() {
            return Err(unsupported());
        }
        let answer = self.answer.filter(|_| !of_request);
        if name.starts_with('@') {
            let plain = !trailer && key.is_none();
            return derived(name, self.asked, answer).filter(|_| plain).ok_or_else(unsupported);
        }
        let missing = || PartError::Missing(identifier.clone());
        let fields = match (answer, trailer) {
            (Some(answer), true) => answer.trailers.ok_or_else(missing)?,
            (Some(answer), false) => answer.headers,
            (None, false) => &self.asked.headers,
            (None, true) => return Err(unsupported()),
        };
        let value = field(fields, name).ok_or_else(missing)?;
        match key {
            None => Ok(value),
            Some(key) => member(&value, key).ok_or(PartError::Malformed(identifier)),
        }
    }
}

fn derived(name: &str, asked: &Asked, answer: Option<Answer<'_>>) -> Option<String> {
    match (name, answer) {
        ("@status", Some(answer)) => Some(answer.status.to_string()),
        ("@method", None) => Some(asked.method.to_string()),
        ("@authority", None) => Some(asked.authority.clone()),
        ("@path", None) => Some(asked.path.clone()),
        ("@query", None) => Some(format!("?{}", asked.query.as_deref().unwrap_or_default())),
        ("@request-target", None) => Some(asked.target()),
        _ => None,
    }
}

/// A field's lines, joined (RFC 9421 §2.1).
pub(crate) fn field(fields: &HeaderMap, name: &str) -> Option<String> {
    let name: HeaderName = name.parse().ok()?;
    let lines: Option<Vec<&str>> = fields.get_all(&name).iter().map(|line| line.to_str().ok().map(str::trim)).collect();
    lines.filter(|lines| !lines.is_empty()).map(|lines| lines.join(", "))
}

/// A member of a dictionary, in its strict form (RFC 9421 §2.1.2).
fn member(value: &str, key: &str) -> Option<String> {
    let mut dictionary: sfv::Dictionary = Parser::new(value).parse().ok()?;
    let member: ListEntry = dictionary.swap_remove(key)?;
    vec![member].serialize()
}
