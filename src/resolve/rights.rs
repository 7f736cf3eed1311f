//! Owners and grants for the target: what its roles allow is carried, the rest is listed by name.
//!
//! No grant reaches further than on the source: rows of several sources are for those who may see all of them, and a table
//! whose policies stay behind is for its owner alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{
    AclItem, Catalog, Column, ColumnRef, DefaultGrants, GrantTarget, Holding, Ident, OwnerTarget, QualifiedName, Right,
    Roles, SchemaRights, TypeDef,
};
use crate::desired::Carry;
use crate::findings::rules::TARGET_GRANTS;
use crate::resolve::policy::Policies;
use crate::resolve::report::Report;
use crate::resolve::rights_said::{self, LeftWithout};
use crate::resolve::scope::Scope;
use crate::resolve::view::{self, Views};
use crate::resolve::view_rights;
use crate::resolve::{ResolvedGrant, ResolvedOwner, ResolvedRights, ResolvedSequence, ResolvedTable};

const ROLES_UNKNOWN: &str = "the target's catalog was saved without its roles";
const NARROWED: &str = "`migrate.carry` leaves it out";
const MIXED: &str = "its values are made of other columns too, which the role may not see";
const SCHEMA_THERE: &str =
    "the target has the schema already: who owns it, who may create there and what everybody may is its own affair";
const WAS_PUBLIC: &str = "the schema is made out of `public`, which is open to everybody and the database owner's";
const OWNERLESS: Option<&str> =
    Some("the view reads with its owner's rights, and does not belong to that of the source on the target");
pub(crate) const UNGUARDED: &str =
    "the table's policies are not carried, and without them the role would see every row";

/// Where rights come from.
pub(crate) struct Origin<'a> {
    pub(crate) shown: String,
    pub(crate) owner: &'a Ident,
    pub(crate) grants: &'a [String],
    /// The schema that every database has from its beginning, under another name.
    pub(crate) was_public: bool,
    /// Why nobody else than the owner gets a right that somebody has there.
    pub(crate) kept_back: Option<&'static str>,
}

/// An object of the target and where its rights come from.
pub(crate) struct Object<'a> {
    pub(crate) on: GrantTarget,
    /// Set where the owner is set for it, and not for what it belongs to; with the sequences that go along.
    pub(crate) owned: Option<(OwnerTarget, Vec<QualifiedName>)>,
    pub(crate) origins: Vec<Origin<'a>>,
    /// What the target has already.
    pub(crate) found: Option<&'a SchemaRights>,
    /// It reads with its owner's rights, so that nobody else may use it while it belongs to another role than on the source.
    pub(crate) reads_as_owner: bool,
}

/// What becomes of the owners and grants of everything that is migrated.
pub(crate) fn rights(
    scopes: &[Scope<'_>],
    (tables, sequences, views): (&[ResolvedTable], &[ResolvedSequence], &Views),
    (source, target): (&Catalog, &Catalog),
    (carry, policies): (Carry, &Policies),
    report: &mut Report,
) -> ResolvedRights {
    let mut work = Work {
        target,
        carry,
        missing: policies.missing.clone(),
        left: BTreeMap::new(),
        owners: BTreeMap::new(),
        out: ResolvedRights::default(),
    };
    let of_types = type_schemas(&report.types, target);
    let mut objects = schemas(scopes, sequences, (&of_types, views), (source, target));
    objects.extend(self::tables(scopes, (tables, sequences), policies));
    objects.extend(of_sequences(sequences, source));
    objects.extend(view_rights::of_views(views, scopes, source, policies, report));
    for object in &mut objects {
        work.owner(object, report);
        if object.reads_as_owner && !work.has_owner_of_source(object) {
            object.origins.iter_mut().for_each(|origin| origin.kept_back = origin.kept_back.or(OWNERLESS));
        }
        work.grants(object, report);
    }
    dropped_columns(scopes, report);
    rights_said::missing(&work.missing, source, report);
    rights_said::left(&work.left, (source, target), carry, report);
    defaults(scopes, source, target, report);
    work.out
}

/// Schemas that are made for types, which keep their names. One that the target has keeps its rights.
pub(crate) fn type_schemas(types: &BTreeMap<QualifiedName, TypeDef>, target: &Catalog) -> BTreeSet<Ident> {
    let made = types.iter().flat_map(|(name, def)| def.makes(name)).map(|name| &name.schema);
    made.filter(|schema| !target.schemas.contains(schema)).cloned().collect()
}

fn schemas<'a>(
    scopes: &[Scope<'a>],
    sequences: &[ResolvedSequence],
    (of_types, views): (&BTreeSet<Ident>, &Views),
    (source, target): (&'a Catalog, &'a Catalog),
) -> Vec<Object<'a>> {
    let mut from: BTreeMap<&Ident, BTreeSet<&Ident>> =
        of_types.iter().map(|own| (own, BTreeSet::from([own]))).collect();
    for scope in scopes {
        from.entry(&scope.target_name.schema).or_default().insert(&scope.name.schema);
    }
    for (schema, origin) in view::schemas(views, target) {
        from.entry(schema).or_default().insert(origin);
    }
    for sequence in sequences {
        let origins = sequence.source.iter().chain(&sequence.further).map(|name| &name.schema);
        from.entry(&sequence.target.schema).or_default().extend(origins);
    }
    let object = |(schema, origins): (&Ident, BTreeSet<&Ident>)| {
        let is_new = !target.schemas.contains(schema);
        let found = target.schema_rights.get(schema);
        let origin = |name: &Ident| {
            let rights = source.schema_rights.get(name)?;
            let shown = format!("schema {name}");
            let was_public = *name == public() && schema != name;
            Some(Origin { shown, owner: &rights.owner, grants: &rights.grants, was_public, kept_back: None })
        };
        Object {
            on: GrantTarget::Schema(schema.clone()),
            owned: is_new.then(|| (OwnerTarget::Schema(schema.clone()), Vec::new())),
            origins: origins.into_iter().filter_map(origin).collect(),
            found: found.filter(|_| !is_new),
            reads_as_owner: false,
        }
    };
    from.into_iter().map(object).collect()
}

