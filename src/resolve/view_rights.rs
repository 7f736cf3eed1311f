//! Owners and grants of views.

use crate::catalog::{Catalog, OwnerTarget};
use crate::resolve::policy::Policies;
use crate::resolve::report::Report;
use crate::resolve::rights::{Object, Origin, UNGUARDED};
use crate::resolve::scope::Scope;
use crate::resolve::view::{self, Views};

/// Views of rows that others see by their own rights: what hides rows of a table hides them in no view of another owner.
pub(crate) fn of_views<'a>(
    views: &Views,
    scopes: &[Scope<'a>],
    source: &'a Catalog,
    policies: &Policies,
    report: &mut Report,
) -> Vec<Object<'a>> {
    let mut objects = Vec::new();
    for view in &views.carried {
        let Some(found) = source.tables.get(&view.source) else { continue };
        for column in found.columns.iter().filter(|column| !column.grants.is_empty()) {
            let name = format!("column {}.{}", view.source, column.name);
            report.leave("grant", name, "what is granted on columns of views is not carried");
        }
        let behind = view::tables_behind(&view.source, &source.views);
        let guarded = scopes.iter().filter(|scope| behind.contains(scope.name) && scope.table.row_security);
        let is_unguarded = guarded.clone().any(|scope| !policies.is_carried(scope.target_name));
        let of_others = scopes.iter().any(|scope| behind.contains(scope.name) && scope.table.owner != found.owner);
        let is_invoker = found.reloptions.iter().any(|option| option == "security_invoker=true");
        let on = OwnerTarget::Table(view.name.clone());
        objects.push(Object {
            on: on.as_grant_target(),
            owned: Some((on, Vec::new())),
            origins: vec![Origin {
                shown: format!("view {}", view.source),
                owner: &found.owner,
                grants: &found.grants,
                was_public: false,
                kept_back: is_unguarded.then_some(UNGUARDED),
            }],
            found: None,
            reads_as_owner: !is_invoker && (of_others || guarded.count() > 0),
        });
    }
    objects
}
