//! Policies and row security with the target's names: all of a table's, or none of it and no rights on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Catalog, Ident, Policy, PolicyDef, QualifiedName, RowSecurity, TableKind};
use crate::desired::Carry;
use crate::resolve::scope::Scope;
use crate::resolve::{ResolvedRowSecurity, ResolvedTable};
use crate::sql::policy::{as_on_source, has_query, has_row, quoted};

/// What becomes of the policies of everything that is migrated.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    pub(crate) carried: Vec<ResolvedRowSecurity>,
    /// By source table: why its row security stays behind.
    pub(crate) left: BTreeMap<QualifiedName, String>,
    /// By source table: what stays behind, and why.
    pub(crate) left_policies: BTreeMap<QualifiedName, BTreeMap<Ident, String>>,
    /// What is lost for want of a role.
    pub(crate) missing: BTreeMap<Ident, Vec<String>>,
}

/// Why a policy stays behind.
enum Left {
    Because(String),
    /// The target does not have the role.
    Role(Ident),
}

impl From<String> for Left {
    fn from(why: String) -> Self {
        Self::Because(why)
    }
}

impl Policies {
    /// True when everything that hides rows of the table on the source hides them on the target.
    pub(crate) fn is_carried(&self, target: &QualifiedName) -> bool {
        self.carried.iter().any(|one| one.table == *target)
    }

    /// What the functions of carried policies may name, and nobody has looked for.
    pub(crate) fn unread(&self, scope: &Scope<'_>) -> Option<String> {
        if !self.is_carried(scope.target_name) {
            return None;
        }
        let called: BTreeSet<&str> =
            scope.table.policies.values().flat_map(|policy| &policy.functions).map(String::as_str).collect();
        (!called.is_empty()).then(|| {
            let called = called.into_iter().collect::<Vec<_>>().join(", ");
            format!("what its policies call ({called}) is the target's own, and not compared with the source's")
        })
    }
}

/// The row security of every table that can be carried. A target with several sources has what all of them have.
pub(crate) fn policies(
    scopes: &[Scope<'_>],
    tables: &[ResolvedTable],
    (source, target): (&Catalog, &Catalog),
    carry: Carry,
) -> Policies {
    let mut out = Policies::default();
    let mut seen = BTreeSet::new();
    for scope in scopes.iter().filter(|scope| seen.insert(scope.target_name)) {
        let onto: Vec<&Scope<'_>> = scopes.iter().filter(|one| one.target_name == scope.target_name).collect();
        let has_any = |one: &&Scope<'_>| {
            one.table.row_security || one.table.row_security_forced || !one.table.policies.is_empty()
        };
        if !onto.iter().any(has_any) {
            continue;
        }
        match of_all(&onto, tables, (source, target), carry, &mut out) {
            Ok(security) => out.carried.push(ResolvedRowSecurity { table: scope.target_name.clone(), security }),
            Err(why) => onto.iter().for_each(|one| leave(one, &why, &mut out)),
        }
    }
    out
}

/// The table goes without all of it: some policies hide rows, some show them.
fn leave(scope: &Scope<'_>, why: &str, out: &mut Policies) {
    out.left.insert(scope.name.clone(), why.to_owned());
    let left = out.left_policies.entry(scope.name.clone()).or_default();
    for name in scope.table.policies.keys() {
        left.entry(name.clone()).or_insert_with(|| why.to_owned());
    }
}

