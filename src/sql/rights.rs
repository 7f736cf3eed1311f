//! GRANT, REVOKE and OWNER TO. Names are always quoted and schema-qualified.

use crate::catalog::{GrantTarget, Ident, OwnerTarget, Right};
use crate::sql::{ident, name};

/// `GRANT … TO role`; to everybody without a role.
pub fn grant(on: &GrantTarget, to: Option<&Ident>, rights: &[Right], grantable: bool) -> String {
    let option = if grantable { " WITH GRANT OPTION" } else { "" };
    format!("GRANT {} ON {} TO {}{option}", list(on, rights), object(on), grantee(to))
}

/// `REVOKE … FROM role CASCADE`: also from those to whom the role has granted it on. With `option` it may only not grant
/// any more.
pub fn revoke(on: &GrantTarget, from: Option<&Ident>, rights: &[Right], option: bool) -> String {
    let option = if option { "GRANT OPTION FOR " } else { "" };
    format!("REVOKE {option}{} ON {} FROM {} CASCADE", list(on, rights), object(on), grantee(from))
}

/// `ALTER … OWNER TO role`.
pub fn set_owner(on: &OwnerTarget, owner: &Ident) -> String {
    format!("ALTER {} OWNER TO {}", owned(on), ident(owner))
}

/// `CREATE ROLE`, without a password.
pub fn create_role(role: &Ident, login: bool) -> String {
    format!("CREATE ROLE {}{}", ident(role), if login { " LOGIN" } else { "" })
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
