//! `countersign probe`.

use countersign_sdk::Plain;

use super::say;

/// Asks; 0 when the answer is a success.
///
/// # Errors
/// When what was given is no URL, or gives no answer.
pub async fn run(url: &str) -> anyhow::Result<u8> {
    // The client wants base and path apart.
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path_at = url.get(after_scheme..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| after_scheme + at);
    let (base, path) = url.split_at_checked(path_at).unwrap_or((url, ""));
    let answer = Plain::anonymous(base)?.send("GET", path, None).await?;
    say(format_args!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body).trim()))?;
    Ok(u8::from(!answer.status.is_success()))
}
