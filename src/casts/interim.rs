//! Interim.
#![allow(missing_docs)]
use crate::casts::CastClass;
use crate::catalog::ColumnType;

#[derive(Debug)]
pub struct Cast {
    pub class: CastClass,
    pub reason: String,
    to: String,
}
#[derive(Debug, thiserror::Error)]
#[error("no cast")]
pub struct Unsupported;

impl Cast {
    pub fn expr(&self, column: &str) -> String {
        if self.class == CastClass::Identical { column.to_owned() } else { format!("CAST({column} AS {})", self.to) }
    }
    pub fn bad(&self, column: &str) -> Option<String> {
        (self.class == CastClass::Checked)
            .then(|| format!("{column} IS NOT NULL AND {column} NOT BETWEEN -2147483648 AND 2147483647"))
    }
}

pub fn classify(from: &ColumnType, to: &ColumnType, _zone: &str) -> Result<Cast, Unsupported> {
    let width = |ty: &ColumnType| ["int2", "int4", "int8"].iter().position(|name| ty.is(name));
    let (class, reason) = if from == to {
        (CastClass::Identical, "same type")
    } else {
        match (width(from), width(to)) {
            (Some(a), Some(b)) if a < b => (CastClass::Widening, "widening, always safe"),
            (Some(_), Some(_)) => (CastClass::Checked, "out of range"),
            _ => return Err(Unsupported),
        }
    };
    Ok(Cast { class, reason: reason.to_owned(), to: to.sql.clone() })
}
