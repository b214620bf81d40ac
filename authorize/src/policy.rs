//! Guardrails beside the grant: what an organisation forbids whatever a user's instruction says, in Cedar. `docs/policy.md` has the reference.
//!
//! A policy never widens anything. The grant allows, policies only forbid, or make a call wait for a human; so a `permit` is refused rather
//! than ignored. What cannot be evaluated denies.

mod context;
mod schema;

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{
    ActionConstraint, Authorizer, Effect as CedarEffect, Entities, Policy, PolicyId, PolicySet, Request, Schema,
    ValidationMode, Validator,
};
use miette::Diagnostic;
use sha2::{Digest as _, Sha256};

pub(crate) use self::context::Asked;
use self::context::Types;
use crate::catalogue::{Action, Catalogue, Position, position::Lines};

/// The id of the policy that allows what the grant allowed already.
const GRANT: &str = "(the grant)";

/// Why policy files are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: line {line}, column {column}: {message}")]
pub struct PolicyError {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// A policy file: its name and its exact text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, as records have it.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl File {
    /// SHA-256 of the exact bytes.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }
}

/// What is known of an instruction beside its words: who gave it, for what, and on whose word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The user, as the host names them.
    pub user: String,
    /// The host that registered it.
    pub host: String,
    /// `user_key`, `identity_provider` or `host`.
    pub attested_by: String,
    /// What it is for, where that was said.
    pub purpose: Option<String>,
}

/// The policies in force, and the instruction they are asked about.
#[derive(Debug, Clone, Copy)]
pub struct Guard<'a> {
    /// The policies.
    pub policies: &'a Policies,
    /// The instruction.
    pub facts: &'a Facts,
}

/// What is said of one policy beside its rule.
#[derive(Debug, Clone, Default)]
struct About {
    /// Why a call waits for a human instead of being refused.
    hold: Option<String>,
    /// What a person is told.
    message: Option<String>,
}

/// Policies, checked against the catalogues they are for.
#[derive(Debug)]
pub struct Policies {
    files: Vec<File>,
    about: BTreeMap<PolicyId, About>,
    /// The policies that can concern an action, by its name in Cedar; most actions share theirs with many.
    by_action: BTreeMap<String, usize>,
    sets: Vec<PolicySet>,
    entities: Entities,
    types: Types,
}

/// What the policies say of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ruling {
    /// The policies that forbid it, with what a person is told.
    pub(crate) forbids: Vec<(String, String)>,
    /// The policies that make it wait.
    pub(crate) holds: Vec<(String, String)>,
    /// Why it could not be evaluated.
    pub(crate) failed: Option<String>,
}

/// A policy as read, with where it stands.
struct Read {
    policy: Policy,
    file: usize,
    at: Position,
}

