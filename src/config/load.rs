//! Text → [`Config`], or everything that is wrong with it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use miette::{Diagnostic, NamedSource, SourceCode};

use crate::catalog::{Fingerprint, Ident};
use crate::config::cutover;
use crate::config::endpoint::{self, Endpoint};
use crate::config::keys;
use crate::config::model::{Config, MigrateSettings, VerifySettings};
use crate::config::redact;
use crate::desired::document::{Node, parse_document};
use crate::desired::fields::{Fields, POSITIVE, Section, table_of};
use crate::desired::problem::{Problem, ProblemKind};
use crate::desired::selection::Selection;
use crate::desired::{At, CopyWish, DesiredSchema, carry, check, yaml};
use crate::plan::{Comparison, HashKind, OnDdl, Signal, ThrottleLimits};

/// A larger file is not a config; reading it would only delay saying so.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Everything that is wrong with one config file, in the order of the file. Shows no secret.
#[derive(Debug)]
pub struct ConfigErrors {
    /// The file, as given.
    pub file_name: String,
    /// The problems, at least one.
    pub problems: Vec<Problem>,
    source: Option<NamedSource<String>>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "{} has an error", self.file_name),
            errors => write!(f, "{} has {errors} errors", self.file_name),
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl Diagnostic for ConfigErrors {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

/// Reads and checks a config file. Touches no database, environment or other file.
///
/// # Errors
/// All problems of the file at once.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let file_name = path.display().to_string();
    match read(path) {
        Ok(text) => parse(&file_name, &text),
        Err(problem) => Err(ConfigErrors { file_name, problems: vec![problem], source: None }),
    }
}

fn read(path: &Path) -> Result<String, Problem> {
    let problem = |kind, message| Problem { kind, message, labels: Vec::new(), help: None };
    let shown = path.display();
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            let help = "name it with --config; the default is pcrd.config.yml in the current directory";
            problem(ProblemKind::NotFound, format!("config file not found: {shown}")).help(help)
        }
        io::ErrorKind::PermissionDenied => {
            problem(ProblemKind::Unreadable, format!("cannot read config file (permission denied): {shown}"))
        }
        _ => problem(ProblemKind::Unreadable, format!("cannot read config file {shown}: {error}")),
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("config file {shown} has more than {FILE_BYTES_MAX} bytes");
        return Err(problem(ProblemKind::TooLarge, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
        problem(ProblemKind::Unreadable, format!("config file {shown} is not valid UTF-8 (line {line}, byte {at})"))
    })
}

/// Checks a config given as text. Relative paths in it are relative to the directory of `file_name`. Pure.
///
/// # Errors
/// All problems of the text at once.
pub fn parse(file_name: &str, text: &str) -> Result<Config, ConfigErrors> {
    let mut problems = Vec::new();
    let (tree, config) = match parse_document(text, &mut problems) {
        Ok(tree) => {
            let config = config(file_name, text, &tree, &mut problems);
            (Some(tree), config)
        }
        Err(problem) => {
            problems.push(problem);
            (None, None)
        }
    };
    if problems.is_empty()
        && let Some(config) = config
    {
        return Ok(config);
    }
    problems.sort_by_key(|problem| problem.labels.first().map_or(0, |label| label.span.start));
    let mut shown = redact::masked(text, tree.as_ref());
    if problems.iter().any(|problem| problem.kind == ProblemKind::DuplicateKey) {
        // The tree has only the first of two values.
        shown = redact::masked(&shown, None);
    }
    let source = NamedSource::new(file_name, shown).with_language("yaml");
    Err(ConfigErrors { file_name: file_name.to_owned(), problems, source: Some(source) })
}

