//! What resolving must know besides the two catalogs.

use std::collections::BTreeMap;

use crate::catalog::QualifiedName;
use crate::desired::Acceptance;
use crate::projection::CopyOrder;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveOptions {
    /// Time zone in which values without a zone are read; pinned in every session of the plan.
    pub zone: String,
    /// Name of the config file, without directories.
    pub config_name: String,
    /// Its text, for the line of an acceptance.
    pub config_text: String,
    /// Where each line of the desired SQL files starts, with its name: `desired.sql:14`.
    pub schema_lines: Vec<(usize, String)>,
    /// Acceptances of the command line.
    pub allow: Vec<Acceptance>,
    /// Orders in which a run that is under way copies its tables, by source and target: `auto` keeps to them.
    pub orders: BTreeMap<(QualifiedName, QualifiedName), CopyOrder>,
    /// The word of a fence that refuses no write.
    pub unfenced: Option<&'static str>,
    /// After the switch changes are to go back to the source.
    pub goes_back: bool,
}

impl Default for ResolveOptions {
    fn default() -> Self {
        Self {
            zone: "UTC".to_owned(),
            config_name: "pcrd.config.yml".to_owned(),
            config_text: String::new(),
            schema_lines: Vec::new(),
            allow: Vec::new(),
            orders: BTreeMap::new(),
            unfenced: None,
            goes_back: false,
        }
    }
}