fn tables<'a>(
    scopes: &[Scope<'a>],
    (tables, sequences): (&[ResolvedTable], &[ResolvedSequence]),
    policies: &Policies,
) -> Vec<Object<'a>> {
    let mut objects = Vec::new();
    let mut seen = BTreeSet::new();
    for scope in scopes.iter().filter(|scope| seen.insert(scope.target_name)) {
        let target = scope.target_name;
        let onto: Vec<&Scope<'a>> = scopes.iter().filter(|one| one.target_name == target).collect();
        let follow = sequences.iter().filter(|one| one.wanted.owned_by.as_ref().is_some_and(|at| &at.table == target));
        let origin = |scope: &Scope<'a>, shown: String, grants: &'a [String]| Origin {
            shown,
            owner: &scope.table.owner,
            grants,
            was_public: false,
            kept_back: (scope.table.row_security && !policies.is_carried(scope.target_name)).then_some(UNGUARDED),
        };
        let whole = |one: &Scope<'a>| origin(one, format!("table {}", one.name), &one.table.grants);
        objects.push(Object {
            on: GrantTarget::Table(target.clone()),
            owned: Some((OwnerTarget::Table(target.clone()), follow.map(|sequence| sequence.target.clone()).collect())),
            origins: onto.iter().copied().map(whole).collect(),
            found: None,
            reads_as_owner: false,
        });
        // Few tables have any.
        if onto.iter().all(|one| one.table.columns.iter().all(|own| own.grants.is_empty())) {
            continue;
        }
        let columns: BTreeSet<&Ident> = onto.iter().flat_map(|one| one.renames.values()).collect();
        for column in columns {
            let of_column = |one: &Scope<'a>| {
                let own = one.table.columns.iter().find(|own| one.renames.get(&own.name) == Some(column));
                let shown = format!("column {}.{}", one.name, own.map_or(column, |own| &own.name));
                let has_grants = own.is_some_and(|own| !own.grants.is_empty());
                let mixed = own.filter(|own| has_grants && is_mixed(one, own, column, tables)).map(|_| MIXED);
                let found = origin(one, shown, own.map_or(&[], |own| &own.grants));
                Origin { kept_back: found.kept_back.or(mixed), ..found }
            };
            let origins: Vec<Origin<'a>> = onto.iter().copied().map(of_column).collect();
            if origins.iter().any(|origin| !origin.grants.is_empty()) {
                let at = ColumnRef { table: target.clone(), column: column.clone() };
                let on = GrantTarget::Column(at);
                objects.push(Object { on, owned: None, origins, found: None, reads_as_owner: false });
            }
        }
    }
    objects
}