fn config(file_name: &str, text: &str, tree: &Node, problems: &mut Vec<Problem>) -> Option<Config> {
    let base = Path::new(file_name).parent().unwrap_or(Path::new(""));
    let top = Fields::open(tree, &keys::TOP, tree.span.clone(), problems)?;
    let allow_plaintext = top.boolean("allow_plaintext_password", problems).is_some_and(|allow| allow.value);
    if top.entry("source").is_none() {
        top.missing("source", problems);
    }
    let mut end = |section: &'static Section| {
        let entry = top.entry(section.path)?;
        endpoint::read(&entry.value, section, entry.key.span.clone(), base, allow_plaintext, problems)
    };
    let (source, target) = (end(&keys::SOURCE), end(&keys::TARGET));
    if let (Some(source), Some(target)) = (&source, &target) {
        different_ends(source, target, problems);
    }
    let migrate = migrate(&top, base, problems);
    let analyze_tables = section(&top, &keys::ANALYZE, problems).and_then(|fields| analyze(&fields, problems));
    let verify = verify(&top, problems);
    let cutover = cutover::read(&top, base, allow_plaintext, problems);
    // The digest stands in the plan: over a masked text it tells nothing about a password.
    let masked = redact::masked(text, Some(tree));
    let digested = if redact::has_secret(text, tree) { &masked } else { text };
    Some(Config {
        file_name: file_name.to_owned(),
        digest: Fingerprint::of_bytes(digested.as_bytes()),
        text: masked,
        source: source?,
        target,
        migrate: migrate?,
        analyze_tables,
        verify,
        cutover,
    })
}

fn different_ends(source: &Endpoint, target: &Endpoint, problems: &mut Vec<Problem>) {
    if source.is_textually(target) {
        let message = "`source` and `target` are the same database";
        let problem = Problem::at(ProblemKind::Contradiction, target.span.clone(), message, "the same as");
        problems.push(problem.and(source.span.clone(), "this one").help("a table is migrated between two databases"));
    }
}

fn section<'a>(top: &Fields<'a>, section: &'static Section, problems: &mut Vec<Problem>) -> Option<Fields<'a>> {
    let entry = top.entry(section.path)?;
    Fields::open(&entry.value, section, entry.key.span.clone(), problems)
}

fn migrate(top: &Fields<'_>, base: &Path, problems: &mut Vec<Problem>) -> Option<MigrateSettings> {
    const WORKERS_MAX: u64 = 256;
    let accept = match top.list("accept", problems) {
        Some(list) => yaml::acceptances(&list, problems),
        None => Vec::new(),
    };
    let fields = match section(top, &keys::MIGRATE, problems) {
        Some(fields) => fields,
        // A config for `analyze` alone has no `migrate`; one that is no map has been reported.
        None if top.entry("migrate").is_none() => Fields::none(&keys::MIGRATE),
        None => return None,
    };
    let (tables, globs) = yaml::tables(&fields, problems);
    let selection = Selection { globs, exclude: yaml::excluded(&fields, problems) };
    check::contradictions(&tables, problems);
    let base_name = tables.first().map_or("migration", |table| table.source.value.name.as_str());
    let slot = object_name(&fields, "replication_slot", problems).unwrap_or_else(|| default_name("pcrd_", base_name));
    let publication = object_name(&fields, "publication", problems);
    let publication = publication.unwrap_or_else(|| default_name("pcrd_pub_", base_name));
    let batch_size = fields.integer("batch_size", POSITIVE, problems);
    let policies =
        [OnDdl::Stop, OnDdl::IgnoreAdditive, OnDdl::FollowAdditive].map(|policy| (policy.word(), Some(policy)));
    let on_ddl = fields.choice("on_ddl", &policies, problems).map_or(OnDdl::Stop, |policy| policy.value);
    let copy = fields.choice("copy", &CopyWish::WORDS, problems).map_or(CopyWish::Auto, |copy| copy.value);
    let carry = carry::read(&fields, problems);
    let vacuum = fields.boolean("vacuum", problems).is_some_and(|vacuum| vacuum.value);
    let mut positive = |key| fields.integer(key, POSITIVE, problems).map(|number| number.value);
    let lag_threshold_bytes = positive("lag_threshold_bytes").unwrap_or(1_048_576);
    let max_rows_per_second = positive("max_rows_per_second");
    let max_bytes_per_second = positive("max_bytes_per_second");
    let workers = fields.integer("workers", 1..=WORKERS_MAX, problems);
    Some(MigrateSettings {
        slot,
        publication,
        checkpoint_db: checkpoint_db(top, &fields, base, problems),
        batch_size_set: batch_size.is_some(),
        batch_size: batch_size.map_or(10_000, |number| number.value),
        lag_threshold_bytes,
        max_rows_per_second,
        max_bytes_per_second,
        throttle: throttle(&fields, problems),
        on_ddl,
        workers: workers.and_then(|number| u32::try_from(number.value).ok()),
        schema: fields
            .text_or_texts("schema", problems)
            .into_iter()
            .map(|path| At { value: base.join(path.value), span: path.span })
            .collect(),
        desired: DesiredSchema { tables, selection, accept, vacuum, copy, carry, ..DesiredSchema::default() },
    })
}

