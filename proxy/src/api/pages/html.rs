//! The pages' HTML. Everything that comes from outside is escaped, and spelled out where it could hide something.

use std::fmt::Write as _;

use axum::response::{Html, IntoResponse as _, Response};
use http::StatusCode;
use jiff::{Timestamp, Unit};
use serde_json::Value;

use super::texts::{self, Texts};
use crate::{
    shown::{self, Lang},
    state::Held,
};

/// A page under construction.
pub(super) struct Page {
    lang: Lang,
    body: String,
    data: String,
    head: String,
    signed_in: bool,
}

/// Text as it stands in HTML and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in shown::plain(text, Some('\n')).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

impl Page {
    pub(super) const fn new(lang: Lang) -> Page {
        Page { lang, body: String::new(), data: String::new(), head: String::new(), signed_in: false }
    }

    pub(super) const fn texts(&self) -> &'static Texts {
        texts::of(self.lang)
    }

    /// What the page's script is told.
    pub(super) fn tell(&mut self, name: &str, value: &str) -> &mut Page {
        // Writing into a text does not fail.
        let _ = write!(self.data, " data-{name}=\"{}\"", escape(value));
        self
    }

    /// Markup of the page's own.
    fn add(&mut self, markup: &str) -> &mut Page {
        self.body.push_str(markup);
        self
    }

    /// An element with text.
    fn text(&mut self, open: &str, text: &str) -> &mut Page {
        let tag = open.split(' ').next().unwrap_or_default();
        let _ = write!(self.body, "<{open}>{}</{tag}>", escape(text));
        self
    }

    fn term(&mut self, name: &str, value: &str) -> &mut Page {
        self.text("dt", name).text("dd", value)
    }

    fn button(&mut self, act: &str, class: &str, text: &str) -> &mut Page {
        self.text(&format!("button type=\"button\" class=\"{class}\" data-act=\"{act}\""), text)
    }

    fn link(&mut self, class: &str, hidden: bool, path: &str, text: &str) -> &mut Page {
        let hidden = if hidden { " hidden" } else { "" };
        let path = escape(path);
        let _ = write!(
            self.body,
            "<p class=\"{class}\"{hidden}><a href=\"{path}?lang={}\">{}</a></p>",
            self.lang.tag(),
            escape(text)
        );
        self
    }

    /// Where the script says what happened.
    fn notice(&mut self) -> &mut Page {
        self.add("<p id=\"notice\" class=\"notice\" role=\"status\" tabindex=\"-1\" hidden></p>")
    }

    /// Somebody is signed in.
    fn signed_in(&mut self, rp: &str) -> &mut Page {
        self.signed_in = true;
        self.for_script(rp)
    }

    /// The words that the script says.
    fn for_script(&mut self, rp: &str) -> &mut Page {
        let texts = self.texts();
        self.tell("rp", rp).tell("working", texts.working).tell("cancelled", texts.cancelled);
        self.tell("failed", texts.failed).tell("unable", texts.unable);
        for (status, text) in texts.problems {
            self.tell(&format!("problem{status}"), text);
        }
        self
    }

    pub(super) fn finish(&self, status: StatusCode, title: &str) -> Response {
        let texts = self.texts();
        let (tag, (other, name)) = (self.lang.tag(), texts.other);
        let sign_out = match self.signed_in {
            true => format!("<button type=\"button\" data-act=\"sign-out\">{}</button>", escape(texts.sign_out)),
            false => String::new(),
        };
        let title = escape(title);
        let html = format!(
            "<!doctype html><html lang=\"{tag}\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">{}<title>{title}</title>\
             <link rel=\"stylesheet\" href=\"/approve/style.css\"><link rel=\"icon\" href=\"data:,\">\
             <script src=\"/approve/page.js\" defer></script></head><body>\
             <header><span>Countersign</span><span><a href=\"?lang={other}\" lang=\"{other}\" hreflang=\"{other}\">{name}</a> {sign_out}</span></header>\
             <main{}><h1>{title}</h1>{}</main><footer>{}</footer></body></html>",
            self.head,
            self.data,
            self.body,
            escape(texts.footer),
        );
        (status, Html(html)).into_response()
    }
}

/// Asks for a passkey; shows nothing else.
pub(super) fn sign_in(lang: Lang, rp: &str, origin: &str, ticket: &str) -> Response {
    let mut page = Page::new(lang);
    let texts = page.texts();
    page.for_script(rp).tell("origin", origin).tell("ticket", ticket);
    page.add("<section>")
        .text("p", texts.sign_in_why)
        .button("sign-in", "main", texts.sign_in_button)
        .add("</section>");
    page.notice();
    page.finish(StatusCode::OK, texts.sign_in)
}

