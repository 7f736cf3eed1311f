//! The names that the source's tables get after the switch, where the fence renames.

use sha2::{Digest, Sha256};

use crate::catalog::{Ident, QualifiedName};
use crate::plan::op::{Op, RenameSource, Renamed};
use crate::plan::{FenceKind, Settings};

/// PostgreSQL's NAMEDATALEN without the NUL, in bytes.
const NAME_MAX: usize = 63;
const PREFIX: &str = "pcrd_old_";
const DIGEST_BYTES: usize = 4;

/// The step, where the fence renames.
pub(super) fn rename_source(settings: &Settings, sources: &[QualifiedName]) -> Option<Op> {
    let tables = sources.iter().map(|from| Renamed { from: from.clone(), to: other_name(&from.name) }).collect();
    (settings.cutover.fence == FenceKind::Rename).then_some(Op::RenameSource(RenameSource { tables }))
}

/// The tables under their other names, where the fence renames: those that its triggers stand on at the end.
pub(super) fn names_back(settings: &Settings, sources: &[QualifiedName]) -> Vec<Renamed> {
    match rename_source(settings, sources) {
        Some(Op::RenameSource(op)) => op.tables,
        _ => Vec::new(),
    }
}

/// A name that says what it was. One that would be too long ends in a digest, so that no two become one.
fn other_name(name: &Ident) -> Ident {
    let mut other = format!("{PREFIX}{}", name.as_str());
    if other.len() > NAME_MAX {
        let digest = Sha256::digest(name.as_str().as_bytes());
        let digest: String = digest[..DIGEST_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        let end = NAME_MAX - 1 - digest.len();
        let end = (0..=end).rev().find(|end| other.is_char_boundary(*end)).unwrap_or(0);
        other.truncate(end);
        other = format!("{other}_{digest}");
    }
    Ident::new(other).expect("a name with a prefix is a name")
}

impl Renamed {
    /// What the table is called after the switch.
    pub fn renamed(&self) -> QualifiedName {
        QualifiedName { schema: self.from.schema.clone(), name: self.to.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_what_a_server_takes_and_differ() {
        let other = |name: &str| other_name(&Ident::new(name.to_owned()).unwrap()).as_str().to_owned();
        assert_eq!(other("items"), "pcrd_old_items");
        let long = "\u{e4}".repeat(31);
        let (one, two) = (other(&format!("{long}x")), other(&format!("{long}y")));
        assert!(one.len() <= NAME_MAX && one != two && one.starts_with("pcrd_old_\u{e4}"), "{one} {two}");
        assert_eq!(other(&"n".repeat(54)).len(), NAME_MAX);
    }
}
