//! The ceiling: a catalogue that the API's provider signed. What a deployment's own catalogue says must lie below it, or it is refused.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Action, Argument, BodyKind, Catalogue, CatalogueError, Extra, Place, Position, Route,
    routes::{Segment, template},
};

/// The provider's catalogue with what proves whose it is. Checking the signature is the caller's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    /// The provider's catalogue, its exact text.
    pub text: String,
    /// The provider's statement over it, a JWS in compact form.
    pub statement: String,
    /// The RFC 7638 thumbprint of the provider's key.
    pub kid: String,
}

/// What is above the ceiling, and where in the deployment's own catalogue.
struct Above(Option<String>, String);

impl Catalogue {
    /// Puts this catalogue under a ceiling.
    ///
    /// # Errors
    /// [`CatalogueError`] with line and column of the first thing that the provider's catalogue does not have, or has more strictly; or of what is
    /// wrong in the provider's own.
    pub fn under(mut self, ceiling: Ceiling) -> Result<Catalogue, CatalogueError> {
        let above = Catalogue::parse(&ceiling.text)
            .map_err(|error| CatalogueError { message: format!("in the ceiling: {}", error.message), ..error })?;
        let start = Position { line: 1, column: 1 };
        if above.upstream != self.upstream || above.protocol != self.protocol {
            let message = format!("the ceiling is of `{}`, or of another protocol", above.upstream);
            return Err(CatalogueError::at(start, message));
        }
        // Actions may be called otherwise here and there; their routes are what counts.
        let routes: BTreeMap<String, &Action> =
            above.actions.iter().map(|action| (shape(&action.route), action)).collect();
        let names: BTreeMap<&str, &str> = self
            .actions
            .iter()
            .filter_map(|action| Some((action.name.as_str(), routes.get(&shape(&action.route))?.name.as_str())))
            .collect();
        for (action, placed) in self.actions.iter().zip(&self.placed) {
            let checked = match routes.get(&shape(&action.route)) {
                Some(above) => below(action, above, &names),
                None => Err(Above(None, format!("the ceiling has no `{}`", action.route))),
            };
            checked.map_err(|Above(argument, what)| {
                let name = &action.name;
                let of = argument.as_ref().map_or_else(String::new, |argument| format!(", argument `{argument}`"));
                CatalogueError::at(placed.of(argument.as_deref()), format!("`{name}`{of}: {what}"))
            })?;
        }
        self.ceiling = Some(Arc::new(ceiling));
        Ok(self)
    }

    /// The ceiling that it was found to be under.
    pub fn ceiling(&self) -> Option<&Ceiling> {
        self.ceiling.as_deref()
    }
}

/// A route without the names of its arguments.
fn shape(route: &Route) -> String {
    match route {
        Route::Http { method, path } => {
            let segments = template(path).map(|segment| match segment {
                Segment::Literal(literal) => format!("/{literal}"),
                Segment::Argument(_) => "/{}".to_owned(),
            });
            format!("{method} {}", segments.collect::<String>())
        }
        other => other.to_string(),
    }
}

/// Where an argument stands, whatever it is called: place and key, pointer, or number of the path's segment.
fn spot(action: &Action, name: &str, argument: &Argument) -> (u8, String) {
    match argument.place {
        Place::Path => {
            let path = action.route.path().unwrap_or_default();
            let index = template(path).position(|segment| segment == Segment::Argument(name));
            (0, index.unwrap_or_default().to_string())
        }
        Place::Query => (1, argument.key(name).to_owned()),
        Place::Header => (2, argument.key(name).to_ascii_lowercase()),
        Place::Body => (3, argument.pointer(name)),
        Place::Argument => (4, argument.pointer(name)),
    }
}

fn below(own: &Action, above: &Action, names: &BTreeMap<&str, &str>) -> Result<(), Above> {
    let fail = |what: String| Err(Above(None, what));
    if own.effect < above.effect {
        return fail(format!("the ceiling calls it `{}`, not `{}`", above.effect.as_str(), own.effect.as_str()));
    }
    if own.risk < above.risk {
        return fail("the ceiling gives it a higher `risk`".to_owned());
    }
    if own.approvals < above.approvals {
        return fail(format!("the ceiling wants `approvals = {}`", above.approvals));
    }
    if own.body == BodyKind::Opaque && above.body != BodyKind::Opaque {
        return fail("the ceiling reads its body, so it cannot be opaque".to_owned());
    }
    if own.extra == Extra::Allow && above.extra != Extra::Allow {
        return fail("the ceiling refuses undeclared arguments".to_owned());
    }
    if own.asks && !above.asks {
        return fail("in the ceiling its server does not ask the agent's side".to_owned());
    }
    let vouched = |(pointer, ty): &(&String, &super::Type)| above.response.first_party.get(*pointer) != Some(*ty);
    if let Some((pointer, _)) = own.response.first_party.iter().find(vouched) {
        return fail(format!("the ceiling does not declare `{pointer}` as first-party, or with another type"));
    }
    let known: BTreeMap<_, _> =
        above.arguments.iter().map(|(name, argument)| (spot(above, name, argument), argument)).collect();
    let mut seen = std::collections::BTreeSet::new();
    for (name, argument) in &own.arguments {
        let spot = spot(own, name, argument);
        let fail = |what: &str| Err(Above(Some(name.clone()), what.to_owned()));
        let Some(above) = known.get(&spot) else { return fail("the ceiling has no argument there") };
        seen.insert(spot);
        if let Some(what) = weaker(argument, above, names) {
            return fail(what);
        }
    }
    // Undeclared arguments would pass: those that the ceiling judges must not be among them.
    if own.extra == Extra::Allow && known.iter().any(|(spot, argument)| argument.binds && !seen.contains(spot)) {
        return fail("it lets undeclared arguments pass and leaves out one that binds in the ceiling".to_owned());
    }
    Ok(())
}

