//! What a person is shown of a held call, in words: the same on the approvers' page and in the terminal.

use serde_json::Value;

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lang {
    /// English.
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Lang {
    /// The language tag (BCP 47).
    pub const fn tag(self) -> &'static str {
        match self {
            Lang::English => "en",
            Lang::Chinese => "zh-Hans",
        }
    }

    const fn pick<T: Copy>(self, english: T, chinese: T) -> T {
        match self {
            Lang::English => english,
            Lang::Chinese => chinese,
        }
    }

    /// The language asked for: `?lang=` first, then `Accept-Language` by its weights.
    pub fn asked(query: Option<&str>, accept: Option<&str>) -> Lang {
        let known = |tag: &str| match tag.trim().get(..2).map(str::to_ascii_lowercase).as_deref() {
            Some("zh") => Some(Lang::Chinese),
            Some("en") => Some(Lang::English),
            _ => None,
        };
        let weighed = accept.unwrap_or_default().split(',').filter_map(|range| {
            let (tag, rest) = range.split_once(';').unwrap_or((range, ""));
            let weight =
                rest.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.trim().parse::<f32>().ok())?;
            known(tag).filter(|_| weight > 0.0).map(|lang| (weight, lang))
        });
        // Of those with the same weight the first counts.
        let best = weighed.fold(None, |best: Option<(f32, Lang)>, found| match best {
            Some(best) if best.0 >= found.0 => Some(best),
            _ => Some(found),
        });
        query.and_then(known).or(best.map(|(_, lang)| lang)).unwrap_or(Lang::English)
    }
}

