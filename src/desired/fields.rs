//! Reads maps by a table of known keys; what is not in the table is a problem, never ignored.

use std::ops::{Range, RangeInclusive};

use crate::catalog::{Ident, NameError, QualifiedName};
use crate::desired::At;
use crate::desired::document::{Entry, Kind, Node};
use crate::desired::problem::{Problem, ProblemKind, did_you_mean, shown};

/// The keys that one map may have.
#[derive(Debug)]
pub struct Section {
    /// Path in the file, `migrate.tables[]`; empty at the top level.
    pub path: &'static str,
    /// The keys.
    pub keys: &'static [Key],
    /// What to say about keys that people try here.
    pub hints: &'static [(&'static str, &'static str)],
}

/// One key of a map.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// False for keys that the format reserves and this version refuses.
    pub supported: bool,
}

impl Key {
    /// A key that works.
    pub const fn new(name: &'static str) -> Self {
        Self { name, supported: true }
    }

    /// A key that is refused as not yet supported.
    pub const fn later(name: &'static str) -> Self {
        Self { name, supported: false }
    }
}

/// A map whose keys have been checked.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    section: &'static Section,
    entries: &'a [Entry],
    /// What to point at when something is missing.
    pub at: Range<usize>,
}

/// Whole numbers without sign, as the config has them.
pub const POSITIVE: RangeInclusive<u64> = 1..=i64::MAX as u64;

