//! Indexes with the target's names.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Ident, Index, IndexElement, TableKind};
use crate::findings::rules::CONSTRAINT_NOT_CARRIED;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::sql::ddl_index::create_index;
use crate::sql::rewrite::skeleton;
use crate::sql::token::TokenError;

/// Every index that can be carried; those behind constraints too.
pub(crate) fn indexes(scope: &Scope<'_>, report: &mut Report) -> BTreeMap<Ident, Index> {
    let mut carried = BTreeMap::new();
    for (name, index) in &scope.table.indexes {
        match carry(scope, name, index) {
            Ok(Ok(index)) => {
                carried.insert(scope.object(name), index);
            }
            Ok(Err(why)) => leave(scope, name, index, why, report),
            Err(error) => leave(scope, name, index, format!("its definition cannot be read: {error}"), report),
        }
    }
    carried
}

fn leave(scope: &Scope<'_>, name: &Ident, index: &Index, why: String, report: &mut Report) {
    if index.constraint.is_some() {
        return;
    }
    let address = scope.address(name);
    if index.unique {
        let message = format!("the target will accept duplicates: {why}");
        report.find(&CONSTRAINT_NOT_CARRIED, &address, message);
    }
    report.leave("index", address, why);
}

/// The index with new names, or why it stays behind.
fn carry(scope: &Scope<'_>, name: &Ident, index: &Index) -> Result<Result<Index, String>, TokenError> {
    if !index.valid {
        return Ok(Err("it is not valid on the source".to_owned()));
    }
    // Whatever the parts do not say (parameters of operator classes, a tablespace) must not get lost unseen.
    let parts = |sql: &str| {
        skeleton(sql).map(|parts| parts.into_iter().filter(|part| part != "(" && part != ")").collect::<Vec<_>>())
    };
    // The server writes that of a partitioned table so that it would be of the table alone.
    let definition = match scope.table.kind {
        TableKind::Partitioned => index.definition.replacen(" ON ONLY ", " ON ", 1),
        _ => index.definition.clone(),
    };
    if index.constraint.is_none() && parts(&create_index(name, scope.name, index))? != parts(&definition)? {
        return Ok(Err(format!("pcrd does not know every part of `{}`", index.definition)));
    }
    let mut reads = BTreeSet::new();
    let mut rename = |column: &Ident| {
        reads.insert(column.clone());
        scope.renames.get(column).unwrap_or(column).clone()
    };
    let mut elements = Vec::new();
    for element in &index.elements {
        elements.push(IndexElement { column: element.column.as_ref().map(&mut rename), ..element.clone() });
    }
    let include = index.include.iter().map(&mut rename).collect();
    for element in &mut elements {
        if let Some(expression) = &element.expression {
            let rewritten = scope.rename(expression)?;
            reads.extend(rewritten.reads);
            element.expression = Some(rewritten.sql);
        }
    }
    let mut predicate = None;
    if let Some(text) = &index.predicate {
        let rewritten = scope.rename(text)?;
        reads.extend(rewritten.reads);
        predicate = Some(rewritten.sql);
    }
    reads.extend(index.expression_columns.iter().cloned());
    if let Some(column) = reads.iter().find(|column| scope.dropped.contains(*column)) {
        return Ok(Err(format!("it reads the dropped column {column}")));
    }
    let expression_columns = index.expression_columns.iter().filter_map(|column| scope.renames.get(column).cloned());
    let mut carried =
        Index { elements, include, predicate, expression_columns: expression_columns.collect(), ..index.clone() };
    carried.constraint = index.constraint.as_ref().map(|constraint| scope.object(constraint));
    carried.definition = create_index(&scope.object(name), scope.target_name, &carried);
    Ok(Ok(carried))
}
