//! Config and catalogs → plan, with errors that point into the config.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use miette::{Diagnostic, NamedSource, SourceCode};

use crate::catalog::Catalog;
use crate::config::Config;
use crate::desired::Acceptance;
use crate::pg::session::PINNED;
use crate::plan::{Input, Plan, Settings, build};
use crate::resolve::error::ResolveError;
use crate::resolve::{ResolveOptions, Resolved, resolve};

use super::error::{CommandError, Exit};

/// Everything that keeps a plan from being made.
#[derive(Debug)]
struct ResolveErrors {
    errors: Vec<ResolveError>,
    source: NamedSource<String>,
}

impl fmt::Display for ResolveErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.len() {
            1 => write!(f, "no plan can be made: there is an error"),
            n_errors => write!(f, "no plan can be made: there are {n_errors} errors"),
        }
    }
}

impl std::error::Error for ResolveErrors {}

impl Diagnostic for ResolveErrors {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.errors.iter().map(|error| error as &dyn Diagnostic)))
    }
}

/// A desired schema made whole, and the plan that brings it about.
#[derive(Debug)]
pub struct Compiled {
    /// The wanted target.
    pub resolved: Resolved,
    /// The plan.
    pub plan: Plan,
}

/// Compiles. Reads nothing but its arguments.
///
/// # Errors
/// Everything that makes a plan impossible, at once; places in the config where there are some.
pub fn compile(
    config: &Config,
    source: &Catalog,
    target: &Catalog,
    allow: Vec<Acceptance>,
) -> Result<Compiled, CommandError> {
    if config.migrate.desired.tables.is_empty() {
        let text = format!("{} lists no tables under `migrate.tables`", config.file_name);
        return Err(CommandError::new(Exit::Usage, text));
    }
    let name = Path::new(&config.file_name)
        .file_name()
        .map_or_else(|| config.file_name.clone(), |name| name.to_string_lossy().into_owned());
    let settings = settings(config);
    let options = ResolveOptions {
        zone: settings.session["TimeZone"].clone(),
        config_name: name.clone(),
        config_text: config.text.clone(),
        allow,
    };
    let resolved = resolve(&config.migrate.desired, source, target, &options).map_err(|errors| {
        let written = |error: &ResolveError| error.span.is_some() || error.kind.is_acceptance();
        let exit = if errors.iter().any(written) { Exit::Usage } else { Exit::Blocked };
        let source = NamedSource::new(&config.file_name, config.text.clone()).with_language("yaml");
        CommandError::diagnostic(exit, ResolveErrors { errors, source })
    })?;
    let inputs = [Input { name, sha256: config.digest.clone() }];
    let plan = build(&resolved, &settings, &inputs).map_err(|error| CommandError::new(Exit::Failed, error))?;
    Ok(Compiled { resolved, plan })
}

fn settings(config: &Config) -> Settings {
    let migrate = &config.migrate;
    let session: BTreeMap<String, String> =
        PINNED.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Settings {
        slot: migrate.slot.clone(),
        publication: migrate.publication.clone(),
        batch_size: migrate.batch_size,
        batch_size_is_cap: migrate.batch_size_set,
        workers: migrate.workers,
        max_rows_per_second: migrate.max_rows_per_second,
        max_bytes_per_second: migrate.max_bytes_per_second,
        lag_threshold_bytes: migrate.lag_threshold_bytes,
        sequence_buffer: config.cutover.sequence_buffer,
        lag_drain_timeout_s: config.cutover.lag_drain_timeout_s,
        fence_timeout_ms: config.cutover.fence_timeout_ms,
        session,
    }
}