/// True unless the target's column has the values of this one alone: what is generated reads others.
fn is_mixed(scope: &Scope<'_>, own: &Column, column: &Ident, tables: &[ResolvedTable]) -> bool {
    let of_scope = |table: &&ResolvedTable| table.source == *scope.name && table.target == *scope.target_name;
    let projection = tables.iter().find(of_scope).map(|table| &table.projection);
    projection.and_then(|projection| projection.only_read(column)) != Some(&own.name)
}

fn of_sequences<'a>(sequences: &[ResolvedSequence], source: &'a Catalog) -> Vec<Object<'a>> {
    let object = |sequence: &ResolvedSequence| {
        let names = sequence.source.iter().chain(&sequence.further);
        let origins = names.filter_map(|name| {
            let own = source.sequences.get(name)?;
            let shown = format!("sequence {name}");
            Some(Origin { shown, owner: &own.owner, grants: &own.grants, was_public: false, kept_back: None })
        });
        let is_free = sequence.wanted.owned_by.is_none();
        Object {
            on: GrantTarget::Sequence(sequence.target.clone()),
            owned: is_free.then(|| (OwnerTarget::Sequence(sequence.target.clone()), Vec::new())),
            origins: origins.collect(),
            found: None,
            reads_as_owner: false,
        }
    };
    sequences.iter().map(object).collect()
}

struct Work<'a> {
    target: &'a Catalog,
    carry: Carry,
    /// What is lost for want of a role.
    missing: BTreeMap<Ident, Vec<String>>,
    /// Owners that stay without what is theirs.
    left: BTreeMap<Ident, LeftWithout>,
    /// Owners that tables and sequences will have.
    owners: BTreeMap<QualifiedName, Ident>,
    out: ResolvedRights,
}