impl<'a> Fields<'a> {
    /// Checks that `node` is a map with known keys. `at` is the key or list item that holds it.
    pub fn open(
        node: &'a Node,
        section: &'static Section,
        at: Range<usize>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            let place = if node.span.is_empty() { at } else { node.span.clone() };
            let what = if section.path.is_empty() { "the file".to_owned() } else { format!("`{}`", section.path) };
            let message = format!("{what} must be a map, not {}", node.kind.name());
            problems.push(Problem::at(ProblemKind::WrongType, place, message, "expected `key: value` lines"));
            return None;
        };
        for entry in entries {
            check_key(section, entry, problems);
        }
        Some(Self { section, entries, at })
    }

    /// A section that the file does not have.
    pub fn none(section: &'static Section) -> Self {
        Self { section, entries: &[], at: 0..0 }
    }

    /// The line of a key, whatever its value.
    pub fn entry(&self, name: &str) -> Option<&'a Entry> {
        debug_assert!(self.section.keys.iter().any(|key| key.name == name), "{name} is not in {}", self.section.path);
        self.entries.iter().find(|entry| entry.key.value == name)
    }

    /// Reports a key that must be there.
    pub fn missing(&self, name: &str, problems: &mut Vec<Problem>) {
        let path = self.path_of(name);
        problems.push(
            Problem::at(
                ProblemKind::Missing,
                self.at.clone(),
                format!("`{path}` is missing"),
                format!("needs `{name}`"),
            )
            .help(format!("add a line `{name}: …`")),
        );
    }

    /// Text that is not empty. Numbers and booleans are taken as they are written.
    pub fn text(&self, name: &str, problems: &mut Vec<Problem>) -> Option<At<String>> {
        let entry = self.entry(name)?;
        text_of(entry, &self.path_of(name), problems)
    }

    /// Like `text`, but the key must be there.
    pub fn required_text(&self, name: &str, problems: &mut Vec<Problem>) -> Option<At<String>> {
        if self.entry(name).is_none() {
            self.missing(name, problems);
        }
        self.text(name, problems)
    }

    /// A name as PostgreSQL stores it.
    pub fn ident(&self, name: &str, problems: &mut Vec<Problem>) -> Option<At<Ident>> {
        ident_of(self.text(name, problems)?, problems)
    }

    /// A table name; without a schema it is in `public`.
    pub fn table(&self, name: &str, problems: &mut Vec<Problem>) -> Option<At<QualifiedName>> {
        table_of(self.text(name, problems)?, problems)
    }

    /// A whole number within bounds; `10_000` is a number.
    pub fn integer(&self, name: &str, bounds: RangeInclusive<u64>, problems: &mut Vec<Problem>) -> Option<At<u64>> {
        let entry = self.entry(name)?;
        let path = self.path_of(name);
        let place = entry.place();
        let Kind::Scalar { text, quoted } = &entry.value.kind else {
            problems.push(wrong_type(place, &path, "a whole number", entry.value.kind.name()));
            return None;
        };
        let Some(number) = whole_number(text) else {
            problems.push(wrong_type(place, &path, "a whole number", "other text"));
            return None;
        };
        if *quoted {
            let problem = wrong_type(place, &path, "a whole number", "text in quotes");
            problems.push(problem.help("remove the quotes"));
            return None;
        }
        let (min, max) = (*bounds.start(), *bounds.end());
        match u64::try_from(number) {
            Ok(value) if bounds.contains(&value) => Some(At { value, span: place }),
            _ => {
                let message = if max == *POSITIVE.end() {
                    format!("`{path}` must be at least {min}")
                } else {
                    format!("`{path}` must be between {min} and {max}")
                };
                problems.push(Problem::at(ProblemKind::BadValue, place, message, "out of range"));
                None
            }
        }
    }

    /// `true` or `false` (or YAML 1.1's `yes`, `no`, `on`, `off`, which the original took).
    pub fn boolean(&self, name: &str, problems: &mut Vec<Problem>) -> Option<At<bool>> {
        let entry = self.entry(name)?;
        if let Kind::Scalar { text, quoted: false } = &entry.value.kind {
            let value = match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some(true),
                "false" | "no" | "off" => Some(false),
                _ => None,
            };
            if let Some(value) = value {
                return Some(At { value, span: entry.value.span.clone() });
            }
        }
        let found = match &entry.value.kind {
            Kind::Scalar { quoted: true, .. } => "text in quotes",
            Kind::Scalar { .. } => "other text",
            other => other.name(),
        };
        problems.push(wrong_type(entry.place(), &self.path_of(name), "`true` or `false`", found));
        None
    }

    /// The items of a list, with the key's place.
    pub fn list(&self, name: &str, problems: &mut Vec<Problem>) -> Option<At<&'a [Node]>> {
        let entry = self.entry(name)?;
        let Kind::List(items) = &entry.value.kind else {
            let problem = wrong_type(entry.place(), &self.path_of(name), "a list", entry.value.kind.name());
            problems.push(problem.help(format!("write `{name}: [a, b]`, or one `- item` a line")));
            return None;
        };
        Some(At { value: items, span: entry.key.span.clone() })
    }

    /// A list of texts, none of them empty.
    pub fn texts(&self, name: &str, problems: &mut Vec<Problem>) -> Option<At<Vec<At<String>>>> {
        let list = self.list(name, problems)?;
        let mut texts = Vec::new();
        for item in list.value {
            match &item.kind {
                Kind::Scalar { text, .. } if !text.is_empty() => {
                    texts.push(At { value: text.clone(), span: item.span.clone() });
                }
                other => {
                    let place = if item.span.is_empty() { list.span.clone() } else { item.span.clone() };
                    let found = if matches!(other, Kind::Scalar { .. }) { "empty text" } else { other.name() };
                    problems.push(wrong_type(place, &format!("{}[]", self.path_of(name)), "text", found));
                }
            }
        }
        Some(At { value: texts, span: list.span })
    }

    /// A list of texts, or one text, which is a list of one.
    pub fn text_or_texts(&self, name: &str, problems: &mut Vec<Problem>) -> Vec<At<String>> {
        let is_scalar = self.entry(name).is_some_and(|entry| matches!(entry.value.kind, Kind::Scalar { .. }));
        if is_scalar {
            return self.text(name, problems).into_iter().collect();
        }
        self.texts(name, problems).map_or_else(Vec::new, |texts| texts.value)
    }

    /// One of a few words; `None` beside a word means that it is not supported yet.
    pub fn choice<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, Option<T>)],
        problems: &mut Vec<Problem>,
    ) -> Option<At<T>> {
        chosen(self.text(name, problems)?, &self.path_of(name), words, problems)
    }

    /// Some of a few words, in a list or alone; `None` beside a word means that it is not supported yet.
    pub fn choices<T: Copy>(&self, name: &str, words: &[(&str, Option<T>)], problems: &mut Vec<Problem>) -> Vec<At<T>> {
        let path = self.path_of(name);
        let texts = self.text_or_texts(name, problems);
        texts.into_iter().filter_map(|text| chosen(text, &path, words, problems)).collect()
    }

    /// Path of a key of this map, for messages.
    pub fn path_of(&self, name: &str) -> String {
        if self.section.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.section.path) }
    }
}

fn chosen<T: Copy>(
    text: At<String>,
    path: &str,
    words: &[(&str, Option<T>)],
    problems: &mut Vec<Problem>,
) -> Option<At<T>> {
    match words.iter().find(|(word, _)| *word == text.value) {
        Some((_, Some(value))) => Some(At { value: *value, span: text.span }),
        Some((word, None)) => {
            problems.push(not_yet(text.span, &format!("{path}: {word}")));
            None
        }
        None => {
            let supported: Vec<&str> =
                words.iter().filter(|(_, value)| value.is_some()).map(|(word, _)| *word).collect();
            let help = did_you_mean(&text.value, &supported).unwrap_or_else(|| one_of(&supported));
            let message = format!("`{path}` cannot be `{}`", shown(&text.value));
            problems.push(Problem::at(ProblemKind::BadValue, text.span, message, "not a known value").help(help));
            None
        }
    }
}

fn one_of(words: &[&str]) -> String {
    format!("one of: {}", words.join(", "))
}