/// What all sources of a target have.
///
/// # Errors
/// Why none of it is carried; what is wrong with one policy is in `out`.
fn of_all(
    onto: &[&Scope<'_>],
    tables: &[ResolvedTable],
    (source, target): (&Catalog, &Catalog),
    carry: Carry,
    out: &mut Policies,
) -> Result<RowSecurity, String> {
    if !carry.policies {
        return Err("`migrate.carry` leaves it out".to_owned());
    }
    if source.functions.is_none() {
        return Err("the source's catalog was saved without its policies".to_owned());
    }
    let mut found: Option<RowSecurity> = None;
    for scope in onto {
        let own = of_one(scope, tables, target, out)?;
        match &found {
            Some(other) if *other != own => {
                return Err("the sources of the target do not have the same policies and row security".to_owned());
            }
            _ => found = Some(own),
        }
    }
    found.ok_or_else(|| "the target has no source".to_owned())
}

fn of_one(
    scope: &Scope<'_>,
    tables: &[ResolvedTable],
    target: &Catalog,
    out: &mut Policies,
) -> Result<RowSecurity, String> {
    if scope.split.is_some() {
        return Err("the table goes into several, and which rows of them are to be hidden nobody has said".to_owned());
    }
    if scope.table.kind == TableKind::Partitioned {
        return Err("row security of partitioned tables is not carried yet".to_owned());
    }
    let of_scope = |table: &&ResolvedTable| table.source == *scope.name && table.target == *scope.target_name;
    let table = tables.iter().find(of_scope).ok_or_else(|| "the table is not migrated".to_owned())?;
    let mut policies = BTreeMap::new();
    let mut is_whole = true;
    for (name, policy) in &scope.table.policies {
        match carried(scope, policy, table, target) {
            Ok(def) => {
                policies.insert(name.clone(), def);
            }
            Err(left) => {
                let why = match left {
                    Left::Because(why) => why,
                    Left::Role(role) => {
                        let lost = format!("policy {name} of table {} is for it", scope.name);
                        out.missing.entry(role.clone()).or_default().push(lost);
                        format!("the target has no role {role}")
                    }
                };
                is_whole = false;
                out.left_policies.entry(scope.name.clone()).or_default().insert(name.clone(), why);
            }
        }
    }
    if !is_whole {
        return Err("not every policy of the table is carried".to_owned());
    }
    Ok(RowSecurity { enabled: scope.table.row_security, forced: scope.table.row_security_forced, policies })
}

fn carried(scope: &Scope<'_>, policy: &Policy, table: &ResolvedTable, target: &Catalog) -> Result<PolicyDef, Left> {
    let Some(roles) = &target.roles else {
        return Err(Left::Because("the target's catalog was saved without its roles".to_owned()));
    };
    if let Some(role) = policy.roles.iter().find(|role| !roles.login.contains_key(*role)) {
        return Err(Left::Role(role.clone()));
    }
    if let Some(other) = policy.others.first() {
        return Err(Left::Because(format!("it needs {other}")));
    }
    let Some(there) = &target.functions else {
        return Err(Left::Because("the target's catalog was saved without its functions".to_owned()));
    };
    if let Some(function) = policy.functions.iter().find(|function| !there.contains(*function)) {
        let why = format!("it calls {function}, which is not on the target, and not carried. Create it there first");
        return Err(Left::Because(why));
    }
    if let Some(column) = policy.columns.iter().find(|column| scope.dropped.contains(*column)) {
        return Err(Left::Because(format!("it reads the dropped column {column}")));
    }
    let mut reads = BTreeSet::new();
    let mut text = |text: &Option<String>| {
        let Some(text) = text else { return Ok::<_, Left>(None) };
        let unreadable = |error| format!("it cannot be read: {error}");
        if has_query(text).map_err(unreadable)? {
            return Err(Left::Because("it has a query whose names pcrd does not follow".to_owned()));
        }
        if has_row(text).map_err(unreadable)? {
            return Err(Left::Because("it reads the whole row".to_owned()));
        }
        let rewritten = scope.rename(text).map_err(unreadable)?;
        reads.extend(rewritten.reads);
        Ok(Some(rewritten.sql))
    };
    let (using, check) = (text(&policy.using)?, text(&policy.check)?);
    // The server knows what it reads; the names in its text are those, and no others.
    if !reads.iter().eq(&policy.columns) {
        return Err(Left::Because("pcrd cannot tell which names in it are columns".to_owned()));
    }
    let def = PolicyDef { using, check, ..policy.def() };
    is_of_the_same_values(scope, policy, table, &def)?;
    Ok(def)
}

/// Each column that it reads has on the target the values that it had, in whatever type.
fn is_of_the_same_values(
    scope: &Scope<'_>,
    policy: &Policy,
    table: &ResolvedTable,
    def: &PolicyDef,
) -> Result<(), Left> {
    let is_made = |column: &&Ident| scope.wish(column).is_some_and(|wish| wish.using.is_some());
    if let Some(column) = policy.columns.iter().find(is_made) {
        return Err(Left::Because(format!("it reads column {column}, which has other values on the target (`using`)")));
    }
    let wanted = table.wanted.columns.iter().map(|column| &column.name);
    let back = as_on_source(def, &table.projection, wanted);
    let own = scope.table.columns.iter().map(|column| &column.name);
    let own = quoted(&policy.def(), &scope.name.name, own);
    match (back, own) {
        (Ok(back), Ok(own)) if back == own => Ok(()),
        _ => Err(Left::Because("it reads a column whose values on the target are made of others too".to_owned())),
    }
}