impl Work<'_> {
    fn owner(&mut self, object: &Object<'_>, report: &mut Report) {
        if let Some(found) = object.found.filter(|_| object.on != GrantTarget::Schema(public())) {
            for origin in object.origins.iter().filter(|origin| *origin.owner != found.owner) {
                report.leave("owner", format!("{} of {}", origin.owner, origin.shown), SCHEMA_THERE);
            }
        }
        if object.owned.is_some() && object.origins.iter().any(|origin| origin.was_public) {
            for origin in &object.origins {
                report.leave("owner", format!("{} of {}", origin.owner, origin.shown), WAS_PUBLIC);
            }
            return;
        }
        let (Some((on, follow)), Some(first)) = (&object.owned, object.origins.first()) else { return };
        let current = self.target.roles.as_ref().map(|roles| roles.current.clone());
        let owner = self.carried_owner(object, first.owner, report);
        if let Some(owner) = owner.clone().filter(|owner| Some(owner) != current.as_ref()) {
            self.out.owners.push(ResolvedOwner { on: on.clone(), owner, sequences: follow.clone() });
        }
        let Some(owner) = owner.or(current) else { return };
        if let OwnerTarget::Table(name) | OwnerTarget::Sequence(name) = on {
            self.owners.extend(follow.iter().chain([name]).map(|one| (one.clone(), owner.clone())));
        }
    }

    /// `None` where the object stays with the role that makes it.
    fn carried_owner(&mut self, object: &Object<'_>, owner: &Ident, report: &mut Report) -> Option<Ident> {
        let is_shared = object.origins.iter().any(|origin| origin.owner != owner);
        let why = match &self.target.roles {
            Some(roles) if !is_shared && *owner == roles.current => return Some(owner.clone()),
            _ if !self.carry.owners => {
                self.leave_without(object, None);
                NARROWED
            }
            None => ROLES_UNKNOWN,
            Some(_) if is_shared => "the sources belong to different roles",
            Some(roles) if roles.out_of_reach.contains(owner) => {
                self.leave_without(object, None);
                "the role that applies the plan may not give it anything"
            }
            Some(roles) if let Some(schema) = kept_from(object, owner, roles) => {
                self.leave_without(object, Some(schema));
                "it may not create in the schema, which whoever is given something must, and the role that applies may not let it"
            }
            Some(roles) if roles.login.contains_key(owner) => return Some(owner.clone()),
            Some(_) => {
                let lost = object.origins.iter().map(|origin| format!("{} belongs to it", origin.shown));
                self.missing.entry(owner.clone()).or_default().extend(lost);
                "the target has no such role"
            }
        };
        for origin in &object.origins {
            report.leave("owner", format!("{} of {}", origin.owner, origin.shown), why);
        }
        None
    }

    fn has_owner_of_source(&self, object: &Object<'_>) -> bool {
        let owner = self.owner_of(object);
        object.origins.iter().all(|origin| owner == Some(origin.owner))
    }

    fn leave_without(&mut self, object: &Object<'_>, kept_from: Option<&Ident>) {
        for origin in &object.origins {
            let left = self.left.entry(origin.owner.clone()).or_default();
            left.what.push(origin.shown.clone());
            left.kept_from.extend(kept_from.cloned());
        }
    }

    fn grants(&mut self, object: &Object<'_>, report: &mut Report) {
        let items: Vec<Holding> = object.origins.iter().map(|origin| items(origin, report)).collect();
        let grantees: BTreeSet<&Option<Ident>> =
            items.iter().flat_map(|own| &own.grants).map(|item| &item.grantee).collect();
        for to in grantees {
            let has: Vec<BTreeMap<Right, bool>> = items.iter().map(|own| own.granted(to.as_ref())).collect();
            let all: BTreeSet<Right> = has.iter().flat_map(|own| own.keys().copied()).collect();
            let (mut rights, mut grantable) = (Vec::new(), Vec::new());
            let mut left: BTreeMap<&str, Vec<Right>> = BTreeMap::new();
            for right in all {
                let mut both = object.origins.iter().zip(&has);
                let is_everywhere =
                    both.all(|(origin, own)| own.contains_key(&right) || Some(origin.owner) == to.as_ref());
                if !is_everywhere {
                    left.entry("not every source of the target has it").or_default().push(right);
                    continue;
                }
                let option = has.iter().all(|own| own.get(&right).copied().unwrap_or(true));
                match self.why_not(object, to.as_ref(), (right, option)) {
                    Some(Left::Needless) => {}
                    Some(Left::Listed(why)) => left.entry(why).or_default().push(right),
                    None if option => grantable.push(right),
                    None => rights.push(right),
                }
            }
            for (why, lost) in left {
                for (origin, own) in object.origins.iter().zip(&has) {
                    let words: Vec<&str> =
                        lost.iter().filter(|right| own.contains_key(right)).map(|right| right.word()).collect();
                    if !words.is_empty() {
                        let name = format!("{} to {} on {}", words.join(", "), shown(to), origin.shown);
                        report.leave("grant", name, why);
                    }
                }
            }
            if !rights.is_empty() || !grantable.is_empty() {
                self.out.grants.push(ResolvedGrant { on: object.on.clone(), to: to.clone(), rights, grantable });
            }
        }
    }

    fn why_not(&mut self, object: &Object<'_>, to: Option<&Ident>, (right, option): (Right, bool)) -> Option<Left> {
        if to.is_some() && to == self.owner_of(object) {
            return Some(Left::Needless);
        }
        if let Some(found) = object.found {
            if is_there(found, to, (right, option)) {
                return Some(Left::Needless);
            }
            if right == Right::Create || to.is_none() {
                return Some(Left::Listed(SCHEMA_THERE));
            }
        }
        if right == Right::Create && to.is_none() && object.origins.iter().any(|origin| origin.was_public) {
            return Some(Left::Listed(WAS_PUBLIC));
        }
        if !self.carry.grants {
            return Some(Left::Listed(NARROWED));
        }
        if let Some(why) = object.origins.iter().find_map(|origin| origin.kept_back) {
            return Some(Left::Listed(why));
        }
        let Some(roles) = &self.target.roles else { return Some(Left::Listed(ROLES_UNKNOWN)) };
        if let Some(role) = to.filter(|role| !roles.login.contains_key(*role)) {
            let lost = object.origins.iter().map(|origin| format!("it may {} on {}", right.word(), origin.shown));
            self.missing.entry(role.clone()).or_default().extend(lost);
            return Some(Left::Listed("the target has no such role"));
        }
        if self.target.server.major() < right.since() {
            return Some(Left::Listed("the target's version has no such right"));
        }
        None
    }

    /// The owner that the object will have.
    fn owner_of<'o>(&'o self, object: &'o Object<'_>) -> Option<&'o Ident> {
        match &object.on {
            GrantTarget::Table(name) | GrantTarget::Sequence(name) => self.owners.get(name),
            GrantTarget::Column(at) => self.owners.get(&at.table),
            GrantTarget::Schema(schema) => {
                let set =
                    self.out.owners.iter().find(|one| matches!(&one.on, OwnerTarget::Schema(own) if own == schema));
                let current = self.target.roles.as_ref().map(|roles| &roles.current);
                set.map(|one| &one.owner).or(object.found.map(|found| &found.owner)).or(current)
            }
        }
    }
}

