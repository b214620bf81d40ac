//! Routes by path segment: a literal wins over an argument.

use std::collections::{BTreeMap, BTreeSet};

/// A tree of path segments.
#[derive(Debug, Clone, Default)]
pub(super) struct Routes {
    literals: BTreeMap<String, Routes>,
    /// The literals in lower case: some routers do not mind case.
    lowered: BTreeSet<String>,
    argument: Option<Box<Routes>>,
    by_method: BTreeMap<String, usize>,
}

/// A segment of a path template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment<'t> {
    /// Stands for itself.
    Literal(&'t str),
    /// `{name}`: stands for any one segment.
    Argument(&'t str),
}

/// The segments of a template. A `/` at the end makes an empty last one.
pub(super) fn template(path: &str) -> impl Iterator<Item = Segment<'_>> {
    let rest = path.strip_prefix('/').filter(|rest| !rest.is_empty());
    rest.into_iter().flat_map(|rest| rest.split('/')).map(|segment| {
        match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
            Some(name) => Segment::Argument(name),
            None => Segment::Literal(segment),
        }
    })
}

impl Routes {
    /// Adds a route; gives the one that has the same method and path already.
    pub(super) fn insert(&mut self, path: &str, method: &str, index: usize) -> Option<usize> {
        let mut route = self;
        for segment in template(path) {
            route = match segment {
                Segment::Literal(literal) => {
                    route.lowered.insert(literal.to_lowercase());
                    route.literals.entry(literal.to_owned()).or_default()
                }
                Segment::Argument(_) => route.argument.get_or_insert_default(),
            };
        }
        route.by_method.insert(method.to_owned(), index)
    }

    /// The route of a request.
    pub(super) fn find(&self, segments: &[String], method: &str) -> Option<usize> {
        let Some((segment, rest)) = segments.split_first() else { return self.by_method.get(method).copied() };
        let literal = self.literals.get(segment).and_then(|route| route.find(rest, method));
        literal.or_else(|| self.argument_for(segment)?.find(rest, method))
    }

    /// The argument that a segment can be. A literal in other letters is none: a router that does not mind case would take the literal.
    fn argument_for(&self, segment: &str) -> Option<&Routes> {
        let argument = self.argument.as_deref()?;
        let another = !self.literals.contains_key(segment) && self.lowered.contains(&segment.to_lowercase());
        (!segment.is_empty() && !another).then_some(argument)
    }
}
