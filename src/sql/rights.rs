//! GRANT, OWNER TO, and what a role has. Names are always quoted and schema-qualified.

use crate::catalog::{GrantTarget, Ident, OwnerTarget, QualifiedName, Right};
use crate::sql::{ident, literal, name};

/// `GRANT … TO role`; to everybody without a role.
pub fn grant(on: &GrantTarget, to: Option<&Ident>, rights: &[Right], grantable: bool) -> String {
    let option = if grantable { " WITH GRANT OPTION" } else { "" };
    format!("GRANT {} ON {} TO {}{option}", list(on, rights), object(on), grantee(to))
}

/// `REVOKE … FROM role`.
pub fn revoke(on: &GrantTarget, from: Option<&Ident>, rights: &[Right]) -> String {
    format!("REVOKE {} ON {} FROM {}", list(on, rights), object(on), grantee(from))
}

/// `ALTER … OWNER TO role`.
pub fn set_owner(on: &OwnerTarget, owner: &Ident) -> String {
    format!("ALTER {} OWNER TO {}", owned(on), ident(owner))
}

/// Gives it back to the role that asks.
pub fn take_back(on: &OwnerTarget) -> String {
    format!("ALTER {} OWNER TO CURRENT_USER", owned(on))
}

/// `CREATE ROLE`, without a password.
pub fn create_role(role: &Ident, login: bool) -> String {
    format!("CREATE ROLE {}{}", ident(role), if login { " LOGIN" } else { "" })
}

/// Rights that were granted to a role on an object, and whether it may grant them on: one row each.
pub fn held(on: &GrantTarget, to: Option<&Ident>) -> String {
    let relation = |kind: char, table: &QualifiedName| {
        format!(
            "pg_catalog.pg_class o, pg_catalog.aclexplode(coalesce(o.relacl, pg_catalog.acldefault('{kind}', o.relowner))) a \
             WHERE o.oid = {}::pg_catalog.regclass",
            literal(&name(table))
        )
    };
    let from = match on {
        GrantTarget::Table(table) => relation('r', table),
        GrantTarget::Sequence(sequence) => relation('s', sequence),
        GrantTarget::Column(at) => format!(
            "pg_catalog.pg_attribute o, pg_catalog.aclexplode(o.attacl) a \
             WHERE o.attrelid = {}::pg_catalog.regclass AND o.attname = {} AND NOT o.attisdropped",
            literal(&name(&at.table)),
            literal(at.column.as_str())
        ),
        GrantTarget::Schema(schema) => format!(
            "pg_catalog.pg_namespace o, pg_catalog.aclexplode(coalesce(o.nspacl, pg_catalog.acldefault('n', o.nspowner))) a \
             WHERE o.nspname = {}",
            literal(schema.as_str())
        ),
    };
    let role = to.map_or_else(
        || "0".to_owned(),
        |role| format!("(SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = {})", literal(role.as_str())),
    );
    format!("SELECT a.privilege_type, a.is_grantable FROM {from} AND a.grantee = {role}")
}

/// The name of the role that an object belongs to, in one row.
pub fn owner(on: &OwnerTarget) -> String {
    match on {
        OwnerTarget::Table(object) | OwnerTarget::Sequence(object) => format!(
            "SELECT pg_catalog.pg_get_userbyid(o.relowner)::text FROM pg_catalog.pg_class o WHERE o.oid = {}::pg_catalog.regclass",
            literal(&name(object))
        ),
        OwnerTarget::Schema(schema) => format!(
            "SELECT pg_catalog.pg_get_userbyid(o.nspowner)::text FROM pg_catalog.pg_namespace o WHERE o.nspname = {}",
            literal(schema.as_str())
        ),
    }
}

fn list(on: &GrantTarget, rights: &[Right]) -> String {
    let column = match on {
        GrantTarget::Column(at) => format!(" ({})", ident(&at.column)),
        GrantTarget::Schema(_) | GrantTarget::Table(_) | GrantTarget::Sequence(_) => String::new(),
    };
    rights.iter().map(|right| format!("{}{column}", right.word())).collect::<Vec<_>>().join(", ")
}

fn object(on: &GrantTarget) -> String {
    match on {
        GrantTarget::Schema(schema) => format!("SCHEMA {}", ident(schema)),
        GrantTarget::Table(table) => format!("TABLE {}", name(table)),
        GrantTarget::Column(at) => format!("TABLE {}", name(&at.table)),
        GrantTarget::Sequence(sequence) => format!("SEQUENCE {}", name(sequence)),
    }
}

fn owned(on: &OwnerTarget) -> String {
    match on {
        OwnerTarget::Schema(schema) => format!("SCHEMA {}", ident(schema)),
        OwnerTarget::Table(table) => format!("TABLE {}", name(table)),
        OwnerTarget::Sequence(sequence) => format!("SEQUENCE {}", name(sequence)),
    }
}

/// A role of this name cannot be made, in quotes or without, so the word has one meaning.
fn grantee(to: Option<&Ident>) -> String {
    to.map_or_else(|| "PUBLIC".to_owned(), ident)
}
