//! Who may do what: access control entries as PostgreSQL writes them (`app=arw*/owner`).

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{ColumnRef, Ident, QualifiedName};

/// Roles of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// The role that read the catalog.
    pub current: Ident,
    /// All of them; true for those that may log in.
    pub login: BTreeMap<Ident, bool>,
    /// Those to which the role that read the catalog may not give what is its own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub out_of_reach: BTreeSet<Ident>,
    /// Within reach, by schema: those that may not create there, and that the role that read the catalog may not let.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept_from: BTreeMap<Ident, BTreeSet<Ident>>,
}

/// Who owns a schema, and who may use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaRights {
    /// Owner.
    pub owner: Ident,
    /// Grants, as `pg_namespace.nspacl` items, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
}

/// What ALTER DEFAULT PRIVILEGES has set for objects that a role makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefaultGrants {
    /// The role that makes the objects.
    pub role: Ident,
    /// The schema; everywhere when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Ident>,
    /// `pg_default_acl.defaclobjtype`: r tables, S sequences, f functions, T types, n schemas, L large objects.
    pub kind: char,
    /// Grants, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
}

/// What a role may do with a table, a column, a sequence or a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "PostgreSQL's own words")]
pub enum Right {
    Select,
    Insert,
    Update,
    Delete,
    Truncate,
    References,
    Trigger,
    Maintain,
    Usage,
    Create,
}

/// Letters of `aclitem` (PostgreSQL's documentation, "Privileges").
const LETTERS: [(char, Right); 10] = [
    ('r', Right::Select),
    ('a', Right::Insert),
    ('w', Right::Update),
    ('d', Right::Delete),
    ('D', Right::Truncate),
    ('x', Right::References),
    ('t', Right::Trigger),
    ('m', Right::Maintain),
    ('U', Right::Usage),
    ('C', Right::Create),
];

impl Right {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Select,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Truncate,
        Self::References,
        Self::Trigger,
        Self::Maintain,
        Self::Usage,
        Self::Create,
    ];

    /// Its word in GRANT.
    pub fn word(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::References => "REFERENCES",
            Self::Trigger => "TRIGGER",
            Self::Maintain => "MAINTAIN",
            Self::Usage => "USAGE",
            Self::Create => "CREATE",
        }
    }

    /// The first major version that has it.
    pub fn since(self) -> u32 {
        if self == Self::Maintain { 17 } else { 10 }
    }
}

/// What rights are granted on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GrantTarget {
    /// A schema.
    Schema(Ident),
    /// A table.
    Table(QualifiedName),
    /// A column.
    Column(ColumnRef),
    /// A sequence.
    Sequence(QualifiedName),
}

/// What belongs to a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OwnerTarget {
    /// A schema.
    Schema(Ident),
    /// A table; its sequences go with it.
    Table(QualifiedName),
    /// A sequence that no column owns.
    Sequence(QualifiedName),
}

/// One entry of an access control list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AclItem {
    /// Who may; `None` is everybody.
    pub grantee: Option<Ident>,
    /// What, in the order of the entry.
    pub rights: Vec<Held>,
    /// Who has granted it.
    pub grantor: Ident,
}

/// A right, and whether it may be granted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Held {
    /// The right.
    pub right: Right,
    /// WITH GRANT OPTION.
    pub grantable: bool,
}

impl AclItem {
    /// Reads an entry; `None` when it is of a form that this version does not know.
    pub fn parse(text: &str) -> Option<Self> {
        let (grantee, rest) = name(text)?;
        let rest = rest.strip_prefix('=')?;
        let end = rest.find('/')?;
        let mut rights: Vec<Held> = Vec::new();
        for letter in rest[..end].chars() {
            if letter == '*' {
                let last = rights.last_mut().filter(|last| !last.grantable)?;
                last.grantable = true;
                continue;
            }
            let (_, right) = LETTERS.iter().find(|(known, _)| *known == letter)?;
            rights.push(Held { right: *right, grantable: false });
        }
        let (grantor, rest) = name(&rest[end + 1..])?;
        if !rest.is_empty() {
            return None;
        }
        let grantee = if grantee.is_empty() { None } else { Some(Ident::new(grantee).ok()?) };
        Some(Self { grantee, rights, grantor: Ident::new(grantor).ok()? })
    }
}

/// Who has what of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holding {
    /// Owner.
    pub owner: Ident,
    /// Grants that could be read; those of the owner to itself among them.
    pub grants: Vec<AclItem>,
}

impl Holding {
    /// From an owner and the entries of a list.
    pub fn of(owner: &Ident, grants: &[String]) -> Self {
        Self { owner: owner.clone(), grants: grants.iter().filter_map(|text| AclItem::parse(text)).collect() }
    }

    /// What is granted to a role, or to everybody; true with WITH GRANT OPTION.
    pub fn granted(&self, to: Option<&Ident>) -> BTreeMap<Right, bool> {
        let mut rights = BTreeMap::new();
        for held in self.grants.iter().filter(|item| item.grantee.as_ref() == to).flat_map(|item| &item.rights) {
            *rights.entry(held.right).or_insert(false) |= held.grantable;
        }
        rights
    }
}

/// Who has what of several objects.
pub type Holdings = BTreeMap<GrantTarget, Holding>;

impl OwnerTarget {
    /// The same object as one on which rights are granted.
    pub fn as_grant_target(&self) -> GrantTarget {
        match self {
            Self::Schema(name) => GrantTarget::Schema(name.clone()),
            Self::Table(name) => GrantTarget::Table(name.clone()),
            Self::Sequence(name) => GrantTarget::Sequence(name.clone()),
        }
    }
}

/// A role's name at the beginning, in quotes where it has other characters than letters, digits and `_`.
fn name(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['=', '/']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let end = rest.find('"')?;
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Some((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(item: &AclItem) -> Vec<(&'static str, bool)> {
        item.rights.iter().map(|one| (one.right.word(), one.grantable)).collect()
    }

    #[test]
    fn entries_are_read() {
        let item = AclItem::parse("app=r*w/owner").unwrap();
        assert_eq!(item.grantee.as_ref().map(Ident::as_str), Some("app"));
        assert_eq!((words(&item), item.grantor.as_str()), (vec![("SELECT", true), ("UPDATE", false)], "owner"));
        let item = AclItem::parse("=U/\"o/w=n\"\"er\"").unwrap();
        assert_eq!((item.grantee.clone(), item.grantor.as_str()), (None, "o/w=n\"er"));
        assert_eq!(words(&item), [("USAGE", false)]);
        let item = AclItem::parse("\"a =\"=arwdDxtm/postgres").unwrap();
        assert_eq!(item.grantee.as_ref().map(Ident::as_str), Some("a ="));
        assert_eq!(item.rights.len(), 8);
        assert_eq!(AclItem::parse("app=/owner").unwrap().rights, []);
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        for text in ["", "app", "app=r", "app=?/o", "app=*r/o", "app=r**/o", "\"app=r/o", "app=r/o/x", "app=r/"] {
            assert_eq!(AclItem::parse(text), None, "{text}");
        }
    }
}
