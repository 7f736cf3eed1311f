//! What cannot go back to the source after the switch: to know, or to accept where the way back is asked for.

use crate::findings::Severity;
use crate::findings::rules::IRREVERSIBLE;
use crate::projection::{Forward, back};
use crate::resolve::ResolvedTable;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;

/// Finds the table, or columns of it.
pub(crate) fn find(scope: &Scope<'_>, table: &ResolvedTable, is_asked_for: bool, report: &mut Report) {
    let by_primary_key =
        table.wanted.primary_key.as_ref().is_some_and(|key| table.key_index.as_ref() == Some(&key.name));
    let way = back(&Forward {
        projection: &table.projection,
        source: scope.table,
        target: &table.wanted.columns,
        kept: &scope.renames,
        is_split: scope.split.is_some(),
        by_primary_key,
    });
    let severity = if is_asked_for { IRREVERSIBLE.severity } else { Severity::Info };
    for (address, why) in way.losses() {
        let address = address.map_or_else(|| scope.at().to_string(), |column| scope.address(column));
        report.find_as(&IRREVERSIBLE, severity, address, format!("irreversible because {why}"));
    }
}
