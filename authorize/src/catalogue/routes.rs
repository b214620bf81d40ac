//! From a request's operation to the action: HTTP by path segment, where a literal wins over an argument; MCP by name or URI.

use std::collections::{BTreeMap, BTreeSet};

use super::{Route, uri::Template};
use crate::{Refusal, request::Operation, request::Request};

/// All routes of a catalogue; each names an action by its index.
#[derive(Debug, Clone, Default)]
pub(super) struct Routes {
    paths: Paths,
    tools: BTreeMap<String, usize>,
    prompts: BTreeMap<String, usize>,
    uris: BTreeMap<String, usize>,
    templates: Vec<(Template, usize)>,
}

impl Routes {
    /// Adds a route; gives the one that is the same already.
    pub(super) fn insert(&mut self, route: &Route, index: usize) -> Result<Option<usize>, String> {
        Ok(match route {
            Route::Http { method, path } => self.paths.insert(path, method, index),
            Route::Tool(name) => self.tools.insert(name.clone(), index),
            Route::Prompt(name) => self.prompts.insert(name.clone(), index),
            Route::Resource(uri) => {
                let template = Template::parse(uri)?;
                if template.arguments().next().is_none() {
                    return Ok(self.uris.insert(uri.clone(), index));
                }
                let same = self.templates.iter().find(|(other, _)| other.is_like(&template)).map(|(_, other)| *other);
                self.templates.push((template, index));
                same
            }
        })
    }

    /// The action that a request is.
    ///
    /// # Errors
    /// [`Refusal`] when a resource's URI is written in two ways, or could be of two templates.
    pub(super) fn find(&self, request: &Request) -> Result<Option<usize>, Refusal> {
        Ok(match request.operation() {
            Operation::Http => self.paths.find(request.segments(), request.method().as_str()),
            Operation::Plumbing | Operation::Model | Operation::Models => None,
            Operation::Tool => self.tools.get(request.target()).copied(),
            Operation::Prompt => self.prompts.get(request.target()).copied(),
            Operation::Resource => match self.uris.get(request.target()) {
                Some(index) => Some(*index),
                None => self.of_template(request.target())?,
            },
        })
    }

    /// The actions with a path that some request of this route fits too.
    pub(super) fn overlaps(&self, route: &Route) -> Vec<usize> {
        let mut found = Vec::new();
        if let Route::Http { method, path } = route {
            let segments: Vec<Segment<'_>> = template(path).collect();
            self.paths.overlaps(&segments, method, &mut found);
        }
        found
    }

    fn of_template(&self, uri: &str) -> Result<Option<usize>, Refusal> {
        let mut found = None;
        for (template, index) in &self.templates {
            if template.values(uri)?.is_some() && found.replace(*index).is_some() {
                let message =
                    format!("the resource `{uri}` fits two templates of the catalogue, and servers choose differently");
                return Err(Refusal::new("resource-ambiguous", message));
            }
        }
        Ok(found)
    }
}

/// A tree of path segments.
#[derive(Debug, Clone, Default)]
struct Paths {
    literals: BTreeMap<String, Paths>,
    /// The literals in lower case: some routers do not mind case.
    lowered: BTreeSet<String>,
    argument: Option<Box<Paths>>,
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

impl Paths {
    /// Adds a route; gives the one that has the same method and path already.
    fn insert(&mut self, path: &str, method: &str, index: usize) -> Option<usize> {
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

    fn overlaps(&self, segments: &[Segment<'_>], method: &str, found: &mut Vec<usize>) {
        let Some((segment, rest)) = segments.split_first() else { return found.extend(self.by_method.get(method)) };
        let argument = self.argument.as_deref();
        let next: Vec<&Paths> = match segment {
            Segment::Literal(literal) => self.literals.get(*literal).into_iter().chain(argument).collect(),
            Segment::Argument(_) => self.literals.values().chain(argument).collect(),
        };
        next.into_iter().for_each(|next| next.overlaps(rest, method, found));
    }

    /// The route of a request.
    fn find(&self, segments: &[String], method: &str) -> Option<usize> {
        let Some((segment, rest)) = segments.split_first() else { return self.by_method.get(method).copied() };
        let literal = self.literals.get(segment).and_then(|route| route.find(rest, method));
        literal.or_else(|| self.argument_for(segment)?.find(rest, method))
    }

    /// The argument that a segment can be. A literal in other letters is none: a router that does not mind case would take the literal.
    fn argument_for(&self, segment: &str) -> Option<&Paths> {
        let argument = self.argument.as_deref()?;
        let another = !self.literals.contains_key(segment) && self.lowered.contains(&segment.to_lowercase());
        (!segment.is_empty() && !another).then_some(argument)
    }
}
