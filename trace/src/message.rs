//! Everything that is said to people, in every language: a text is declared with all its languages at once, so none can lack one.
//!
//! A message is a text with facts in its places. What stands in a fact was written by somebody else: it is put into one line, without characters
//! that show nothing or turn what follows, and it is never read as a text with places of its own.

use countersign_authorize::import::harmless;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Simplified Chinese.
    ZhCn,
}

impl Lang {
    /// All of them.
    pub const ALL: [Lang; 2] = [Lang::En, Lang::ZhCn];

    /// As in `--lang` and in HTML.
    pub const fn tag(self) -> &'static str {
        match self {
            Lang::En => "en",
            Lang::ZhCn => "zh-CN",
        }
    }
}

/// A text in every language, with places for facts: `{name}`.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    /// English.
    pub en: &'static str,
    /// Simplified Chinese.
    pub zh: &'static str,
}

impl Text {
    /// In a language.
    pub const fn of(&self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::ZhCn => self.zh,
        }
    }
}

/// Declares texts: a name, English, Simplified Chinese. Tests find them all in `ALL`.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident: $en:expr, $zh:expr;)*) => {
        $($(#[$doc])* pub(crate) static $name: $crate::message::Text = $crate::message::Text { en: $en, zh: $zh };)*
        /// All texts of this page.
        #[cfg(test)]
        pub(crate) static ALL: &[&$crate::message::Text] = &[$(&$name),*];
    };
}
pub(crate) use texts;

/// The longest fact that is shown, in characters; the whole value is in the entry.
const MOST: usize = 400;

/// What stands in a place.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A name, a number, a value: the same in every language.
    Plain(String),
    /// A value as somebody wrote it, in quotation marks.
    Quoted(String),
    /// A word of ours.
    Word(&'static Text),
    /// A message of ours.
    Said(Box<Message>),
    /// Several, with commas.
    List(Vec<Fact>),
}

impl From<&str> for Fact {
    fn from(text: &str) -> Fact {
        Fact::Plain(text.to_owned())
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Fact {
        Fact::Plain(text)
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Fact {
        Fact::Plain(number.to_string())
    }
}

impl From<&'static Text> for Fact {
    fn from(text: &'static Text) -> Fact {
        Fact::Word(text)
    }
}

impl From<Message> for Fact {
    fn from(message: Message) -> Fact {
        Fact::Said(Box::new(message))
    }
}

impl<T: Into<Fact>> From<Vec<T>> for Fact {
    fn from(list: Vec<T>) -> Fact {
        Fact::List(list.into_iter().map(Into::into).collect())
    }
}

impl Fact {
    /// In a language.
    pub fn show(&self, lang: Lang) -> String {
        match self {
            Fact::Plain(text) => harmless(text, MOST),
            Fact::Quoted(text) => format!("“{}”", harmless(text, MOST)),
            Fact::Word(text) => text.of(lang).to_owned(),
            Fact::Said(message) => message.show(lang),
            Fact::List(list) => {
                let shown: Vec<String> = list.iter().map(|fact| fact.show(lang)).collect();
                shown.join(match lang {
                    Lang::En => ", ",
                    Lang::ZhCn => "、",
                })
            }
        }
    }
}

/// A text with its facts.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    text: &'static Text,
    facts: Vec<(&'static str, Fact)>,
}

impl Message {
    /// A text without facts.
    pub const fn new(text: &'static Text) -> Message {
        Message { text, facts: Vec::new() }
    }

    /// With a fact in the place `{name}`.
    #[must_use]
    pub fn with(mut self, name: &'static str, fact: impl Into<Fact>) -> Message {
        self.facts.push((name, fact.into()));
        self
    }

    /// In a language.
    pub fn show(&self, lang: Lang) -> String {
        let (mut shown, mut rest) = (String::new(), self.text.of(lang));
        while let Some((before, after)) = rest.split_once('{') {
            shown.push_str(before);
            let Some((name, after)) = after.split_once('}') else { break };
            match self.facts.iter().find(|(fact, _)| *fact == name) {
                Some((_, fact)) => shown.push_str(&fact.show(lang)),
                None => shown.push('?'),
            }
            rest = after;
        }
        shown.push_str(rest);
        shown
    }
}

impl From<&'static Text> for Message {
    fn from(text: &'static Text) -> Message {
        Message::new(text)
    }
}

/// As JSON and in logs: English.
impl serde::Serialize for Message {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.show(Lang::En))
    }
}

/// The places of a text, sorted.
#[cfg(test)]
pub fn places(text: &str) -> Vec<&str> {
    let mut places: Vec<&str> =
        text.split('{').skip(1).filter_map(|part| part.split_once('}').map(|(name, _)| name)).collect();
    places.sort_unstable();
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    texts! {
        PAID: "{who} paid {what}", "{who}支付了{what}";
    }

    #[test]
    fn facts_stand_in_their_places_in_every_language_and_are_never_texts_themselves() {
        let message = Message::new(&PAID).with("who", "{what}").with("what", vec!["a\u{202e}b", "c\u{1b}[31m"]);
        assert_eq!(message.show(Lang::En), "{what} paid ab, c [31m");
        assert_eq!(message.show(Lang::ZhCn), "{what}支付了ab、c [31m");
        assert_eq!(places(PAID.en), places(PAID.zh));
        assert_eq!(ALL.len(), 1);
    }
}
