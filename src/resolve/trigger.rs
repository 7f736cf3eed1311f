//! Triggers with the target's names.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Catalog, Firing, FunctionDef, Ident, QualifiedName, TableKind, Trigger, TriggerDef};
use crate::desired::Carry;
use crate::findings::rules::CONSTRAINT_NOT_CARRIED;
use crate::resolve::ResolvedTrigger;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::sql::function::parse as parse_function;
use crate::sql::name;
use crate::sql::trigger::{parse, renamed};

/// The fence puts triggers of these names on the source.
const RESERVED: [&str; 2] = ["pcrd_fence", "pcrd_no_truncate"];

/// What becomes of the triggers of everything that is migrated.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    pub(crate) carried: Vec<ResolvedTrigger>,
    /// What they call and the target lacks.
    pub(crate) functions: BTreeMap<QualifiedName, FunctionDef>,
    /// By source table: what stays behind, and why.
    pub(crate) left: BTreeMap<QualifiedName, BTreeMap<Ident, String>>,
}

impl Triggers {
    /// The functions as the source writes them.
    pub(crate) fn definitions(&self, source: &Catalog) -> BTreeMap<QualifiedName, String> {
        let text = |name: &QualifiedName| source.trigger_functions.as_ref()?.get(name)?.definition.clone();
        self.functions.keys().filter_map(|name| Some((name.clone(), text(name)?))).collect()
    }

    /// What functions that the target has may name, and nobody has looked for.
    pub(crate) fn unread(&self, scope: &Scope<'_>) -> Option<String> {
        let is_renamed = |(old, new): (&Ident, &Ident)| old != new;
        let is_otherwise =
            scope.name != scope.target_name || !scope.dropped.is_empty() || scope.renames.iter().any(is_renamed);
        let own = self.carried.iter().filter(|one| one.table == *scope.target_name);
        let own = own.filter(|one| !self.functions.contains_key(&one.def.function));
        let functions: BTreeSet<String> = own.map(|one| one.def.function.to_string()).collect();
        (is_otherwise && !functions.is_empty()).then(|| {
            let functions = functions.into_iter().collect::<Vec<_>>().join(", ");
            format!("what its triggers call ({functions}) may name what is renamed or dropped, and is not read by pcrd")
        })
    }
}

