//! A first catalogue from what an API says of itself (an OpenAPI document, what an MCP server lists) or from recorded calls. What is proposed is for a human to mark:
//! nothing that a document says widens anything. Texts of the document are made harmless, for whoever wrote them may not mean well.

mod diff;
mod draft;
mod guess;
mod learn;
mod mcp;
mod openapi;
mod schema;

use serde_json::Value;

pub use self::{
    diff::{Change, changes},
    draft::Draft,
    learn::{Observed, learn},
    mcp::{Listing, definition, mcp},
    openapi::openapi,
};

/// The largest document that is read, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// Why a document cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImportError(pub(crate) String);

/// Reads a document that is JSON or YAML.
///
/// # Errors
/// [`ImportError`] when it is neither, or larger than [`MAX_DOCUMENT_BYTES`].
pub fn document(text: &str) -> Result<Value, ImportError> {
    if text.len() > MAX_DOCUMENT_BYTES {
        return Err(ImportError(format!("the document has more than {MAX_DOCUMENT_BYTES} bytes")));
    }
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if text.trim_start().starts_with(['{', '[']) {
        return serde_json::from_str(text).map_err(|error| ImportError(format!("the document is not JSON: {error}")));
    }
    serde_saphyr::from_str(text).map_err(|error| ImportError(format!("the document is neither JSON nor YAML: {error}")))
}

/// A text of somebody else's for a comment or a description: one line without control, invisible and direction characters, `most` characters long at
/// most.
pub fn harmless(text: &str, most: usize) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        let word: String = word.chars().filter(|c| !is_invisible(*c)).collect();
        if !word.is_empty() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
        if line.chars().nth(most).is_some() {
            line = line.chars().take(most.saturating_sub(1)).collect();
            line.push('…');
            break;
        }
    }
    line
}

/// Whether an argument's name is that of a secret.
pub(crate) fn is_sensitive(name: &str) -> bool {
    guess::is_sensitive(name, &Value::Null)
}

/// Characters that show nothing, or turn what follows: format characters, tags, variation selectors, private use.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFD}' | '\u{E000}'..='\u{F8FF}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{10FFFF}')
}

#[cfg(test)]
mod tests;
