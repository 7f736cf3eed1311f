//! What is lost for want of a role or of a right of the executor's, as findings with the statements to run.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Catalog, GrantTarget, Ident, Right};
use crate::desired::Carry;
use crate::findings::rules::{OWNER_NOT_CARRIED, ROLE_MISSING};
use crate::resolve::report::Report;
use crate::sql::ident;
use crate::sql::rights::{create_role, grant};

/// So much of it is named.
const NAMED_MAX: usize = 3;

/// What belongs on the source to a role that does not get it.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftWithout {
    /// In words.
    pub(crate) what: Vec<String>,
    /// Schemas in which the role would have to be able to create; none where that is not the reason.
    pub(crate) kept_from: BTreeSet<Ident>,
}

/// Roles that the target does not have, with what is lost for want of each.
pub(crate) fn missing(roles: &BTreeMap<Ident, Vec<String>>, source: &Catalog, report: &mut Report) {
    for (role, lost) in roles {
        let lost = few(lost, "; ");
        let message = if role.as_str().starts_with("pg_") {
            format!("the target's version has no such predefined role: {lost}")
        } else {
            let login = source.roles.as_ref().and_then(|roles| roles.login.get(role));
            let create = create_role(role, login.copied().unwrap_or(false));
            format!("the target has no such role: {lost}. Run {create} there and plan again")
        };
        report.find(&ROLE_MISSING, role, message);
    }
}

/// Owners that a program may log in as, and those that the executor could be enabled to give to.
pub(crate) fn left(
    owners: &BTreeMap<Ident, LeftWithout>,
    (source, target): (&Catalog, &Catalog),
    carry: Carry,
    report: &mut Report,
) {
    let logs_in = |role: &Ident| {
        let both = [source.roles.as_ref(), target.roles.as_ref()];
        both.into_iter().flatten().any(|roles| roles.login.get(role) == Some(&true))
    };
    for (role, LeftWithout { what, kept_from }) in owners {
        let reach = target.roles.as_ref().filter(|roles| carry.owners && roles.login.contains_key(role));
        if reach.is_none() && !logs_in(role) {
            continue;
        }
        let name = ident(role);
        let how = match reach {
            None => "which `migrate.carry` leaves with the role that applies the plan".to_owned(),
            Some(_) if !kept_from.is_empty() => {
                let create =
                    |schema: &Ident| grant(&GrantTarget::Schema(schema.clone()), Some(role), &[Right::Create], false);
                format!(
                    "which may not create there on the target, as it must for the moment of the switch, and whoever applies the plan \
                     may not let it. Run {} there until then, and plan again",
                    kept_from.iter().map(create).collect::<Vec<_>>().join("; ")
                )
            }
            Some(roles) => {
                let options = if target.server.major() >= 16 { " WITH INHERIT TRUE, SET TRUE" } else { "" };
                let user = ident(&roles.current);
                format!(
                    "to which {user} may not give anything on the target. Unless {name} is a superuser or the database's owner, run \
                     GRANT {name} TO {user}{options} there, let {user} inherit, and plan again"
                )
            }
        };
        report.find(&OWNER_NOT_CARRIED, role, format!("{} belong on the source to {role}, {how}", few(what, ", ")));
    }
}

fn few(all: &[String], between: &str) -> String {
    let more = if all.len() > NAMED_MAX { format!(" and {} more", all.len() - NAMED_MAX) } else { String::new() };
    format!("{}{more}", all[..all.len().min(NAMED_MAX)].join(between))
}