/// The schema of the target in which the owner may not create what it is to be given.
fn kept_from<'o>(object: &'o Object<'_>, owner: &Ident, roles: &Roles) -> Option<&'o Ident> {
    let Some((OwnerTarget::Table(name) | OwnerTarget::Sequence(name), _)) = &object.owned else { return None };
    roles.kept_from.get(&name.schema).is_some_and(|kept| kept.contains(owner)).then_some(&name.schema)
}

/// Why a right is not granted.
enum Left {
    /// The role has it anyway.
    Needless,
    /// It is lost.
    Listed(&'static str),
}

/// The grants of an object but for those of its owner to itself.
fn items(origin: &Origin<'_>, report: &mut Report) -> Holding {
    let mut found = Vec::new();
    for text in origin.grants {
        let Some(item) = AclItem::parse(text) else {
            report.leave("grant", format!("{text} on {}", origin.shown), "of a form that this pcrd does not know");
            continue;
        };
        if item.grantee.as_ref() == Some(origin.owner) {
            continue;
        }
        if item.grantor != *origin.owner {
            let name = format!("{} for {} on {}", item.grantor, shown(&item.grantee), origin.shown);
            report.leave("grantor", name, "on the target the owner grants it");
        }
        found.push(item);
    }
    Holding { owner: origin.owner.clone(), grants: found }
}

/// Every database has it from its beginning.
fn public() -> Ident {
    Ident::new("public").expect("it is a name")
}

/// The right, with its grant option where that is wanted.
fn is_there(found: &SchemaRights, to: Option<&Ident>, (right, option): (Right, bool)) -> bool {
    let is_for = |item: &AclItem| item.grantee.is_none() || item.grantee.as_ref() == to;
    let parsed = found.grants.iter().filter_map(|text| AclItem::parse(text));
    parsed.filter(is_for).any(|item| item.rights.iter().any(|held| held.right == right && (held.grantable || !option)))
}

fn shown(to: &Option<Ident>) -> String {
    to.as_ref().map_or_else(|| "PUBLIC".to_owned(), ToString::to_string)
}

fn dropped_columns(scopes: &[Scope<'_>], report: &mut Report) {
    let mut seen = BTreeSet::new();
    for scope in scopes.iter().filter(|scope| seen.insert(scope.name)) {
        let is_kept =
            |column: &Ident| scopes.iter().any(|one| one.name == scope.name && one.renames.contains_key(column));
        for column in scope.table.columns.iter().filter(|column| !is_kept(&column.name)) {
            for text in &column.grants {
                report.leave(
                    "grant",
                    format!("{text} on column {}.{}", scope.name, column.name),
                    "the column is dropped",
                );
            }
        }
    }
}

/// Rights on what is made later, of both ends.
fn defaults(scopes: &[Scope<'_>], source: &Catalog, target: &Catalog, report: &mut Report) {
    let is_of = |default: &DefaultGrants, schema: fn(&Scope<'_>) -> Ident| {
        matches!(default.kind, 'r' | 'S')
            && default.schema.as_ref().is_none_or(|own| scopes.iter().any(|scope| schema(scope) == *own))
    };
    for default in source.default_grants.iter().filter(|one| is_of(one, |scope| scope.name.schema.clone())) {
        let name = format!("{} on {}", default.grants.join(", "), made_by(default));
        report.leave("default privileges", name, "only what is made later has them; set them on the target");
    }
    let Some(roles) = &target.roles else { return };
    let mut given = Vec::new();
    for default in target.default_grants.iter().filter(|one| one.role == roles.current) {
        let others = default
            .grants
            .iter()
            .filter(|text| AclItem::parse(text).is_none_or(|item| item.grantee.as_ref() != Some(&roles.current)));
        let others: Vec<&str> = others.map(String::as_str).collect();
        if is_of(default, |scope| scope.target_name.schema.clone()) && !others.is_empty() {
            given.push(format!("{} on {}", others.join(", "), made_by(default)));
        }
    }
    if !given.is_empty() {
        report.find(&TARGET_GRANTS, &roles.current, format!("default privileges give {}", given.join("; ")));
    }
}

fn made_by(default: &DefaultGrants) -> String {
    let kind = if default.kind == 'S' { "sequences" } else { "tables" };
    let place = default.schema.as_ref().map_or_else(String::new, |schema| format!(" in schema {schema}"));
    format!("{kind} that {} makes{place}", default.role)
}