/// In what an argument is weaker than the ceiling has it.
fn weaker(own: &Argument, above: &Argument, names: &BTreeMap<&str, &str>) -> Option<&'static str> {
    let allowed = |from: &String| {
        let Some(response) = from.strip_prefix("response:") else { return above.from.contains(from) };
        let (action, pointer) = response.split_once('#').map_or((response, None), |(action, at)| (action, Some(at)));
        let Some(action) = names.get(action) else { return false };
        let whole = format!("response:{action}");
        above.from.contains(&whole) || pointer.is_some_and(|pointer| above.from.contains(&format!("{whole}#{pointer}")))
    };
    match () {
        () if own.ty != above.ty => Some("the ceiling has it with another type"),
        () if own.list && !above.list => Some("the ceiling takes no list there"),
        () if above.required && !own.required => Some("the ceiling requires it"),
        () if above.binds && !own.binds => Some("it binds in the ceiling"),
        () if above.sensitive && !own.sensitive => Some("it is sensitive in the ceiling"),
        () if above.currency.is_some() != own.currency.is_some() => Some("the ceiling says its currency otherwise"),
        () if above.currency_argument().is_none() && above.currency != own.currency => {
            Some("the ceiling says its currency otherwise")
        }
        () if above.binds && !own.from.iter().all(allowed) => {
            Some("it may come from more sources than the ceiling allows")
        }
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVIDER: &str = r#"upstream = "bank"
[[action]]
name = "list"
method = "GET"
path = "/payments"
effect = "read"
[action.response.first_party]
"/*/to" = "account"
[[action]]
name = "pay"
method = "POST"
path = "/accounts/{from}/payments"
effect = "irreversible"
risk = "high"
[action.arguments]
from = { in = "path", type = "identifier", required = true, binds = true }
to = { in = "body", type = "account", required = true, binds = true, from = ["words", "response:list#/*/to"] }
memo = { in = "body", type = "text" }
"#;

    const OWN: &str = r#"upstream = "bank"
[[action]]
name = "payments"
method = "GET"
path = "/payments"
effect = "read"
[action.response.first_party]
"/*/to" = "account"
[[action]]
name = "send"
method = "POST"
path = "/accounts/{mine}/payments"
effect = "irreversible"
risk = "high"
[action.arguments]
mine = { in = "path", type = "identifier", required = true, binds = true }
payee = { in = "body", at = "/to", type = "account", required = true, binds = true, from = ["response:payments#/*/to"] }
"#;

    fn under(own: &str) -> Result<Catalogue, CatalogueError> {
        let ceiling = Ceiling { text: PROVIDER.to_owned(), statement: "s".to_owned(), kid: "k".to_owned() };
        Catalogue::parse(own)?.under(ceiling)
    }

    #[test]
    fn what_is_narrower_than_the_providers_catalogue_is_accepted_whatever_it_is_called() {
        assert_eq!(under(OWN).unwrap().ceiling().unwrap().kid, "k");
        assert!(under(PROVIDER).is_ok(), "a catalogue is under itself");
    }

    #[test]
    fn what_is_above_the_ceiling_is_refused_with_line_and_column() {
        for (from, to, line, part) in [
            ("upstream = \"bank\"", "upstream = \"shop\"", 1, "is of `bank`"),
            ("path = \"/payments\"", "path = \"/admin\"", 2, "the ceiling has no `GET /admin`"),
            ("effect = \"irreversible\"", "effect = \"write\"", 9, "calls it `irreversible`"),
            ("risk = \"high\"", "risk = \"low\"", 9, "higher `risk`"),
            ("risk = \"high\"\n", "", 9, "higher `risk`"),
            ("risk = \"high\"", "risk = \"high\"\nextra = \"allow\"", 9, "refuses undeclared"),
            ("\"/*/to\" = \"account\"", "\"/*/to\" = \"account\"\n\"/*/memo\" = \"text\"", 2, "`/*/memo`"),
            ("at = \"/to\"", "at = \"/cc\"", 17, "no argument there"),
            ("binds = true, from", "from", 17, "it binds in the ceiling"),
            ("[\"response:", "[\"attached\", \"response:", 17, "more sources"),
            ("#/*/to\"]", "\"]", 17, "more sources"),
            ("required = true, binds = true, from", "binds = true, from", 17, "requires it"),
            ("type = \"identifier\"", "type = \"text\"", 16, "another type"),
        ] {
            let changed = OWN.replacen(from, to, 1);
            assert_ne!(changed, OWN, "{from}");
            let error = under(&changed).map(|_| ()).unwrap_err();
            assert!(error.message.contains(part), "{to}: {error}");
            let moved = usize::from(to.contains('\n'));
            assert!((line..=line + moved).contains(&error.line), "{to}: {error}");
        }
    }
}
