//! What a value probably is, and whether it binds, by its schema's type, format and pattern and by its name. Proposals for a human.

use serde_json::Value;

use super::schema::{ANY, Leaf};
use crate::catalogue::{Effect, Risk, Type};

/// The words of a name in lower case: `creditorAccount`, `creditor_account` and `Creditor-Account` have two.
pub(super) fn words(name: &str) -> Vec<String> {
    let (mut words, mut word, mut lower) = (Vec::new(), String::new(), false);
    for c in name.chars() {
        if (!c.is_alphanumeric() || (c.is_uppercase() && lower)) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        lower = c.is_lowercase() || c.is_ascii_digit();
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

const SECRET: &[&str] =
    &["password", "passwd", "passphrase", "secret", "pin", "cvv", "cvc", "otp", "token", "passcode"];
const MAIL: &[&str] = &["email", "mail", "emails"];
/// People who are written to: by address, if the description says so.
const PEOPLE: &[&str] = &[
    "to",
    "cc",
    "bcc",
    "recipient",
    "recipients",
    "participant",
    "participants",
    "attendees",
    "sender",
    "address",
    "addresses",
];
const LINK: &[&str] =
    &["url", "uri", "href", "link", "website", "webhook", "callback", "endpoint", "urls", "links", "homepage"];
const ACCOUNT: &[&str] = &[
    "iban",
    "pan",
    "bban",
    "recipient",
    "recipients",
    "payee",
    "payees",
    "beneficiary",
    "creditor",
    "debtor",
    "payer",
    "sender",
    "account",
    "wallet",
];
const MONEY: &[&str] = &["amount", "price", "total", "fee", "balance", "cost", "sum", "salary", "payment", "budget"];
const DATE: &[&str] = &["date", "day", "birthday", "dob"];
const NAME_OF_A_THING: &[&str] = &[
    "id",
    "ids",
    "uuid",
    "guid",
    "key",
    "code",
    "number",
    "reference",
    "hash",
    "sku",
    "slug",
    "identification",
    "lei",
    "currency",
    "country",
    "bic",
    "swift",
];
/// Free text: what it says is not what the act is. Addresses and links inside are looked at all the same when the call is judged.
const PROSE: &[&str] = &[
    "description",
    "subject",
    "message",
    "body",
    "content",
    "text",
    "note",
    "notes",
    "comment",
    "comments",
    "reason",
    "memo",
    "title",
    "summary",
    "caption",
    "remark",
    "remarks",
    "unstructured",
    "html",
    "markdown",
    "query",
    "q",
    "search",
    "prompt",
    "details",
];
/// How an answer is cut up, not what it is about.
const PAGING: &[&str] = &[
    "limit", "offset", "page", "size", "cursor", "sort", "order", "n", "count", "skip", "top", "per", "max", "min",
    "num",
];

/// The words that say most of what a thing is.
struct Name {
    words: Vec<String>,
}

impl Name {
    fn new(name: &str) -> Name {
        Name { words: words(name) }
    }

    fn has(&self, list: &[&str]) -> bool {
        self.words.iter().any(|word| list.contains(&word.as_str()))
    }

    fn is_a_secret(&self) -> bool {
        let page = self.has(&["page", "next", "continuation"]);
        let key = self.has(&["secret", "private", "api", "access"]) && self.ends(&["key"]);
        (self.ends(SECRET) && !page) || key || self.has(&["password", "passphrase"])
    }

    fn is_a_path(&self) -> bool {
        self.has(&["file", "filename", "filepath", "path"]) && !self.ends(&["id", "ids"])
    }

    fn ends(&self, list: &[&str]) -> bool {
        self.words.last().is_some_and(|word| list.contains(&word.as_str()))
    }
}

/// The type of a value with this schema, by its name, what it is a part of and its JSON type.
pub(super) fn of_type(name: &str, parent: &str, leaf: &Leaf<'_>) -> Type {
    let (kind, schema) = (leaf.kind, leaf.schema);
    // The identification of a creditor's account is an account.
    if kind == "string"
        && Name::new(name).ends(&["identification", "number", "name"])
        && Name::new(parent).ends(ACCOUNT)
    {
        return Type::Account;
    }
    let (name, format) = (Name::new(name), schema.get("format").and_then(Value::as_str).unwrap_or_default());
    match kind {
        "boolean" => Type::Boolean,
        "integer" if name.ends(MONEY) => Type::Money,
        "integer" if name.ends(NAME_OF_A_THING) => Type::Identifier,
        "integer" => Type::Integer,
        "number" if name.ends(NAME_OF_A_THING) => Type::Identifier,
        "number" => Type::Money,
        ANY if name.ends(MONEY) => Type::Money,
        // The one type that takes texts and numbers.
        ANY => Type::Identifier,
        _ => of_string(&name, format, leaf),
    }
}

fn of_string(name: &Name, format: &str, leaf: &Leaf<'_>) -> Type {
    let schema = leaf.schema;
    match format.to_ascii_lowercase().as_str() {
        "date" => return Type::Date,
        // A moment is more than a day: as a date it would be refused.
        "date-time" | "time" | "duration" | "byte" | "binary" => return Type::Text,
        "email" | "idn-email" => return Type::Email,
        "uri" | "url" | "uri-reference" | "iri" => return Type::Url,
        "iban" => return Type::Account,
        "uuid" | "password" | "ipv4" | "ipv6" | "hostname" | "idn-hostname" => return Type::Identifier,
        "decimal" | "money" | "currency-amount" => return Type::Money,
        "int32" | "int64" => return Type::Integer,
        _ => {}
    }
    let listed = schema.get("enum").and_then(Value::as_array).is_some_and(|values| !values.is_empty())
        || schema.get("const").is_some();
    if listed || name.is_a_secret() {
        return Type::Identifier;
    }
    if is_decimal_pattern(schema) && !name.ends(NAME_OF_A_THING) {
        return Type::Money;
    }
    match () {
        () if name.ends(PEOPLE) && says(leaf.said, &["email", "e-mail"]) => Type::Email,
        () if name.has(MAIL) && !name.ends(PROSE) && !name.ends(NAME_OF_A_THING) => Type::Email,
        () if name.ends(LINK) => Type::Url,
        () if name.ends(DATE) && !has_a_time(leaf) => Type::Date,
        () if name.has(&["iban", "bban"]) || (name.has(&["account", "card"]) && name.has(&["number"])) => Type::Account,
        () if name.ends(ACCOUNT) => Type::Account,
        () if name.ends(NAME_OF_A_THING) => Type::Identifier,
        () => Type::Text,
    }
}

/// Whether a pattern takes decimal numbers and nothing else that is likely.
fn is_decimal_pattern(schema: &Value) -> bool {
    let regex = schema.get("pattern").and_then(Value::as_str).and_then(compiled);
    regex.is_some_and(|regex| {
        ["12.50", "1.5"].iter().any(|text| regex.is_match(text))
            && !["a", "x-1", "A1", "1a", ""].iter().any(|text| regex.is_match(text))
    })
}

/// Whether example, pattern or description show that a date comes with a time, or in another form than a catalogue reads.
fn has_a_time(leaf: &Leaf<'_>) -> bool {
    let schema = leaf.schema;
    let shown = ["example", "default"].iter().filter_map(|key| schema.get(*key)).filter_map(Value::as_str);
    let pattern = schema.get("pattern").and_then(Value::as_str);
    shown.filter(|text| !text.is_empty()).any(|text| crate::occurs::date(text).is_none())
        || pattern.is_some_and(|pattern| compiled(pattern).is_none_or(|regex| !regex.is_match("2026-01-31")))
        || says(leaf.said, &["hh:mm", "date-time", "datetime", "time", "timestamp", "mm/dd", "dd/mm", "dd.mm"])
}

/// Whether the description has one of these.
fn says(description: &str, any: &[&str]) -> bool {
    let described = description.to_ascii_lowercase();
    any.iter().any(|part| described.contains(part))
}

/// A pattern of the document, if it is one of linear time and modest size.
fn compiled(pattern: &str) -> Option<regex::Regex> {
    let short = pattern.len() <= 256;
    short.then(|| regex::RegexBuilder::new(pattern).size_limit(256 << 10).build().ok()).flatten()
}

/// Never shown outside the vault.
pub(super) fn is_sensitive(name: &str, schema: &Value) -> bool {
    schema.get("format").and_then(Value::as_str) == Some("password") || Name::new(name).is_a_secret()
}

/// Whether an argument of that type and name makes the act what it is. Where it is a choice among few fixed words it does not, except a currency.
pub(super) fn binds(name: &str, ty: Type, effect: Effect, schema: &Value) -> bool {
    let name = Name::new(name);
    let listed = schema.get("enum").is_some() || schema.get("const").is_some();
    match ty {
        Type::Boolean => false,
        // Whoever chooses the link that is read can have told its server something.
        Type::Url => true,
        _ if effect == Effect::Read => name.is_a_path() && matches!(ty, Type::Text | Type::Identifier),
        _ if listed => false,
        _ if name.ends(&["idempotency"]) || (name.has(&["idempotency"]) && name.ends(&["key"])) => false,
        Type::Text => !name.ends(PROSE) && !name.ends(PAGING),
        Type::Integer => !name.ends(PAGING),
        _ => true,
    }
}

/// Whether an argument that was taken for a change's still binds when the action only reads.
pub(super) fn binds_in_a_read(name: &str, ty: Type) -> bool {
    binds(name, ty, Effect::Read, &Value::Null)
}

/// Whether an argument is money, and not just another decimal number.
pub(super) fn is_money(name: &str, ty: Type) -> bool {
    ty == Type::Money && Name::new(name).ends(MONEY)
}

/// The risk of an action as far as it can be guessed.
pub(super) fn risk(effect: Effect, has_money: bool) -> Risk {
    match effect {
        Effect::Read => Risk::Low,
        Effect::Write if !has_money => Risk::Medium,
        Effect::Write | Effect::Irreversible => Risk::High,
    }
}

/// Whether a name says that something is only read.
pub(super) fn sounds_like_a_read(name: &str) -> bool {
    let words = words(name);
    let first = words.first().map(String::as_str).unwrap_or_default();
    ["get", "list", "read", "search", "find", "query", "lookup", "check", "show", "fetch", "count", "describe"]
        .contains(&first)
}

/// Whether a name says that something is gone afterwards, or with somebody else.
pub(super) fn sounds_irreversible(name: &str) -> bool {
    let final_words = [
        "delete", "remove", "send", "transfer", "pay", "purge", "destroy", "publish", "post", "invite", "drop", "wire",
    ];
    words(name).iter().any(|word| final_words.contains(&word.as_str()))
}

/// Whether the text argument is one that people write freely.
pub(super) fn is_prose(name: &str) -> bool {
    Name::new(name).ends(PROSE)
}

/// Whether a name is a currency's.
pub(super) fn is_currency(name: &str) -> bool {
    Name::new(name).has(&["currency"])
}
