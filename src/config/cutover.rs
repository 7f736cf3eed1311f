//! `cutover`: what stops the writers, and the operator's programs around the switch.

use std::path::Path;

use crate::catalog::Ident;
use crate::config::endpoint::{self, Endpoint, PasswordWish};
use crate::config::keys;
use crate::config::model::{CutoverSettings, PoolerSettings};
use crate::desired::document::Kind;
use crate::desired::fields::{Fields, POSITIVE, wrong_type};
use crate::desired::problem::{Problem, ProblemKind};
use crate::plan::{FenceKind, Hook, Hooks, Reverse};

const SECONDS_MAX: u64 = 7 * 24 * 3600;

/// Reads the section, which the file may lack. Relative paths are relative to `base`.
pub(super) fn read(
    top: &Fields<'_>,
    base: &Path,
    allow_plaintext: bool,
    problems: &mut Vec<Problem>,
) -> CutoverSettings {
    let entry = top.entry(keys::CUTOVER.path);
    let fields = entry.and_then(|entry| Fields::open(&entry.value, &keys::CUTOVER, entry.key.span.clone(), problems));
    let fields = fields.unwrap_or_else(|| Fields::none(&keys::CUTOVER));
    let before = problems.len();
    let fences = [
        ("trigger", Some(FenceKind::Trigger)),
        ("rename", Some(FenceKind::Rename)),
        ("pgbouncer", Some(FenceKind::Pgbouncer)),
        ("hooks", Some(FenceKind::Hooks)),
        ("none", Some(FenceKind::None)),
    ];
    let fence = fields.choice("fence", &fences, problems);
    let hooks = hooks(&fields, problems);
    let pgbouncer = pooler(&fields, base, allow_plaintext, problems);
    let reverse = reverse(&fields, problems);
    let kind = fence.as_ref().map_or(FenceKind::Trigger, |fence| fence.value);
    if problems.len() == before
        && let Some(why) = contradiction(kind, &hooks, pgbouncer.is_some(), reverse.is_some())
    {
        let span = fence.map_or_else(|| fields.at.clone(), |fence| fence.span);
        problems.push(Problem::at(ProblemKind::Contradiction, span, why, "here"));
    }
    let mut integer =
        |key, bounds, default| fields.integer(key, bounds, problems).map_or(default, |number| number.value);
    CutoverSettings {
        sequence_buffer: integer("sequence_buffer", 0..=*POSITIVE.end(), 1_000),
        lag_drain_timeout_s: integer("lag_drain_timeout", 1..=SECONDS_MAX, 300),
        fence_timeout_ms: integer("fence_timeout", 1..=SECONDS_MAX, 10) * 1_000,
        fence: kind,
        hooks,
        pgbouncer,
        reverse,
    }
}

/// The section asks for the way back, unless it says that it does not.
fn reverse(cutover: &Fields<'_>, problems: &mut Vec<Problem>) -> Option<Reverse> {
    let entry = cutover.entry("reverse")?;
    let fields = Fields::open(&entry.value, &keys::REVERSE, entry.key.span.clone(), problems)?;
    let is_enabled = fields.boolean("enabled", problems).is_none_or(|enabled| enabled.value);
    if is_enabled && fields.entry("user").is_none() {
        fields.missing("user", problems);
    }
    let user = fields.ident("user", problems)?;
    is_enabled.then_some(Reverse { user: user.value })
}

/// Why the parts do not make one cutover.
fn contradiction(fence: FenceKind, hooks: &Hooks, has_pooler: bool, goes_back: bool) -> Option<&'static str> {
    match fence {
        fence if goes_back && !fence.refuses() => Some(
            "`cutover.reverse` needs a fence that refuses writes (`trigger` or `pgbouncer`): what others wrote to the source \
             meanwhile would meet the rows that come back",
        ),
        FenceKind::Rename if goes_back => Some(
            "`cutover.fence: rename` takes the source's tables their names, and `cutover.reverse` writes to them by name",
        ),
        FenceKind::Pgbouncer if !has_pooler => {
            Some("`cutover.fence: pgbouncer` needs `cutover.pgbouncer` with `admin_uri` and `databases`")
        }
        FenceKind::Pgbouncer if hooks.switch.is_empty() => Some(
            "`cutover.fence: pgbouncer` needs `cutover.hooks.switch`, which points pgbouncer at the target: without it \
             RESUME would send the clients back to the source",
        ),
        FenceKind::Pgbouncer => None,
        _ if has_pooler => Some("`cutover.pgbouncer` has no effect without `cutover.fence: pgbouncer`"),
        FenceKind::Hooks if hooks.before_fence.is_empty() => {
            Some("`cutover.fence: hooks` needs `cutover.hooks.before_fence`, which stops the writers")
        }
        FenceKind::Trigger | FenceKind::Rename | FenceKind::Hooks | FenceKind::None => None,
    }
}

