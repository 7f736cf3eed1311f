//! Tables that are chosen by patterns.

use crate::catalog::{Ident, QualifiedName};
use crate::desired::glob::TableGlob;
use crate::desired::{At, CopyWish, DesiredTable, Order, Origin};

/// Which tables are migrated besides those that the files name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// What is chosen, in the order of the file: a table belongs to the first that matches it.
    pub globs: Vec<Globbed>,
    /// What no pattern chooses.
    pub exclude: Vec<At<TableGlob>>,
}

/// A pattern under `migrate.tables`, and what is said of all tables that it chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Globbed {
    /// The pattern.
    pub glob: At<TableGlob>,
    /// The schema of the targets; that of each source when not given.
    pub target_schema: Option<At<Ident>>,
    /// Column order.
    pub order: Order,
    /// In which order rows are copied; as all are when not given.
    pub copy: Option<At<CopyWish>>,
    /// Whether the targets are vacuumed and frozen before the cutover; as all are when not given.
    pub vacuum: Option<bool>,
    /// Partitioned ones go into flat tables, and not into the same partitions.
    pub flat: bool,
}

impl Globbed {
    /// A pattern of which nothing is said.
    pub fn new(glob: At<TableGlob>) -> Self {
        Self { glob, target_schema: None, order: Order::default(), copy: None, vacuum: None, flat: false }
    }

    /// What is wanted of a table that it chooses.
    pub fn table(&self, source: &QualifiedName) -> DesiredTable {
        let target = self.target_schema.as_ref().map(|schema| At {
            value: QualifiedName { schema: schema.value.clone(), name: source.name.clone() },
            span: schema.span.clone(),
        });
        DesiredTable {
            target,
            order: self.order,
            copy: self.copy.clone(),
            vacuum: self.vacuum,
            flat: self.flat,
            by_glob: true,
            ..DesiredTable::as_it_is(At { value: source.clone(), span: self.glob.span.clone() })
        }
    }
}

impl DesiredTable {
    /// A table of the config that stays as it is.
    pub fn as_it_is(source: At<QualifiedName>) -> Self {
        Self {
            source,
            target: None,
            key: None,
            order: Order::default(),
            vacuum: None,
            copy: None,
            flat: false,
            columns: std::collections::BTreeMap::new(),
            part: None,
            filter: None,
            add: Vec::new(),
            origin: Origin::Config,
            by_glob: false,
            whole: None,
        }
    }
}