impl Policies {
    /// Reads policy files and checks them, strictly, against the catalogues.
    ///
    /// # Errors
    /// [`PolicyError`] with file, line and column.
    pub fn parse<'c>(
        files: Vec<File>,
        catalogues: impl Iterator<Item = &'c Catalogue> + Clone,
    ) -> Result<Policies, PolicyError> {
        let text = schema::text(catalogues.clone());
        let schema = Schema::from_cedarschema_str(&text).map(|(schema, _)| schema);
        // Names in a catalogue are checked there; whatever is not understood here is a fault of this program, and still refuses.
        let schema = schema.map_err(|error| broken("schema", &error))?;
        let entities = schema.action_entities().map_err(|error| broken("schema", &error))?;
        let validator = Validator::new(schema);
        let empty = schema::empty_groups(catalogues.clone());
        let mut read = Vec::new();
        for (index, file) in files.iter().enumerate() {
            read.extend(read_file(index, file, &validator, &empty)?);
        }
        let mut about = BTreeMap::new();
        for one in &read {
            let annotation = |name| one.policy.annotation(name).map(str::to_owned);
            let known = About { hold: annotation("hold"), message: annotation("message") };
            if about.insert(one.policy.id().clone(), known).is_some() {
                let message = format!("there are two policies with the id `{}`", one.policy.id());
                return Err(error(&files, one, message));
            }
        }
        let types = Types::new().map_err(|error| broken("schema", &error))?;
        let mut policies = Policies { files, about, by_action: BTreeMap::new(), sets: Vec::new(), entities, types };
        policies.slice(&read, catalogues)?;
        Ok(policies)
    }

    /// Puts together what can concern each action, so that a call is not asked about policies for others.
    fn slice<'c>(&mut self, read: &[Read], catalogues: impl Iterator<Item = &'c Catalogue>) -> Result<(), PolicyError> {
        let grant = Policy::parse(Some(PolicyId::new(GRANT)), "permit(principal, action, resource);");
        let grant = grant.map_err(|error| broken("grant", &error))?;
        let scopes: Vec<Option<BTreeSet<String>>> = read.iter().map(|one| scope(&one.policy)).collect();
        let mut known: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        for catalogue in catalogues {
            for action in catalogue.actions() {
                let (name, groups) = (schema::name(catalogue.upstream(), &action.name), schema::groups(action));
                let concerns = |scope: &Option<BTreeSet<String>>| {
                    scope
                        .as_ref()
                        .is_none_or(|scope| scope.contains(&name) || groups.iter().any(|group| scope.contains(*group)))
                };
                let which: Vec<usize> =
                    scopes.iter().enumerate().filter(|(_, scope)| concerns(scope)).map(|(index, _)| index).collect();
                if which.is_empty() {
                    continue;
                }
                let set = match known.get(&which) {
                    Some(set) => *set,
                    None => {
                        let of_action = which.iter().filter_map(|index| read.get(*index)).map(|one| one.policy.clone());
                        let set = PolicySet::from_policies(of_action.chain([grant.clone()]));
                        self.sets.push(set.map_err(|error| broken("policies", &error))?);
                        known.insert(which, self.sets.len() - 1);
                        self.sets.len() - 1
                    }
                };
                self.by_action.insert(name, set);
            }
        }
        Ok(())
    }

    /// The files, in the order of the configuration.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The ids of all policies, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.about.keys().map(AsRef::as_ref)
    }

    /// The schema that policies are checked against, in Cedar's own form.
    pub fn schema<'c>(catalogues: impl Iterator<Item = &'c Catalogue>) -> String {
        schema::text(catalogues)
    }

    /// What the policies say of a call that the grant allows.
    pub(crate) fn ask(&self, upstream: &str, action: &Action, asked: &Asked<'_>) -> Ruling {
        let set = self.by_action.get(&schema::name(upstream, &action.name)).and_then(|index| self.sets.get(*index));
        // Nothing can concern it, so nothing is put together.
        let Some(set) = set else { return Ruling::default() };
        let request = match asked.request(&self.types, upstream, action) {
            Ok(request) => request,
            Err(what) => return Ruling { failed: Some(what), ..Ruling::default() },
        };
        self.rule(&request, set)
    }

    fn rule(&self, request: &Request, set: &PolicySet) -> Ruling {
        let response = Authorizer::new().is_authorized(request, set, &self.entities);
        let failed = response.diagnostics().errors().next().map(ToString::to_string);
        let mut ruling = Ruling { failed, ..Ruling::default() };
        let mut deciding: Vec<&PolicyId> = response.diagnostics().reason().collect();
        deciding.sort();
        for id in deciding {
            // What is not known is the grant's own permit.
            let Some(about) = self.about.get(id) else { continue };
            let said = about.message.as_ref().or(about.hold.as_ref()).cloned().unwrap_or_default();
            let list = if about.hold.is_some() { &mut ruling.holds } else { &mut ruling.forbids };
            list.push((id.to_string(), said));
        }
        ruling
    }
}