/// Every trigger that can be carried. A target with several sources has those that all of them have.
pub(crate) fn triggers(
    scopes: &[Scope<'_>],
    (source, target): (&Catalog, &Catalog),
    carry: Carry,
    report: &mut Report,
) -> Triggers {
    let mut out = Triggers::default();
    let mut seen = BTreeSet::new();
    for scope in scopes.iter().filter(|scope| seen.insert(scope.target_name)) {
        let onto: Vec<&Scope<'_>> = scopes.iter().filter(|one| one.target_name == scope.target_name).collect();
        let names: BTreeSet<&Ident> = onto.iter().flat_map(|one| one.table.triggers.keys()).collect();
        for name in names {
            let found = of_all(&onto, name, carry).and_then(|(def, firing)| {
                let made = function(&def.function, (&onto, scopes), (source, target))?;
                Ok((def, firing, made))
            });
            match found {
                Ok((def, firing, made)) => {
                    if let Some(made) = made
                        && out.functions.insert(def.function.clone(), made).is_none()
                    {
                        left_of(&def.function, (source, target), report);
                    }
                    let (table, name) = (scope.target_name.clone(), name.clone());
                    out.carried.push(ResolvedTrigger { table, name, def, firing });
                }
                Err(why) => onto.iter().for_each(|one| leave(one, name, &why, &mut out, report)),
            }
        }
    }
    out
}

fn leave(scope: &Scope<'_>, name: &Ident, why: &str, out: &mut Triggers, report: &mut Report) {
    let Some(trigger) = scope.table.triggers.get(name) else { return };
    if scope.table.constraints.get(name).is_some_and(|own| own.kind == crate::catalog::ConstraintKind::Trigger) {
        report.find(&CONSTRAINT_NOT_CARRIED, scope.address(name), format!("the target will not check it: {why}"));
    }
    let disabled = if trigger.enabled == Firing::Disabled.code() { " (it is disabled)" } else { "" };
    out.left.entry(scope.name.clone()).or_default().insert(name.clone(), format!("{why}{disabled}"));
}

fn of_all(onto: &[&Scope<'_>], name: &Ident, carry: Carry) -> Result<(TriggerDef, Firing), String> {
    if !carry.triggers {
        return Err("`migrate.carry` leaves it out".to_owned());
    }
    let of_one = |scope: &&Scope<'_>| {
        let trigger = scope.table.triggers.get(name).ok_or("not every source of the target has it")?;
        carried(scope, name, trigger)
    };
    let mut all = onto.iter().map(of_one).collect::<Result<Vec<_>, String>>()?;
    let first = all.pop().ok_or("the target has no source")?;
    if all.iter().any(|other| *other != first) {
        return Err("the sources of the target have different ones of this name".to_owned());
    }
    Ok(first)
}

fn carried(scope: &Scope<'_>, name: &Ident, trigger: &Trigger) -> Result<(TriggerDef, Firing), String> {
    if scope.split.is_some() {
        return Err("the table goes into several, and on which of them it is to fire nobody has said".to_owned());
    }
    if scope.table.kind == TableKind::Partitioned {
        return Err("triggers of partitioned tables are not carried yet".to_owned());
    }
    if RESERVED.contains(&name.as_str()) {
        return Err("the name is one of pcrd's own".to_owned());
    }
    if let Some(extension) = &trigger.extension {
        return Err(format!("it belongs to the extension {extension}"));
    }
    let firing = Firing::of(trigger.enabled)
        .ok_or_else(|| format!("pcrd does not know when it fires (tgenabled is `{}`)", trigger.enabled))?;
    let def = parse(&trigger.definition).and_then(|def| renamed(&def, &scope.renames));
    Ok((def.map_err(|error| error.to_string())?, firing))
}

/// The function, where the plan makes it: the target lacks it, and it can be carried. PostgreSQL's own are on every server.
fn function(
    function: &QualifiedName,
    (onto, scopes): (&[&Scope<'_>], &[Scope<'_>]),
    (source, target): (&Catalog, &Catalog),
) -> Result<Option<FunctionDef>, String> {
    if function.schema.as_str() == "pg_catalog" {
        return Ok(None);
    }
    let Some(there) = &target.trigger_functions else {
        return Err("the target's catalog was saved without its functions".to_owned());
    };
    if there.contains_key(function) {
        return Ok(None);
    }
    let why = match source.trigger_functions.as_ref().and_then(|functions| functions.get(function)) {
        None => "the source's catalog was saved without it".to_owned(),
        Some(found) if let Some(extension) = &found.extension => format!("it belongs to the extension {extension}"),
        Some(_) if !has_schema(function, scopes, target) => "its schema is not there either".to_owned(),
        Some(found) => match found.definition.as_deref().map(parse_function) {
            Some(Ok(def)) => match old_name(&def.body, onto, scopes) {
                None => return Ok(Some(def)),
                Some(old) => format!("its body names {old}"),
            },
            Some(Err(error)) => error.to_string(),
            None => "it is not written in PL/pgSQL".to_owned(),
        },
    };
    Err(format!(
        "its function {}() is not on the target, and not carried: {why}. Create it there first",
        name(function)
    ))
}

/// What a function names that is called otherwise on the target, or not there: a migrated table, a column of the table
/// that it fires for, or one of another table that it names. Comments count too: a trigger that is listed costs less than one that fails.
fn old_name(body: &str, onto: &[&Scope<'_>], scopes: &[Scope<'_>]) -> Option<String> {
    let own = |scope: &Scope<'_>| onto.iter().any(|one| one.name == scope.name);
    scopes.iter().find_map(|scope| {
        let is_named = has_word(body, scope.name.name.as_str());
        if is_named && scope.name != scope.target_name {
            return Some(format!("{}, which is {} on the target", scope.name, scope.target_name));
        }
        if !is_named && !own(scope) {
            return None;
        }
        let new = |old: &Ident| scope.renames.get(old).filter(|new| *new != old);
        scope.table.columns.iter().map(|column| &column.name).filter(|old| has_word(body, old.as_str())).find_map(
            |old| {
                let column = scope.address(old);
                let is_dropped =
                    scope.dropped.contains(old).then(|| format!("{column}, which the target does not have"));
                is_dropped.or_else(|| new(old).map(|new| format!("{column}, which is {new} on the target")))
            },
        )
    })
}

/// True where the name stands by itself in the text, in whatever case.
fn has_word(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let is_inside = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(&name)
        .any(|(at, _)| !text[..at].ends_with(is_inside) && !text[at + name.len()..].starts_with(is_inside))
}

/// The schema is there, or made for a table.
fn has_schema(function: &QualifiedName, scopes: &[Scope<'_>], target: &Catalog) -> bool {
    let is_own = |scope: &Scope<'_>| scope.target_name.schema == function.schema;
    target.schemas.contains(&function.schema) || scopes.iter().any(is_own)
}

/// What a function has on the source that it will not have.
fn left_of(function: &QualifiedName, (source, target): (&Catalog, &Catalog), report: &mut Report) {
    let Some(found) = source.trigger_functions.as_ref().and_then(|functions| functions.get(function)) else { return };
    let shown = format!("function {function}()");
    if target.roles.as_ref().is_none_or(|roles| roles.current != found.owner) {
        report.leave("owner", format!("{} of {shown}", found.owner), "functions stay with the role that makes them");
    }
    for grant in &found.grants {
        report.leave("grant", format!("{grant} on {shown}"), "no trigger needs it where it fires");
    }
}