/// Makes a passkey, with the ticket in the address's fragment.
pub(super) fn enrol(lang: Lang, rp: &str, origin: &str) -> Response {
    let mut page = Page::new(lang);
    let texts = page.texts();
    page.for_script(rp).tell("origin", origin).tell("done", texts.enrolled);
    page.add("<section>").text("p", texts.enrol_why).button("enrol", "main", texts.enrol_button).add("</section>");
    page.notice().link("after", true, "/approve", texts.go_on);
    page.finish(StatusCode::OK, texts.enrol)
}

fn field<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn items<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// A time to the second, in UTC.
fn time(text: &str) -> String {
    let rounded = text.parse::<Timestamp>().ok().and_then(|time| time.round(Unit::Second).ok());
    rounded.map_or_else(|| text.to_owned(), |time| time.to_string().replace('T', " ").replace('Z', " UTC"))
}

/// The calls that wait, one instruction beside the other, the oldest first.
pub(super) fn list(lang: Lang, rp: &str, waiting: &[(Value, Held)], most: usize) -> Response {
    let mut page = Page::new(lang);
    let texts = page.texts();
    page.signed_in(rp);
    let mut groups: Vec<(&str, Vec<&(Value, Held)>)> = Vec::new();
    for call in waiting.iter().take(most) {
        let instruction = field(&call.0, "instruction");
        match groups.iter_mut().find(|(known, _)| *known == instruction) {
            Some((_, calls)) => calls.push(call),
            None => groups.push((instruction, vec![call])),
        }
    }
    for (_, calls) in &groups {
        page.add("<section>");
        let words = calls.first().map(|(shown, _)| field(shown, "words")).unwrap_or_default();
        page.text("h2", texts.said).text("blockquote", words);
        for (shown, held) in calls {
            page.add("<div class=\"call\">");
            let arguments = shown.get("arguments").and_then(Value::as_object).into_iter().flatten();
            let arguments: Vec<_> =
                arguments.map(|(name, value)| format!("{name}: {}", one_line(value, texts))).collect();
            let path = format!("/approve/{}", field(shown, "call"));
            let effect = shown::effect(lang, field(shown, "effect"));
            page.link("", false, &path, &format!("{} ({effect})", field(shown, "action")));
            page.text("p class=\"soft\"", &arguments.join(", "));
            let yes = format!("{} / {}", held.yes.len(), held.needs);
            let until = format!("{} {}", texts.waits_until, time(field(shown, "expires")));
            page.text(
                "p class=\"soft\"",
                &if held.needs > 1 { format!("{until}. {}: {yes}", texts.needs) } else { until },
            );
            page.add("</div>");
        }
        page.add("</section>");
    }
    if groups.is_empty() {
        page.add("<section>").text("p", texts.nothing).add("</section>");
    }
    if waiting.len() > most {
        page.text("p class=\"soft\"", texts.more_waiting);
    }
    page.notice();
    page.finish(StatusCode::OK, texts.waiting)
}

/// A value on one line, cut short: the whole of it is on the call's own page.
fn one_line(value: &Value, texts: &Texts) -> String {
    let text = readable(value, texts).replace('\n', " ");
    let cut: String = text.chars().take(80).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

fn readable(value: &Value, texts: &Texts) -> String {
    if value.get("hidden").is_some() { texts.hidden.to_owned() } else { shown::text(value) }
}

/// Who looks, and with which passkey.
pub(super) struct Viewer<'v> {
    pub(super) party: &'v str,
    pub(super) kid: &'v str,
    pub(super) credential: &'v str,
    pub(super) now: Timestamp,
    pub(super) until: Timestamp,
    /// SHA-256 of what is shown.
    pub(super) digest: String,
}

