//! The API's answer on its way to the agent: searched for the credential, counted, hashed, timed. When it ends, in whatever way, the call is closed.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use countersign_authorize::{Json, request::is_json, view::View};
use countersign_ledger::Hash;
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Ending, JSON_DEPTH, finish};
use crate::{
    BoxError,
    forward::headers::of_trailers,
    mcp::{Awaiting, Exchange},
    model::{self, Closing, Listening},
    receipts::{self, Came, Judged},
    record::Receipt,
    upstream::{
        Upstream, deepest,
        echo::{Echo, Scan},
    },
};

/// Why an answer was cut while it flowed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cut(String);

/// An answer on its way.
pub(super) struct Answering {
    upstream: Arc<Upstream>,
    body: Incoming,
    /// Open until the answer ended.
    receipt: Option<Receipt>,
    echo: Option<Arc<Echo>>,
    scan: Option<Scan>,
    hash: Sha256,
    bytes: u64,
    media_type: Option<String>,
    status: StatusCode,
    /// The API's receipt, once there is one.
    came: Option<Came>,
    /// What is kept of the body, as long as it is not too long.
    kept: Option<BytesMut>,
    keep: usize,
    observes: bool,
    /// Whether nothing passes before the answer is whole, since only a part of it does.
    rewrites: bool,
    /// Through which the agent sees the answer.
    view: Option<Arc<View>>,
    /// What is answered, when the API speaks MCP.
    exchange: Option<Arc<Exchange>>,
    /// The answer of MCP in a stream of events.
    awaiting: Option<Awaiting>,
    /// What a model answers, when the API is one.
    listening: Option<Listening>,
    /// A model's answer that is being put on record.
    closing: Option<Closing>,
    /// What of the answer is seen, once it is whole.
    shown: Option<Bytes>,
    /// What comes after the frame that was just given.
    last: Option<Frame<Bytes>>,
    idle: Pin<Box<Sleep>>,
    total: Pin<Box<Sleep>>,
    withdrawn: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Answering {
    pub(super) fn new(
        receipt: Receipt,
        upstream: Arc<Upstream>,
        body: Incoming,
        head: &HeaderMap,
        status: StatusCode,
    ) -> Answering {
        let media_type = super::media_type(head).map(str::to_owned);
        let came = receipts::find(&receipt, &upstream, status, head, None);
        let asking = receipt.call().asking.clone();
        let streams = media_type.as_deref().is_some_and(is_events);
        let listening = asking.map(|asking| Listening::new(asking.api, status.is_success(), streams));
        let is_model = receipt.call().upstream.as_ref().is_some_and(|to| {
            receipt.call().rules.catalogue(&to.settings.name).is_some_and(|catalogue| model::is_model(catalogue))
        });
        // What a model says is nobody's word for a value.
        let json = media_type.as_deref().is_some_and(is_json) && status.is_success() && !is_model;
        let limit = receipt.context().limits.observe_bytes;
        let (view, exchange) = (receipt.call().view.clone(), receipt.call().exchange.clone());
        let awaiting = exchange.clone().filter(|_| media_type.as_deref().is_some_and(is_events));
        let observe = if json { limit } else { 0 };
        let rewrites = view.is_some() || exchange.as_ref().is_some_and(|exchange| exchange.rewrites());
        let whole = match &listening {
            Some(listening) if !listening.streams() => model::MAX_ANSWER_BYTES,
            _ if rewrites => limit,
            _ => 0,
        };
        let keep = upstream.settings.keep_response_bytes.max(observe).max(whole);
        let (timeouts, echo) = (&upstream.settings.timeouts, receipt.echo(&upstream));
        let mut answering = Answering {
            idle: Box::pin(sleep_until(Instant::now() + timeouts.idle)),
            total: Box::pin(sleep_until(receipt.since() + timeouts.total)),
            withdrawn: Box::pin(receipt.withdrawn()),
            scan: echo.as_ref().map(Echo::scan),
            echo,
            receipt: Some(receipt),
            body,
            hash: Sha256::new(),
            bytes: 0,
            media_type,
            status,
            came,
            kept: (keep > 0).then(BytesMut::new),
            keep,
            observes: json || awaiting.is_some(),
            rewrites,
            view,
            exchange,
            awaiting: awaiting.map(|exchange| Awaiting::new(exchange, limit)),
            listening,
            closing: None,
            shown: None,
            last: None,
            upstream,
        };
        // Before its first byte is asked for, an answer that is to have a receipt in its head shows whether it has.
        if answering.body.is_end_stream() {
            answering.complete();
        }
        // Nobody asks a body for frames that says it is at its end.
        answering.last = answering.shown.take().filter(|shown| !shown.is_empty()).map(Frame::data);
        answering
    }

    /// The answer is whole. Closed before the agent has its last byte: its next call may build on what this one brought.
    fn complete(&mut self) {
        let kept = self.kept.take().map(BytesMut::freeze);
        let mut response = self.describe(kept.as_ref());
        let message = match &mut self.awaiting {
            Some(awaiting) => awaiting.answer(),
            None => kept.clone(),
        };
        if self.rewrites {
            let shown = self.show(message.as_ref());
            let name = self.view.as_ref().map_or("granted", |view| view.name());
            let seen =
                json!({ "name": name, "sha256": HEXLOWER.encode(&Sha256::digest(&shown)), "bytes": shown.len() });
            response.as_object_mut().and_then(|response| response.insert("view".to_owned(), seen));
            self.shown = Some(shown.into());
        }
        let observed = match self.exchange {
            None if self.listening.is_some() => None,
            Some(_) => message.filter(|_| self.observes).and_then(|message| Exchange::result(&message)),
            None => kept.clone().filter(|_| self.observes),
        };
        let ending = Ending::new("completed").response(response).observed(observed);
        self.finish(ending, kept.as_deref());
    }

    /// Closes the call. With a model's answer goes what it proposes.
    fn finish(&mut self, mut ending: Ending, whole: Option<&[u8]>) {
        let Some(receipt) = self.receipt.take() else { return };
        let judged = self.judge(&receipt, ending.is_whole());
        ending = ending.receipt(judged);
        let Some(mut listening) = self.listening.take() else { return finish(receipt, ending) };
        let held = listening.held();
        self.last = Some(held).filter(|held| !held.is_empty()).map(Frame::data);
        let reading = listening.end(whole);
        let keep = receipt.call().asking.as_ref().is_some_and(|asking| asking.keep);
        ending = ending.read(&reading, keep);
        self.closing = model::close(receipt, ending, reading);
    }

    /// What the agent sees of an answer that it does not see whole.
    fn show(&self, message: Option<&Bytes>) -> String {
        match (&self.exchange, &self.view) {
            (Some(exchange), view) => {
                let shown = exchange.show(message.map_or(&[], |message| &message[..]), view.as_deref());
                match self.awaiting {
                    Some(_) => format!("event: message\ndata: {shown}\n\n"),
                    None => shown,
                }
            }
            (None, view) => {
                let json = message.filter(|_| self.observes);
                let json = json.and_then(|kept| Json::parse_response(kept, JSON_DEPTH).ok());
                let shown = json.and_then(|json| view.as_ref()?.show(&json));
                shown.map(|json| json.to_text()).unwrap_or_default()
            }
        }
    }

    /// Whether nothing more comes that concerns this call.
    fn is_over(&self) -> bool {
        self.body.is_end_stream()
            || self.listening.as_ref().is_some_and(Listening::is_over)
            || self.awaiting.as_ref().is_some_and(Awaiting::is_answered)
    }

    /// The answer is not whole, or must not pass on.
    fn cut(&mut self, result: &'static str, why: String) -> Option<Result<Frame<Bytes>, BoxError>> {
        let response = self.describe(None);
        self.finish(Ending::new(result).detail(why.clone()).response(response), None);
        // What was held is the end of the answer, which there is none of.
        (self.last, self.closing) = (None, None);
        Some(Err(Cut(why).into()))
    }

    /// Up to how many bytes of the answer are kept as they came.
    fn keeps(&self) -> usize {
        let asking = self.receipt.as_ref().and_then(|receipt| receipt.call().asking.as_ref());
        match asking {
            Some(asking) if !asking.keep => 0,
            Some(_) => self.upstream.settings.keep_response_bytes.max(model::KEPT_ANSWER_BYTES),
            None => self.upstream.settings.keep_response_bytes,
        }
    }

    /// What is to be said of the API's receipt, if one came.
    fn judge(&self, receipt: &Receipt, whole: bool) -> Option<Judged> {
        let content = whole.then(|| (Hash::from(<[u8; 32]>::from(self.hash.clone().finalize())), self.bytes == 0));
        let party = &self.upstream.settings.receipts.as_ref()?.party;
        Some(self.came.as_ref()?.judge(receipt, party, self.status, content))
    }

    /// The answer is over. Without a receipt that fits it is kept back, where the settings demand one.
    fn unreceipted(&mut self) -> Option<Option<Result<Frame<Bytes>, BoxError>>> {
        let required = self.upstream.settings.receipts.as_ref().is_some_and(|receipts| receipts.required);
        let receipt = self.receipt.as_ref().filter(|_| required)?;
        if self.judge(receipt, true).is_some_and(|judged| judged.fits()) {
            return None;
        }
        Some(self.cut("response_cut", receipts::LACKING.to_owned()))
    }

    fn describe(&self, kept: Option<&Bytes>) -> Value {
        let mut response = json!({
            "status": self.status.as_u16(),
            "media_type": self.media_type,
            "sha256": HEXLOWER.encode(&self.hash.clone().finalize()),
            "bytes": self.bytes,
        });
        let keep = kept.filter(|kept| !self.observes && kept.len() <= self.keeps());
        if let (Some(kept), Some(response)) = (keep, response.as_object_mut()) {
            match std::str::from_utf8(kept) {
                Ok(text) => response.insert("body".to_owned(), text.into()),
                Err(_) => response.insert("body_base64".to_owned(), BASE64.encode(kept).into()),
            };
        }
        response
    }

    fn data(&mut self, data: Bytes) -> Option<Result<Frame<Bytes>, BoxError>> {
        self.bytes += data.len() as u64;
        self.hash.update(&data);
        if let Some(kept) = self.kept.as_mut() {
            match kept.len() + data.len() <= self.keep {
                true => kept.extend_from_slice(&data),
                false => self.kept = None,
            }
        }
        if let Some(receipt) = &self.receipt {
            receipt.note(|trail| trail.bytes = [trail.bytes[0], self.bytes]);
        }
        if let Some(awaiting) = &mut self.awaiting {
            awaiting.push(&data);
        }
        if let Some(listening) = &mut self.listening {
            listening.push(&data);
        }
        let unread = self.awaiting.as_ref().map_or(self.kept.is_none(), Awaiting::is_over);
        if self.rewrites && unread {
            let why =
                format!("the grant sees a part of the answer only, and the answer has more than {} bytes", self.keep);
            return self.cut("response_cut", why);
        }
        let pass = match &mut self.scan {
            None => data,
            Some(scan) => match scan.push(data) {
                Ok(pass) => pass,
                Err(_) => {
                    return self.cut("response_cut", "the API's answer holds the gateway's credential".to_owned());
                }
            },
        };
        if self.listening.is_some() {
            return self.heard(pass);
        }
        if !self.is_over() {
            return (!pass.is_empty() && !self.rewrites).then(|| Ok(Frame::data(pass)));
        }
        if let Some(cut) = self.unreceipted() {
            return cut;
        }
        let rest = self.scan.as_mut().map(Scan::end).unwrap_or_default();
        self.complete();
        if self.rewrites {
            return self.seen();
        }
        let whole = if rest.is_empty() { pass } else { [pass, rest].concat().into() };
        Some(Ok(Frame::data(whole)))
    }

    /// A piece of a model's answer passes, or is held with the rest. At the end all that is held passes once it is on record.
    fn heard(&mut self, piece: Bytes) -> Option<Result<Frame<Bytes>, BoxError>> {
        let is_over = self.is_over();
        let listening = self.listening.as_mut()?;
        if !is_over {
            return listening.pass(piece).map(|piece| Ok(Frame::data(piece)));
        }
        listening.hold(&piece);
        self.end()
    }

    fn trailers(&mut self, trailers: &HeaderMap) -> Option<Result<Frame<Bytes>, BoxError>> {
        let echo = self.echo.as_ref();
        if echo.is_some_and(|echo| trailers.values().any(|value| echo.stands_in(value.as_bytes()))) {
            return self.cut("response_cut", "a trailer of the API's answer holds the gateway's credential".to_owned());
        }
        if let Some(receipt) = &self.receipt
            && let Some(came) = receipts::find(receipt, &self.upstream, self.status, &HeaderMap::new(), Some(trailers))
        {
            self.came = Some(came);
        }
        if self.listening.is_some() {
            return self.end();
        }
        if let Some(cut) = self.unreceipted() {
            return cut;
        }
        let trailers = Frame::trailers(of_trailers(trailers, &self.upstream.settings));
        let rest = self.scan.as_mut().map(Scan::end).unwrap_or_default();
        self.complete();
        if self.rewrites {
            return self.seen();
        }
        if rest.is_empty() {
            return Some(Ok(trailers));
        }
        self.last = Some(trailers);
        Some(Ok(Frame::data(rest)))
    }

    /// What the view shows of the whole answer, trailers not.
    fn seen(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        self.shown.take().filter(|shown| !shown.is_empty()).map(|shown| Ok(Frame::data(shown)))
    }

    fn end(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        if let Some(cut) = self.unreceipted() {
            return cut;
        }
        let rest = self.scan.as_mut().map(Scan::end).unwrap_or_default();
        if let Some(listening) = &mut self.listening {
            listening.hold(&rest);
            self.complete();
            return None;
        }
        self.complete();
        if self.rewrites {
            return self.seen();
        }
        (!rest.is_empty()).then(|| Ok(Frame::data(rest)))
    }

    fn overdue(&mut self, cx: &mut Context<'_>) -> Option<String> {
        let timeouts = &self.upstream.settings.timeouts;
        if self.total.as_mut().poll(cx).is_ready() {
            return Some(format!("total: longer than {:?}", timeouts.total));
        }
        let idle = self.idle.as_mut().poll(cx).is_ready();
        idle.then(|| format!("idle: nothing came for {:?}", timeouts.idle))
    }
}

impl Drop for Answering {
    /// A model's answer that the agent does not wait for is on record as far as it came: it may act on that.
    fn drop(&mut self) {
        if let Some(receipt) = self.receipt.as_ref().filter(|_| self.listening.is_some()) {
            let ending = receipt.abandoned().response(self.describe(None));
            self.finish(ending, None);
        }
    }
}

fn is_events(media_type: &str) -> bool {
    media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
}

impl Body for Answering {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if let Some(closing) = &mut this.closing {
                std::task::ready!(Pin::new(closing).poll(cx));
                this.closing = None;
            }
            if let Some(last) = this.last.take() {
                return Poll::Ready(Some(Ok(last)));
            }
            if this.receipt.is_none() {
                return Poll::Ready(None);
            }
            if this.withdrawn.as_mut().poll(cx).is_ready() {
                let why = "what allowed this call was withdrawn while its answer was under way".to_owned();
                return Poll::Ready(this.cut("revoked", why));
            }
            let polled = match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(polled) => polled,
                Poll::Pending => match this.overdue(cx) {
                    Some(why) => return Poll::Ready(this.cut("upstream_timeout", why)),
                    None => return Poll::Pending,
                },
            };
            this.idle.as_mut().reset(Instant::now() + this.upstream.settings.timeouts.idle);
            let frame = match polled {
                None => match this.end() {
                    None if this.closing.is_some() || this.last.is_some() => continue,
                    end => return Poll::Ready(end),
                },
                Some(Err(error)) => {
                    let why = format!("the API's answer broke off: {}", deepest(&error));
                    return Poll::Ready(this.cut("upstream_truncated", why));
                }
                Some(Ok(frame)) => frame,
            };
            let passed = match frame.into_data() {
                Ok(data) => this.data(data),
                Err(frame) => frame.into_trailers().ok().and_then(|trailers| this.trailers(&trailers)),
            };
            // All of it was held back: what follows decides.
            if passed.is_some() {
                return Poll::Ready(passed);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.receipt.is_none() && self.last.is_none() && self.closing.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
