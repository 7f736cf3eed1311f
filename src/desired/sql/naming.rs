//! Names that PostgreSQL gives to constraints, indexes and sequences that have none: `makeObjectName`,
//! `ChooseRelationName` and `ChooseConstraintName` in src/backend/commands/indexcmds.c and src/backend/catalog.

use std::collections::BTreeSet;

use super::tree::{ConstraintKind, SqlSchema};
use crate::catalog::name::IDENT_BYTES_MAX;
use crate::catalog::{Ident, QualifiedName};

/// Names that are taken.
#[derive(Debug, Default)]
pub(super) struct Names {
    relations: BTreeSet<QualifiedName>,
    constraints: BTreeSet<(QualifiedName, Ident)>,
}

impl Names {
    /// What the file names itself.
    pub(super) fn of(schema: &SqlSchema) -> Self {
        let mut names = Self::default();
        for sequence in &schema.sequences {
            names.relations.insert(sequence.name.value.clone());
        }
        for table in &schema.tables {
            let own = &table.name.value;
            names.relations.insert(own.clone());
            let in_schema = |name: &Ident| QualifiedName { schema: own.schema.clone(), name: name.clone() };
            for index in table.indexes.iter().filter_map(|index| index.name.as_ref()) {
                names.relations.insert(in_schema(&index.value));
            }
            for constraint in &table.constraints {
                let Some(name) = &constraint.name else { continue };
                names.constraints.insert((own.clone(), name.value.clone()));
                if has_index(&constraint.kind) {
                    names.relations.insert(in_schema(&name.value));
                }
            }
        }
        names
    }

    /// The sequence of a serial or identity column.
    pub(super) fn sequence(&mut self, table: &QualifiedName, column: &Ident) -> QualifiedName {
        let name = self.relation(table, column.as_str(), "seq");
        QualifiedName { schema: table.schema.clone(), name }
    }

    /// An index over columns and what its expressions are called; a word that repeats gets a number.
    pub(super) fn index(&mut self, table: &QualifiedName, parts: &[String]) -> Ident {
        let mut chosen: Vec<String> = Vec::new();
        for part in parts {
            let numbered = (0..).map(|n| if n == 0 { part.clone() } else { format!("{part}{n}") });
            chosen.extend(numbered.into_iter().find(|word| !chosen.contains(word)));
        }
        let parts: Vec<&str> = chosen.iter().map(String::as_str).collect();
        self.relation(table, &joined(&parts), "idx")
    }

    /// A constraint over these columns.
    pub(super) fn constraint(&mut self, table: &QualifiedName, kind: &ConstraintKind, columns: &[Ident]) -> Ident {
        let parts: Vec<&str> = columns.iter().map(Ident::as_str).collect();
        match kind {
            ConstraintKind::PrimaryKey(_) => self.relation(table, "", "pkey"),
            ConstraintKind::Unique { .. } | ConstraintKind::UsingIndex { .. } => {
                self.relation(table, &joined(&parts), "key")
            }
            ConstraintKind::Exclude(_) => self.relation(table, &joined(&parts), "excl"),
            ConstraintKind::ForeignKey(_) => self.own(table, &joined(&parts), "fkey"),
            ConstraintKind::Check(_) => self.own(table, if let [only] = parts[..] { only } else { "" }, "check"),
        }
    }

    fn relation(&mut self, table: &QualifiedName, middle: &str, label: &str) -> Ident {
        let in_schema = |name: Ident| QualifiedName { schema: table.schema.clone(), name };
        let free = |name: &Ident| {
            !self.relations.contains(&in_schema(name.clone()))
                && !self.constraints.contains(&(table.clone(), name.clone()))
        };
        let name = first_free(table.name.as_str(), middle, label, free);
        self.relations.insert(in_schema(name.clone()));
        name
    }

    fn own(&mut self, table: &QualifiedName, middle: &str, label: &str) -> Ident {
        let free = |name: &Ident| !self.constraints.contains(&(table.clone(), name.clone()));
        let name = first_free(table.name.as_str(), middle, label, free);
        self.constraints.insert((table.clone(), name.clone()));
        name
    }
}

fn has_index(kind: &ConstraintKind) -> bool {
    match kind {
        ConstraintKind::PrimaryKey(_)
        | ConstraintKind::Unique { .. }
        | ConstraintKind::UsingIndex { .. }
        | ConstraintKind::Exclude(_) => true,
        ConstraintKind::ForeignKey(_) | ConstraintKind::Check(_) => false,
    }
}

/// Column names with `_` between them, as many as fit.
fn joined(parts: &[&str]) -> String {
    let mut text = String::new();
    for part in parts {
        if !text.is_empty() {
            text.push('_');
        }
        text.push_str(part);
        if text.len() > IDENT_BYTES_MAX {
            break;
        }
    }
    clipped(&text, IDENT_BYTES_MAX).to_owned()
}

fn first_free(table: &str, middle: &str, label: &str, free: impl Fn(&Ident) -> bool) -> Ident {
    let mut n = 0;
    loop {
        let label = if n == 0 { label.to_owned() } else { format!("{label}{n}") };
        let name = Ident::new(object_name(table, middle, &label)).expect("it was cut to fit and has a label");
        if free(&name) {
            return name;
        }
        n += 1;
    }
}

/// `table_middle_label`, the longer of the first two shortened until it fits.
fn object_name(table: &str, middle: &str, label: &str) -> String {
    let separators = if middle.is_empty() { 1 } else { 2 };
    let room = IDENT_BYTES_MAX - label.len() - separators;
    let (mut first, mut second) = (table.len(), middle.len());
    while first + second > room {
        if first > second { first -= 1 } else { second -= 1 }
    }
    let (first, second) = (clipped(table, first), clipped(middle, second));
    if middle.is_empty() { format!("{first}_{label}") } else { format!("{first}_{second}_{label}") }
}

/// Cut between characters.
fn clipped(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_as_postgresql_cuts_them() {
        let long = "a".repeat(60);
        assert_eq!(object_name("orders", "id", "seq"), "orders_id_seq");
        assert_eq!(object_name("orders", "", "pkey"), "orders_pkey");
        assert_eq!(object_name(&long, "id", "key").len(), IDENT_BYTES_MAX);
        assert!(object_name(&long, "id", "key").ends_with("_id_key"));
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let mut names = Names::default();
        let table = QualifiedName::new("public", "t").unwrap();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(names.index(&table, &words(&["a"])).as_str(), "t_a_idx");
        assert_eq!(names.index(&table, &words(&["a"])).as_str(), "t_a_idx1");
        assert_eq!(names.index(&table, &words(&["expr", "lower", "expr"])).as_str(), "t_expr_lower_expr1_idx");
    }
}