/// A value as text.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Text that cannot move the cursor, hide or reorder what stands beside it: whoever wrote it may want that. Only `keep` stays of what could.
pub fn plain(text: &str, keep: Option<char>) -> String {
    let hides = |c: char| {
        (c.is_control() && Some(c) != keep)
            || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
    };
    text.chars().map(|c| if hides(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// Where a value came from, and whether that deserves doubt.
pub fn source(lang: Lang, source: &Value) -> (String, bool) {
    let part = |name: &str| source.get(name).and_then(Value::as_str).unwrap_or("?");
    let (action, field) = (part("action"), part("field"));
    let unnamed = source.get("unnamed").and_then(Value::as_bool).unwrap_or(false);
    let words = |english: &str, chinese: &str| lang.pick(english, chinese).to_owned();
    match part("source") {
        "words" => (words("in the user's words", "在用户的话里"), false),
        "host" => (words("in what the host application allowed", "在宿主应用给出的限定里"), false),
        "attached" => (words("in what the user attached", "在用户附上的内容里"), true),
        "first_party" if unnamed => (
            match lang {
                Lang::English => format!(
                    "in the API's answer to `{action}`, field `{field}`, in an item that the user's words do not name"
                ),
                Lang::Chinese => format!("在接口对 `{action}` 的应答里，字段 `{field}`，但用户的话没有指明这一条"),
            },
            true,
        ),
        "first_party" => (
            match lang {
                Lang::English => format!("in the API's answer to `{action}`, field `{field}`"),
                Lang::Chinese => format!("在接口对 `{action}` 的应答里，字段 `{field}`"),
            },
            false,
        ),
        "third_party" => (
            match lang {
                Lang::English => {
                    format!("in content that somebody else may have written: the answer to `{action}`, field `{field}`")
                }
                Lang::Chinese => format!("在可能由他人写下的内容里：对 `{action}` 的应答，字段 `{field}`"),
            },
            true,
        ),
        "agent" => (words("in an earlier call of the agent itself", "在智能体自己先前的调用里"), true),
        other => (
            match lang {
                Lang::English => format!("in `{other}`"),
                Lang::Chinese => format!("在 `{other}` 里"),
            },
            true,
        ),
    }
}

/// What is said of a value that nobody saw before.
pub const fn nowhere(lang: Lang) -> &'static str {
    lang.pick("in nothing that was observed", "在看到过的任何内容里都没有")
}

/// Why a call is held, in words.
pub fn reason(lang: Lang, reason: &Value) -> String {
    let part = |name: &str| reason.get(name).and_then(Value::as_str).unwrap_or_default();
    let (argument, message) = (part("argument"), part("message").to_owned());
    if lang == Lang::English {
        return message;
    }
    match part("code") {
        "value-not-observed" => format!("参数 `{argument}` 的值在看到过的任何内容里都没有；须由人批准"),
        "value-from-third-party" => format!("参数 `{argument}` 的值来自可能由他人写下的内容；须由人批准"),
        "value-from-agent" => format!("参数 `{argument}` 的值最先由智能体自己给出；须由人批准"),
        "value-from-attachment" => format!("参数 `{argument}` 的值来自用户附上的内容；须由人批准"),
        "value-of-unnamed-item" => {
            format!("参数 `{argument}` 的值来自接口应答中的一条，而用户的话没有指明这一条；须由人批准")
        }
        "value-from-other-field" => format!("参数 `{argument}` 的值来自接口应答中不能作为它来源的字段；须由人批准"),
        "value-said-for-another" => {
            format!("用户的话里虽有参数 `{argument}` 的值，但用到它的参数比用户说的次数多；须由人批准")
        }
        "value-from-words" => format!("参数 `{argument}` 的值来自用户的话，但目录不接受这个来源；须由人批准"),
        _ => message,
    }
}

/// What an action does to the world, in words.
pub fn effect(lang: Lang, effect: &str) -> &str {
    match effect {
        "read" => lang.pick("reads only", "只读取"),
        "write" => lang.pick("changes something that can be changed back", "会改动，可以改回"),
        "irreversible" => lang.pick("cannot be undone", "不可撤销"),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_wrote_cannot_move_or_hide_what_is_shown() {
        assert_eq!(plain("Ann\u{1b}[2K\u{202e}x\r\n收款人", None), "Ann\\u{1b}[2K\\u{202e}x\\u{d}\\u{a}收款人");
        assert_eq!(plain("a\nb\u{e0041}\u{3164}", Some('\n')), "a\nb\\u{e0041}\\u{3164}");
    }

    #[test]
    fn the_language_is_the_one_asked_for() {
        for (query, accept, wanted) in [
            (None, None, Lang::English),
            (None, Some("zh-CN,zh;q=0.9,en;q=0.8"), Lang::Chinese),
            (None, Some("en-GB,en;q=0.9,zh;q=0.8"), Lang::English),
            (None, Some("fr, zh;q=0.5, en;q=0.4"), Lang::Chinese),
            (None, Some("zh;q=0, en;q=0.1"), Lang::English),
            (Some("en"), Some("zh-CN"), Lang::English),
            (Some("zh"), Some("en"), Lang::Chinese),
            (Some("??"), Some("é;q=x"), Lang::English),
        ] {
            assert_eq!(Lang::asked(query, accept), wanted, "{query:?} {accept:?}");
        }
    }

    #[test]
    fn every_source_of_a_value_has_words_in_both_languages() {
        for (name, doubtful) in [
            ("words", false),
            ("host", false),
            ("attached", true),
            ("first_party", false),
            ("third_party", true),
            ("agent", true),
        ] {
            let found = json!({ "source": name, "action": "get_bill", "field": "/payee" });
            let (english, doubt) = source(Lang::English, &found);
            assert_eq!((doubt, source(Lang::Chinese, &found).1), (doubtful, doubtful), "{name}");
            assert!(english.starts_with("in ") && source(Lang::Chinese, &found).0.starts_with('在'));
        }
        assert!(source(Lang::English, &json!({ "source": "first_party", "unnamed": true })).1);
        assert!(reason(Lang::Chinese, &json!({ "code": "value-not-observed", "argument": "to" })).contains("`to`"));
    }
}