/// The actions and groups that a policy's head names; none when it names no action, and so concerns all.
fn scope(policy: &Policy) -> Option<BTreeSet<String>> {
    let id = |uid: cedar_policy::EntityUid| uid.id().unescaped().to_owned();
    match policy.action_constraint() {
        ActionConstraint::Any => None,
        ActionConstraint::Eq(uid) => Some([id(uid)].into()),
        ActionConstraint::In(uids) => Some(uids.into_iter().map(id).collect()),
    }
}

fn read_file(
    index: usize,
    file: &File,
    validator: &Validator,
    empty: &BTreeSet<&'static str>,
) -> Result<Vec<Read>, PolicyError> {
    let lines = Lines::new(&file.text);
    let at = |offset: usize, message: String| {
        let Position { line, column } = lines.position(offset);
        PolicyError { file: file.name.clone(), line, column, message }
    };
    let set: PolicySet = file.text.parse().map_err(|errors: cedar_policy::ParseErrors| {
        let first = errors.iter().next();
        let offset = first.and_then(|error| offset(error)).or(offset(&errors)).unwrap_or(0);
        at(offset, first.map_or_else(|| errors.to_string(), ToString::to_string))
    })?;
    if let Some(template) = set.templates().next() {
        let offset = file.text.find(&template.to_cedar()).unwrap_or(0);
        return Err(at(offset, "a policy with `?principal` or `?resource` is a template; write it out".to_owned()));
    }
    // A policy for a group that has no action here is one for other sidecars of the organisation.
    let elsewhere =
        |policy: &&Policy| scope(policy).is_some_and(|scope| scope.iter().all(|name| empty.contains(name.as_str())));
    let here = PolicySet::from_policies(set.policies().filter(|policy| !elsewhere(policy)).cloned());
    let here = here.map_err(|error| at(0, error.to_string()))?;
    let result = validator.validate(&here, ValidationMode::Strict);
    if let Some(error) = result.validation_errors().next() {
        let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
        return Err(at(offset(error).unwrap_or(0), format!("{error}{help}")));
    }
    // A policy that can never apply is a mistake in what was meant as protection.
    if let Some(warning) = result.validation_warnings().next() {
        return Err(at(offset(warning).unwrap_or(0), warning.to_string()));
    }
    let mut read = Vec::new();
    let (mut from, mut policies): (usize, Vec<&Policy>) = (0, set.policies().collect());
    // Cedar numbers them as they stand.
    policies.sort_by_key(|policy| policy.id().to_string().trim_start_matches("policy").parse::<usize>().ok());
    for (number, policy) in policies.into_iter().enumerate() {
        let text = policy.to_cedar().unwrap_or_default();
        let found = file.text.get(from..).and_then(|rest| rest.find(&text)).map_or(from, |found| from + found);
        from = found + text.len();
        if policy.effect() == CedarEffect::Permit {
            let message =
                "a `permit` has no effect here: the grant allows, a policy only forbids; write `forbid … unless`";
            return Err(at(found, message.to_owned()));
        }
        let id = policy.annotation("id").filter(|id| !id.is_empty());
        let id = id.map_or_else(|| format!("{}#{}", file.name, number + 1), str::to_owned);
        if id == GRANT {
            return Err(at(found, format!("the id `{GRANT}` is taken")));
        }
        read.push(Read { policy: policy.new_id(PolicyId::new(id)), file: index, at: lines.position(found) });
    }
    Ok(read)
}

/// Where in the text an error of Cedar is.
fn offset(error: &dyn Diagnostic) -> Option<usize> {
    error.labels()?.next().map(|label| label.offset())
}

fn error(files: &[File], read: &Read, message: String) -> PolicyError {
    let file = files.get(read.file).map(|file| file.name.clone()).unwrap_or_default();
    PolicyError { file, line: read.at.line, column: read.at.column, message }
}

fn broken(file: &str, what: &dyn std::fmt::Display) -> PolicyError {
    PolicyError { file: format!("({file})"), line: 1, column: 1, message: what.to_string() }
}

#[cfg(test)]
mod tests;