fn hooks(cutover: &Fields<'_>, problems: &mut Vec<Problem>) -> Hooks {
    let mut hooks = Hooks::default();
    let Some(entry) = cutover.entry("hooks") else { return hooks };
    let Some(fields) = Fields::open(&entry.value, &keys::HOOKS, entry.key.span.clone(), problems) else {
        return hooks;
    };
    hooks.before_fence = argv(&fields, Hook::BeforeFence, problems);
    hooks.switch = argv(&fields, Hook::Switch, problems);
    hooks.after_switch = argv(&fields, Hook::AfterSwitch, problems);
    hooks.abort = argv(&fields, Hook::Abort, problems);
    if let Some(timeout) = fields.integer("timeout", 1..=SECONDS_MAX, problems)
        && !hooks.is_empty()
    {
        hooks.timeout_s = timeout.value;
    }
    hooks
}

/// Program and arguments.
fn argv(fields: &Fields<'_>, hook: Hook, problems: &mut Vec<Problem>) -> Vec<String> {
    let (key, before) = (hook.word(), problems.len());
    let Some(entry) = fields.entry(key) else { return Vec::new() };
    if let Kind::Scalar { .. } = &entry.value.kind {
        let problem = wrong_type(entry.place(), &fields.path_of(key), "a list", "a single value");
        let help = format!(
            "no shell is involved: write program and arguments as a list, `{key}: [/path/to/program, argument]`"
        );
        problems.push(problem.help(help));
        return Vec::new();
    }
    let Some(list) = fields.texts(key, problems) else { return Vec::new() };
    if list.value.is_empty() && problems.len() == before {
        let message = format!("`{}` is empty", fields.path_of(key));
        problems.push(Problem::at(ProblemKind::BadValue, list.span.clone(), message, "no program"));
    }
    if let Some(text) = list.value.iter().find(|text| text.value.contains('\0')) {
        problems.push(Problem::at(ProblemKind::BadValue, text.span.clone(), "an argument has a NUL byte", "here"));
    }
    if let Some(text) = list.value.iter().find(|text| names_password(&text.value)) {
        let message = "an argument has a password, which the plan file would show to everybody";
        let problem = Problem::at(ProblemKind::BadValue, text.span.clone(), message, "here");
        problems.push(problem.help("let the program read it from a file or from a variable of its environment"));
    }
    list.value.into_iter().map(|text| text.value).collect()
}

/// `password=…` or `://user:…@`, unless the value is a variable's.
fn names_password(argument: &str) -> bool {
    let is_value = |text: &str| {
        let first = text.trim_start_matches(['\'', '"']).chars().next();
        first.is_some_and(|first| !matches!(first, '$' | ' '))
    };
    let lower = argument.to_ascii_lowercase();
    let pairs = ["password=", "passwd=", "pwd="].iter().flat_map(|key| lower.split(key).skip(1));
    let authorities = argument.split("://").skip(1).filter_map(|rest| {
        let authority = rest.split(['/', '?', ' ']).next()?;
        authority.rsplit_once('@')?.0.split_once(':').map(|(_, password)| password)
    });
    pairs.chain(authorities).any(is_value)
}

fn pooler(
    cutover: &Fields<'_>,
    base: &Path,
    allow_plaintext: bool,
    problems: &mut Vec<Problem>,
) -> Option<PoolerSettings> {
    let entry = cutover.entry("pgbouncer")?;
    let fields = Fields::open(&entry.value, &keys::PGBOUNCER, entry.key.span.clone(), problems)?;
    if fields.entry("databases").is_none() {
        fields.missing("databases", problems);
    }
    let list = fields.texts("databases", problems);
    if let Some(list) = list.as_ref().filter(|list| list.value.is_empty()) {
        let message = "`cutover.pgbouncer.databases` is empty";
        problems.push(Problem::at(ProblemKind::BadValue, list.span.clone(), message, "no database"));
    }
    let names = list.map_or_else(Vec::new, |list| list.value);
    let databases: Vec<Ident> = names
        .into_iter()
        .filter_map(|name| crate::desired::fields::ident_of(name, problems))
        .map(|name| name.value)
        .collect();
    let uri = fields.required_text("admin_uri", problems)?;
    let mut params = endpoint::of_uri(&fields, "admin_uri", &uri, base, allow_plaintext, problems)?;
    // As pgbouncer itself listens and calls its console.
    params.port.get_or_insert(6432);
    params.database.get_or_insert_with(|| "pgbouncer".to_owned());
    Some(PoolerSettings { admin: Endpoint { span: uri.span, params, password: PasswordWish::Unsaid }, databases })
}
