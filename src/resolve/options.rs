//! What resolving must know besides the two catalogs.

use crate::desired::Acceptance;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveOptions {
    /// Time zone in which values without a zone are read; pinned in every session of the plan.
    pub zone: String,
    /// Name of the config file, without directories.
    pub config_name: String,
    /// Its text, for the line of an acceptance.
    pub config_text: String,
    /// Name of the desired SQL file, without directories; empty without one.
    pub schema_name: String,
    /// Its text.
    pub schema_text: String,
    /// Acceptances of the command line.
    pub allow: Vec<Acceptance>,
}

impl Default for ResolveOptions {
    fn default() -> Self {
        Self {
            zone: "UTC".to_owned(),
            config_name: "pcrd.config.yml".to_owned(),
            config_text: String::new(),
            schema_name: String::new(),
            schema_text: String::new(),
            allow: Vec::new(),
        }
    }
}
