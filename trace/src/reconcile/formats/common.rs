//! Common and Combined Log Format, read strictly.

use jiff::Timestamp;

use crate::reconcile::Line;

/// What is left of a line.
struct Rest<'t>(&'t str);

impl<'t> Rest<'t> {
    /// A word up to a space.
    fn word(&mut self) -> Option<&'t str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    /// What stands in brackets, and the space behind it.
    fn bracketed(&mut self) -> Option<&'t str> {
        let (inside, rest) = self.0.strip_prefix('[')?.split_once(']')?;
        self.0 = rest.strip_prefix(' ')?;
        Some(inside)
    }

    /// What stands in quotes, without its escapes, and a space behind it if there is more.
    fn quoted(&mut self) -> Option<String> {
        let inside = self.0.strip_prefix('"')?;
        let (mut text, mut chars) = (Vec::new(), inside.char_indices());
        loop {
            match chars.next()? {
                (at, '"') => {
                    let rest = inside.get(at + 1..)?;
                    self.0 = if rest.is_empty() { rest } else { rest.strip_prefix(' ')? };
                    return Some(String::from_utf8_lossy(&text).into_owned());
                }
                (_, '\\') => match chars.next()?.1 {
                    'x' => {
                        let digits = [chars.next()?.1, chars.next()?.1];
                        text.push(u8::from_str_radix(&String::from_iter(digits), 16).ok()?);
                    }
                    'n' => text.push(b'\n'),
                    'r' => text.push(b'\r'),
                    't' => text.push(b'\t'),
                    c @ ('"' | '\\') => text.push(u8::try_from(c).ok()?),
                    _ => return None,
                },
                (_, c) => text.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
    }
}

/// A line, and what stands behind what the format has.
pub(super) fn parse(text: &str, combined: bool, base: &str) -> Result<(Line, Vec<String>), String> {
    let mut rest = Rest(text);
    let mut line = Line::default();
    let lacks = |what: &str| format!("there is no {what} where the format has it");
    rest.word().ok_or_else(|| lacks("address"))?;
    rest.word().ok_or_else(|| lacks("identity"))?;
    let user = rest.word().ok_or_else(|| lacks("user"))?;
    line.credential = Some(user).filter(|user| *user != "-").map(str::to_owned);
    let time = rest.bracketed().ok_or_else(|| lacks("time in brackets"))?;
    let time = Timestamp::strptime("%d/%b/%Y:%H:%M:%S %z", time);
    line.at = time.map_err(|_| "its time is not as in `10/Oct/2000:13:55:36 -0700`".to_owned())?.as_microsecond();
    line.coarse = true;
    let request = rest.quoted().ok_or_else(|| lacks("request in quotes"))?;
    let mut words = request.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some(version), None)
            if version.starts_with("HTTP/") && !method.is_empty() && !target.is_empty() =>
        {
            line.method = Some(method.to_owned());
            line.target(target, base);
        }
        _ => return Err("its request is not a method, a target and a version of HTTP".to_owned()),
    }
    let status = rest.word().and_then(|status| status.parse().ok()).filter(|status| (100..1000).contains(status));
    line.status = Some(status.ok_or_else(|| lacks("status of three digits"))?);
    let bytes = rest.word().ok_or_else(|| lacks("number of bytes"))?;
    line.bytes = if bytes == "-" { Some(0) } else { Some(bytes.parse().map_err(|_| lacks("number of bytes"))?) };
    if combined {
        rest.quoted().ok_or_else(|| lacks("referer in quotes"))?;
        rest.quoted().ok_or_else(|| lacks("user agent in quotes"))?;
    }
    let mut more = Vec::new();
    while !rest.0.is_empty() {
        let quoted = rest.0.starts_with('"');
        let field = if quoted { rest.quoted() } else { rest.word().map(str::to_owned) };
        more.push(field.ok_or_else(|| "what stands behind the format's own fields cannot be read".to_owned())?);
    }
    Ok((line, more))
}