fn check_key(section: &'static Section, entry: &Entry, problems: &mut Vec<Problem>) {
    let name = entry.key.value.as_str();
    let place = entry.key.span.clone();
    match section.keys.iter().find(|key| key.name == name) {
        Some(key) if key.supported => {}
        Some(_) => {
            let path = if section.path.is_empty() { name.to_owned() } else { format!("{}.{name}", section.path) };
            problems.push(not_yet(place, &path));
        }
        None => {
            let supported: Vec<&str> = section.keys.iter().filter(|key| key.supported).map(|key| key.name).collect();
            let hint = section.hints.iter().find(|(tried, _)| *tried == name).map(|(_, help)| (*help).to_owned());
            let comma = (name.contains(')') && !name.contains('('))
                .then(|| "inside `{…}` a comma ends the value: put the value in quotes".to_owned());
            let help = hint
                .or(comma)
                .or_else(|| did_you_mean(name, &supported))
                .unwrap_or_else(|| format!("known keys: {}", supported.join(", ")));
            let whole = if section.path.is_empty() { "the file".to_owned() } else { format!("`{}`", section.path) };
            let message = format!("{whole} has no key `{}`", shown(name));
            problems.push(Problem::at(ProblemKind::UnknownKey, place, message, "unknown key").help(help));
        }
    }
}

fn not_yet(place: Range<usize>, what: &str) -> Problem {
    Problem::at(ProblemKind::NotYet, place, format!("`{what}` is not supported yet"), "not yet supported")
        .help("this version refuses what it would otherwise have to ignore; remove the line")
}

/// A value of the wrong type. The value itself is not repeated: it may be a secret in the wrong place.
pub fn wrong_type(place: Range<usize>, path: &str, expected: &str, found: &str) -> Problem {
    let message = format!("`{path}` must be {expected}, not {found}");
    Problem::at(ProblemKind::WrongType, place, message, format!("expected {expected}"))
}

/// The text of one line, not empty.
pub fn text_of(entry: &Entry, path: &str, problems: &mut Vec<Problem>) -> Option<At<String>> {
    match &entry.value.kind {
        Kind::Scalar { text, .. } if !text.trim().is_empty() && !text.contains('\0') => {
            Some(At { value: text.clone(), span: entry.value.span.clone() })
        }
        Kind::Scalar { text, .. } => {
            let why = if text.contains('\0') { "cannot contain a NUL byte" } else { "cannot be empty" };
            problems.push(Problem::at(ProblemKind::BadValue, entry.place(), format!("`{path}` {why}"), why));
            None
        }
        Kind::Null => {
            let message = format!("`{path}` has no value");
            let help = "give it a value, or remove the line";
            problems.push(Problem::at(ProblemKind::WrongType, entry.place(), message, "no value").help(help));
            None
        }
        other => {
            problems.push(wrong_type(entry.place(), path, "text", other.name()));
            None
        }
    }
}

/// Checks a name.
pub fn ident_of(text: At<String>, problems: &mut Vec<Problem>) -> Option<At<Ident>> {
    named(Ident::new(text.value), text.span, problems)
}

/// Checks a table name.
pub fn table_of(text: At<String>, problems: &mut Vec<Problem>) -> Option<At<QualifiedName>> {
    named(QualifiedName::parse_or_public(&text.value), text.span, problems)
}

fn named<T>(name: Result<T, NameError>, span: Range<usize>, problems: &mut Vec<Problem>) -> Option<At<T>> {
    match name {
        Ok(value) => Some(At { value, span }),
        Err(error) => {
            let message = match &error {
                NameError::TooLong(_, bytes) => {
                    format!(
                        "the name has {bytes} bytes; PostgreSQL keeps at most {}",
                        crate::catalog::name::IDENT_BYTES_MAX
                    )
                }
                NameError::NotQualified(_) => "a table is named `table` or `schema.table`".to_owned(),
                NameError::Empty | NameError::Nul => error.to_string(),
            };
            problems.push(Problem::at(ProblemKind::BadName, span, message, "not a usable name"));
            None
        }
    }
}

/// `10_000`, `-5`. A leading zero is refused: YAML 1.1 reads `0755` as octal, 1.2 as decimal.
fn whole_number(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let parts: Vec<&str> = digits.split('_').collect();
    let plain = parts.concat();
    let well_formed = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !well_formed || (plain.len() > 1 && plain.starts_with('0')) || plain.len() > 30 {
        return None;
    }
    let value: i128 = plain.parse().ok()?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_with_single_underscores() {
        for (text, number) in [("10_000", Some(10_000)), ("0", Some(0)), ("-5", Some(-5)), ("+7", Some(7))] {
            assert_eq!(whole_number(text), number, "{text}");
        }
        for text in ["1__0", "_1", "1_", "0755", "0x10", "1e3", "1.0", "", "-", "ten", "٣"] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }
}