fn throttle(migrate: &Fields<'_>, problems: &mut Vec<Problem>) -> ThrottleLimits {
    let mut limits = ThrottleLimits::default();
    let entry = migrate.entry("throttle");
    let fields = entry.and_then(|entry| Fields::open(&entry.value, &keys::THROTTLE, entry.key.span.clone(), problems));
    for signal in Signal::ALL {
        let said = fields.as_ref().and_then(|fields| fields.integer(signal.key(), 0..=*POSITIVE.end(), problems));
        limits.set(signal, said.map(|limit| limit.value));
    }
    limits
}

fn checkpoint_db(top: &Fields<'_>, fields: &Fields<'_>, base: &Path, problems: &mut Vec<Problem>) -> PathBuf {
    let checkpoint_db = fields.text("checkpoint_db", problems);
    let state = top.text("state", problems);
    if let (Some(checkpoint_db), Some(state)) = (&checkpoint_db, &state) {
        let message = "`state` and `migrate.checkpoint_db` are two names of one setting";
        let problem = Problem::at(ProblemKind::Contradiction, state.span.clone(), message, "here");
        problems.push(problem.and(checkpoint_db.span.clone(), "and here").help("keep one of the two lines"));
    }
    base.join(checkpoint_db.or(state).map_or_else(|| "pcrd_checkpoint.sqlite3".to_owned(), |path| path.value))
}

/// A slot or publication: PostgreSQL takes only these characters for slots, and publications travel beside them.
fn object_name(fields: &Fields<'_>, key: &str, problems: &mut Vec<Problem>) -> Option<Ident> {
    let name = fields.ident(key, problems)?;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.value.as_str().chars().all(good) {
        return Some(name.value);
    }
    let message = format!("`{}` may have only a–z, 0–9 and _", fields.path_of(key));
    problems.push(Problem::at(ProblemKind::BadName, name.span, message, "other characters"));
    None
}

/// `prefix` and the table's name; a name that would be cut off ends in a digest of the whole instead.
fn default_name(prefix: &str, table: &str) -> Ident {
    const DIGEST_BYTES: usize = 8;
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '_' };
    let mut base: String = table.chars().map(word).collect();
    let room = crate::catalog::name::IDENT_BYTES_MAX - prefix.len();
    if base.len() > room {
        base.truncate(room - DIGEST_BYTES - 1);
        base = format!("{base}_{}", Fingerprint::of_bytes(table.as_bytes()).short());
    }
    Ident::new(format!("{prefix}{base}")).expect("the prefix is not empty and the rest was cut to fit")
}

fn analyze(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> Option<Vec<At<crate::catalog::QualifiedName>>> {
    let list = fields.texts("tables", problems)?;
    Some(list.value.into_iter().filter_map(|text| table_of(text, problems)).collect())
}

fn verify(top: &Fields<'_>, problems: &mut Vec<Problem>) -> VerifySettings {
    let Some(fields) = section(top, &keys::VERIFY, problems) else { return VerifySettings::default() };
    let hashes = [("fast", Some(HashKind::Fast)), ("sha256", Some(HashKind::Sha256))];
    let hash = fields.choice("hash", &hashes, problems).map(|hash| hash.value).unwrap_or_default();
    let mut positive = |name| fields.integer(name, POSITIVE, problems).map(|number| number.value);
    let (sample_size, max_rows_per_second) = (positive("sample_size"), positive("max_rows_per_second"));
    VerifySettings { sample_size, comparison: Comparison { hash, max_rows_per_second } }
}