/// One call, whole.
pub(super) fn call(lang: Lang, rp: &str, shown: &Value, held: &Held, viewer: &Viewer<'_>) -> Response {
    let mut page = Page::new(lang);
    let texts = page.texts();
    page.signed_in(rp);
    page.add("<section>").text("h2", texts.said).text("blockquote", field(shown, "words")).add("</section>");
    page.add("<section>").text("h2", texts.wants).text("p class=\"value\"", field(shown, "action"));
    let final_one = field(shown, "effect") == "irreversible";
    let class = if final_one { "p class=\"source doubt\"" } else { "p class=\"source\"" };
    page.text(class, shown::effect(lang, field(shown, "effect")));
    page.add("</section><section>").text("h2", texts.arguments).add("<dl>");
    for (name, value) in shown.get("arguments").and_then(Value::as_object).into_iter().flatten() {
        page.text("dt", name).add("<dd>").text("p class=\"value\"", &readable(value, texts));
        provenance(&mut page, shown, name, value);
        page.add("</dd>");
    }
    page.add("</dl></section><section>").text("h2", texts.why).add("<ul>");
    for reason in items(shown, "reasons") {
        page.text("li", &shown::reason(lang, reason));
    }
    page.add("</ul></section><section><dl>");
    page.term(texts.agent, field(shown, "agent")).term(texts.upstream, field(shown, "upstream"));
    page.term(texts.waits_until, &time(field(shown, "expires")));
    if held.needs > 1 {
        let yes: Vec<&str> = held.yes.iter().map(|yes| yes.approver.as_str()).collect();
        let yes = if yes.is_empty() { texts.nobody.to_owned() } else { yes.join(", ") };
        page.term(texts.needs, &held.needs.to_string()).term(texts.approved_by, &yes);
    }
    page.add("</dl></section><section>").text("h2", texts.signed).text("p", texts.signs);
    page.text("p class=\"small\"", field(shown, "digest")).add("</section>");
    if held.is_answered_by(viewer.party) {
        page.text("p class=\"notice\"", texts.mine);
    }
    page.text("p", texts.once).add("<div class=\"answers\">");
    if !held.is_answered_by(viewer.party) {
        page.button("approve", "yes", texts.approve);
    }
    page.button("deny", "no", texts.deny).add("</div>");
    page.notice().link("", false, "/approve", texts.back);
    told(&mut page, shown, viewer);
    page.finish(StatusCode::OK, texts.held)
}

/// What the answer is put together from.
fn told(page: &mut Page, shown: &Value, viewer: &Viewer<'_>) {
    let texts = page.texts();
    let policies: Vec<&str> = items(shown, "policies").filter_map(Value::as_str).collect();
    // A browser's clock counts in milliseconds.
    let milliseconds = |time: Timestamp| {
        let time = time.round(Unit::Millisecond).unwrap_or(time);
        countersign_ledger::record::Time::new(time).to_string()
    };
    page.tell("id", field(shown, "call")).tell("call", field(shown, "entry")).tell("origin", field(shown, "origin"));
    page.tell("digest", field(shown, "digest")).tell("policies", &policies.join(" ")).tell("sha256", &viewer.digest);
    page.tell("shown", &milliseconds(viewer.now)).tell("expires", &milliseconds(viewer.until));
    page.tell("kid", viewer.kid).tell("credential", viewer.credential);
    page.tell("approved", texts.approved).tell("denied", texts.denied).tell("more", texts.wants_more);
}

/// Where the values of an argument came from.
fn provenance(page: &mut Page, shown: &Value, argument: &str, whole: &Value) {
    let (lang, texts) = (page.lang, page.texts());
    for found in items(shown, "provenance").filter(|found| field(found, "argument") == argument) {
        let value = found.get("value").map(|value| readable(value, texts)).unwrap_or_default();
        let what = match readable(whole, texts) == value {
            true => texts.stands.to_owned(),
            false => format!("{} `{value}`", texts.within),
        };
        let mut sources = items(found, "sources").map(|source| shown::source(lang, source)).peekable();
        if sources.peek().is_none() {
            page.text("p class=\"source doubt\"", &format!("{what}{}{}", texts.colon, shown::nowhere(lang)));
        }
        for (source, doubt) in sources {
            let class = if doubt { "p class=\"source doubt\"" } else { "p class=\"source\"" };
            page.text(class, &format!("{what}{}{source}", texts.colon));
        }
    }
}

/// A call that is not, or no longer, to be answered.
pub(super) fn gone(lang: Lang, rp: &str) -> Response {
    let mut page = Page::new(lang);
    let texts = page.texts();
    page.signed_in(rp).add("<section>").text("p", texts.gone_why).add("</section>");
    page.notice().link("", false, "/approve", texts.back);
    page.finish(StatusCode::NOT_FOUND, texts.gone)
}

/// How a held call stands: for the agent's user, who may know no more than that.
pub(super) fn status(lang: Lang, state: Option<&str>) -> Response {
    let mut page = Page::new(lang);
    let texts = page.texts();
    let Some((_, title, what)) = texts.states.iter().find(|(known, ..)| Some(*known) == state) else {
        page.add("<section>").text("p", texts.gone_why).add("</section>");
        return page.finish(StatusCode::NOT_FOUND, texts.gone);
    };
    if state == Some("waiting") {
        page.head.push_str("<meta http-equiv=\"refresh\" content=\"5\">");
    }
    page.add("<section>").text("h2", title).text("p", what).add("</section>");
    page.finish(StatusCode::OK, texts.status)
}
