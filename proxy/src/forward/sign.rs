//! The gateway's signature over what it sends: which entry the call is, under which checkpoint, its number, and for which agent.

use std::sync::Arc;

use countersign_receipt::{
    Asked,
    request::{self, Facts},
};
use data_encoding::BASE64URL_NOPAD;
use http::Request;

use super::ForwardError;
use crate::{Body, record::Receipt, upstream::Upstream};

/// Signs a request, where its API wants that: each time that it is sent anew, so that an API can refuse what it has seen before. `content` is the SHA-256 of the body, unless it streams: then nobody knows it yet, and the signature says
/// nothing of it.
pub(super) fn sign(
    receipt: &Receipt,
    upstream: &Upstream,
    request: &mut Request<Body>,
    content: Option<[u8; 32]>,
) -> Result<(), ForwardError> {
    let Some(signing) = receipt.context().signing.as_ref().filter(|_| upstream.settings.sign) else { return Ok(()) };
    let (call, sealed) = (receipt.call(), receipt.sealed());
    let mut asked = Asked::new(request.method(), request.uri(), request.headers());
    let nonce = BASE64URL_NOPAD.encode(uuid::Uuid::new_v4().as_bytes());
    let facts = Facts {
        entry: &sealed.hash,
        checkpoint: &sealed.proof.checkpoint,
        n: call.n.unwrap_or_default(),
        agent: &call.agent,
        directory: signing.directory.as_deref().unwrap_or_default(),
        nonce: &nonce,
    };
    let now = receipt.context().gateway.now().as_second();
    request::sign(&mut asked, &facts, content.as_ref().map(<[u8; 32]>::as_slice), now, &signing.signer)
        .map_err(|error| ForwardError::Request(error.to_string()))?;
    request.headers_mut().clone_from(&asked.headers);
    receipt.note(|trail| trail.asked = Some(Arc::new(asked)));
    Ok(())
}
