//! What a team allows a plan to do: a strict YAML file.

use std::fmt;

use miette::{Diagnostic, NamedSource, SourceCode};

use crate::desired::At;
use crate::desired::document::parse_document;
use crate::desired::fields::{Fields, Key, Section};
use crate::desired::problem::{Problem, ProblemKind, shown};
use crate::findings::{ALL, nearest};

/// The modes of table locks, weakest first.
pub const LOCK_MODES: [&str; 8] = [
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
];

/// The top level of a policy.
pub const TOP: Section = Section {
    path: "",
    keys: &[Key::new("forbid"), Key::new("highest_source_lock"), Key::new("timeouts")],
    hints: &[("deny", "did you mean `forbid`?"), ("forbidden", "did you mean `forbid`?")],
};

/// `timeouts`: the most that each may be, in seconds.
pub const TIMEOUTS: Section = Section {
    path: "timeouts",
    keys: &[Key::new("fence_timeout"), Key::new("lag_drain_timeout")],
    hints: &[("fence", "did you mean `fence_timeout`?"), ("lag_drain", "did you mean `lag_drain_timeout`?")],
};

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Findings that no plan may have, accepted or not.
    pub forbid: Vec<Forbidden>,
    /// The strongest lock on a table of the source before cleanup; a place in [`LOCK_MODES`].
    pub highest_source_lock: Option<usize>,
    /// The longest write pause, in seconds.
    pub fence_timeout_s: Option<u64>,
    /// The longest wait for the stream before it, in seconds.
    pub lag_drain_timeout_s: Option<u64>,
}

/// A finding by its code, everywhere or at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// `DELETES_DATA`.
    pub code: String,
    /// `public.orders.legacy_flag`; without it: everywhere.
    pub address: Option<String>,
}

/// Everything that is wrong with a policy file.
#[derive(Debug)]
pub struct PolicyErrors {
    /// The file, as given.
    pub file_name: String,
    /// The problems, at least one.
    pub problems: Vec<Problem>,
    source: NamedSource<String>,
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "{} has an error", self.file_name),
            errors => write!(f, "{} has {errors} errors", self.file_name),
        }
    }
}

impl std::error::Error for PolicyErrors {}

impl Diagnostic for PolicyErrors {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

/// Reads a policy. Pure; `file_name` is only shown.
///
/// # Errors
/// All problems of the text at once.
pub fn parse(file_name: &str, text: &str) -> Result<Policy, PolicyErrors> {
    let mut problems = Vec::new();
    let policy = match parse_document(text, &mut problems) {
        Ok(tree) => Fields::open(&tree, &TOP, tree.span.clone(), &mut problems).map(|top| read(&top, &mut problems)),
        Err(mut problem) => {
            if problem.kind == ProblemKind::Empty {
                problem.help = Some("a policy has `forbid`, `highest_source_lock` or `timeouts`".to_owned());
            }
            problems.push(problem);
            None
        }
    };
    match policy {
        Some(policy) if problems.is_empty() => Ok(policy),
        _ => {
            problems.sort_by_key(|problem| problem.labels.first().map_or(0, |label| label.span.start));
            let source = NamedSource::new(file_name, text.to_owned()).with_language("yaml");
            Err(PolicyErrors { file_name: file_name.to_owned(), problems, source })
        }
    }
}

fn read(top: &Fields<'_>, problems: &mut Vec<Problem>) -> Policy {
    const SECONDS: std::ops::RangeInclusive<u64> = 1..=7 * 24 * 3600;
    let forbid = top.texts("forbid", problems).map_or_else(Vec::new, |list| list.value);
    let forbid = forbid.into_iter().filter_map(|text| forbidden(&text, problems)).collect();
    let modes = std::array::from_fn::<_, 8, _>(|place| (LOCK_MODES[place], Some(place)));
    let highest_source_lock = top.choice("highest_source_lock", &modes, problems).map(|mode| mode.value);
    let mut policy = Policy { forbid, highest_source_lock, ..Policy::default() };
    if let Some(entry) = top.entry("timeouts")
        && let Some(timeouts) = Fields::open(&entry.value, &TIMEOUTS, entry.key.span.clone(), problems)
    {
        let mut seconds = |name| timeouts.integer(name, SECONDS, problems).map(|number| number.value);
        policy.fence_timeout_s = seconds("fence_timeout");
        policy.lag_drain_timeout_s = seconds("lag_drain_timeout");
    }
    policy
}

fn forbidden(text: &At<String>, problems: &mut Vec<Problem>) -> Option<Forbidden> {
    let (code, address) = match text.value.split_once('@') {
        Some((code, address)) => (code, Some(address)),
        None => (text.value.as_str(), None),
    };
    let is_code = !code.is_empty() && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if !is_code || address.is_some_and(str::is_empty) {
        let message = format!("`{}` is no finding", shown(&text.value));
        let problem = Problem::at(ProblemKind::BadValue, text.span.clone(), message, "neither CODE nor CODE@address");
        problems.push(problem.help("for example DELETES_DATA, or DELETES_DATA@public.orders.legacy_flag"));
        return None;
    }
    if !ALL.iter().any(|rule| rule.code == code) {
        let message = format!("there is no finding {code}: this would forbid nothing");
        let problem = Problem::at(ProblemKind::BadValue, text.span.clone(), message, "not a code");
        let near = nearest(code).map(|near| format!("did you mean {near}?"));
        problems.push(problem.help(near.unwrap_or_else(|| "all codes are in `pcrd explain`".to_owned())));
        return None;
    }
    Some(Forbidden { code: code.to_owned(), address: address.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Vec<String> {
        parse("policy.yml", text).unwrap_err().problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_policy_is_read_whole() {
        let text = "forbid: [DELETES_DATA, LOSSY_CAST@public.t.c]\nhighest_source_lock: SHARE ROW EXCLUSIVE\n\
                    timeouts: {fence_timeout: 10, lag_drain_timeout: 1_000}\n";
        let policy = parse("policy.yml", text).unwrap();
        assert_eq!(policy.forbid[1].address.as_deref(), Some("public.t.c"));
        assert_eq!(policy.highest_source_lock.map(|place| LOCK_MODES[place]), Some("SHARE ROW EXCLUSIVE"));
        assert_eq!((policy.fence_timeout_s, policy.lag_drain_timeout_s), (Some(10), Some(1_000)));
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_place() {
        let text = "forbid: [deletes]\nhighest_source_lock: SHARE ROW EXCLUSIV\ntimeouts: {fence: 1, lag_drain_timeout: 0}\nx: 1\n";
        let errors = parse("policy.yml", text).unwrap_err();
        let places: Vec<&str> = errors.problems.iter().map(|problem| &text[problem.labels[0].span.clone()]).collect();
        assert_eq!(places, ["deletes", "SHARE ROW EXCLUSIV", "fence", "0", "x"]);
        assert!(refused("")[0].contains("empty"));
        assert!(refused("- a\n")[0].contains("must be a map"));
        assert!(!refused("forbid: [NO_KEY]\nforbid: [NO_KEY]\n").is_empty());
        let unknown = parse("policy.yml", "forbid: [DELETE_DATA, NO_KEY@public.t]\n").unwrap_err().problems;
        assert_eq!(unknown.len(), 1);
        assert_eq!(unknown[0].help.as_deref(), Some("did you mean DELETES_DATA?"));
    }
}
