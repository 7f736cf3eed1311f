//! A YAML file as a tree whose nodes know their place.
//!
//! serde stops at the first error and forgets how a scalar was written, so the tree is built from the parser's events:
//! all problems of a file are reported at once, and `0.10` stays `0.10` (docs/decisions/0001).

use std::collections::BTreeMap;
use std::ops::Range;

use serde_yaml::granit_parser::{self, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use crate::desired::At;
use crate::desired::problem::{Problem, ProblemKind, shown};

/// A config of this many values was not written by a person: aliases inside aliases grow exponentially.
const NODES_MAX: usize = 200_000;

/// The format itself goes seven levels deep.
const DEPTH_MAX: usize = 64;

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// Byte range; of a map or list, that of its first key or item.
    pub span: Range<usize>,
    /// The value.
    pub kind: Kind,
}

/// What a value is, before anything is known about the key it belongs to.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar, as written.
    Scalar {
        /// The text, escapes resolved.
        text: String,
        /// True in quotes or a block: then it is text, never a number.
        quoted: bool,
    },
    /// `[…]` or `- …`.
    List(Vec<Node>),
    /// `{…}` or `key: …`; keys are unique.
    Map(Vec<Entry>),
}

/// One line of a map.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: At<String>,
    /// Its value.
    pub value: Node,
}

impl Entry {
    /// Where to point when the value is wrong: an absent value has no place of its own.
    pub fn place(&self) -> Range<usize> {
        if self.value.span.is_empty() { self.key.span.clone() } else { self.value.span.clone() }
    }
}

impl Kind {
    /// The kind in words.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar { .. } => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Reads one YAML document. Duplicate keys and other things that do not hide the rest go to `problems`.
///
/// # Errors
/// The problem that makes the text unreadable as YAML.
pub fn parse_document(text: &str, problems: &mut Vec<Problem>) -> Result<Node, Problem> {
    let options = granit_parser::options! { flow_nesting_limit: DEPTH_MAX, block_nesting_limit: DEPTH_MAX };
    let events = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { text, events, anchors: BTreeMap::new(), nodes: 0, depth: 0, problems };
    let mut root = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            Event::StreamEnd => break,
            event if root.is_none() => root = Some(reader.node(event, &span)?),
            _ => {
                let at = reader.range(&span);
                return Err(Problem::at(ProblemKind::Syntax, at, "the file has several documents", "a second one")
                    .help("remove everything from the line `---` on"));
            }
        }
    }
    root.ok_or_else(|| empty_document(text))
}

fn empty_document(text: &str) -> Problem {
    Problem::at(ProblemKind::Empty, text.len()..text.len(), "the file is empty", "nothing here")
        .help("a config has at least `source` and `migrate`; see docs/config_reference.md")
}

struct Reader<'t, 'p> {
    text: &'t str,
    events: Parser<'t, StrInput<'t>>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    depth: usize,
    problems: &'p mut Vec<Problem>,
}

impl<'t> Reader<'t, '_> {
    fn next(&mut self) -> Result<(Event<'t>, Span), Problem> {
        match self.events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        let at = self.offset(error.marker().byte_offset(), error.marker().index());
        let end = at + self.text[at..].chars().next().map_or(0, char::len_utf8);
        let problem = Problem::at(
            ProblemKind::Syntax,
            at..end,
            format!("invalid YAML: {}", shown(error.info().as_str())),
            "here",
        );
        let line = &self.text[self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)..];
        if line.starts_with([' ', '\t']) && line[..line.len() - line.trim_start().len()].contains('\t') {
            return problem.help("YAML is indented with spaces, never with tabs");
        }
        problem
    }

    fn offset(&self, bytes: Option<usize>, chars: usize) -> usize {
        let at = bytes.unwrap_or_else(|| self.text.char_indices().nth(chars).map_or(self.text.len(), |(at, _)| at));
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    fn range(&self, span: &Span) -> Range<usize> {
        let start = self.offset(span.start.byte_offset(), span.start.index());
        let end = self.offset(span.end.byte_offset(), span.end.index()).max(start);
        start..start + self.text[start..end].trim_end().len()
    }

    fn count(&mut self, nodes: usize, at: &Range<usize>) -> Result<(), Problem> {
        self.nodes += nodes;
        if self.nodes <= NODES_MAX {
            return Ok(());
        }
        let message = format!("the file has more than {NODES_MAX} values");
        Err(Problem::at(ProblemKind::TooLarge, at.clone(), message, "counted up to here"))
    }

    /// The parser bounds what is written nested; aliases of aliases nest without being written so.
    fn check_depth(&self, below: usize, at: &Range<usize>) -> Result<(), Problem> {
        if self.depth + below <= DEPTH_MAX {
            return Ok(());
        }
        let message = format!("the file is nested more than {DEPTH_MAX} levels deep");
        Err(Problem::at(ProblemKind::TooLarge, at.clone(), message, "too deep"))
    }

    fn node(&mut self, event: Event<'t>, span: &Span) -> Result<Node, Problem> {
        let at = self.range(span);
        self.count(1, &at)?;
        self.check_depth(0, &at)?;
        self.depth += 1;
        let node = self.node_of(event, at);
        self.depth -= 1;
        node
    }

    fn node_of(&mut self, event: Event<'t>, at: Range<usize>) -> Result<Node, Problem> {
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let quoted =
                    style != ScalarStyle::Plain || tag.as_deref().is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                self.check_tag(tag.as_deref(), &at);
                let null = !quoted && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let kind = if null { Kind::Null } else { Kind::Scalar { text: text.into_owned(), quoted } };
                (anchor, Node { span: at, kind })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), &at);
                (anchor, self.list(at)?)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), &at);
                (anchor, self.map(at)?)
            }
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id) else {
                    return Err(Problem::at(ProblemKind::Syntax, at, "an alias inside of what it stands for", "here"));
                };
                self.check_depth(depth(node), &at)?;
                let copy = Node { span: at.clone(), kind: node.kind.clone() };
                self.count(size(&copy), &at)?;
                (0, copy)
            }
            _ => return Err(Problem::at(ProblemKind::Syntax, at, "invalid YAML: a value is missing", "here")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn check_tag(&mut self, tag: Option<&Tag>, at: &Range<usize>) {
        let Some(tag) = tag else { return };
        let known = ["str", "map", "seq"].iter().any(|name| tag.is_yaml_core_schema_tag(name));
        if !known {
            let message = format!("the tag `{}` means nothing here", shown(&tag.original()));
            self.problems.push(Problem::at(ProblemKind::Syntax, at.clone(), message, "tagged").help("remove the tag"));
        }
    }

    fn list(&mut self, at: Range<usize>) -> Result<Node, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                let span = items.first().map_or(at, |first: &Node| first.span.clone());
                return Ok(Node { span, kind: Kind::List(items) });
            }
            items.push(self.node(event, &span)?);
        }
    }

    fn map(&mut self, at: Range<usize>) -> Result<Node, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places: BTreeMap<String, Range<usize>> = BTreeMap::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.node(event, &span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, &span)?;
            let (name, plain) = match key.kind {
                Kind::Scalar { text, quoted } => (text, !quoted),
                // `null: x` and `~: x` are names like any other: a column may be called null.
                Kind::Null if !key.span.is_empty() => (self.text[key.span.clone()].to_owned(), true),
                other => {
                    let message = format!("a key is a name, not {}", other.name());
                    self.problems.push(Problem::at(ProblemKind::WrongType, key.span, message, "this key"));
                    continue;
                }
            };
            if plain && name == "<<" {
                merged.push((key.span, value));
                continue;
            }
            if let Some(first) = places.get(&name) {
                let message = format!("the key `{}` stands twice", shown(&name));
                let problem = Problem::at(ProblemKind::DuplicateKey, key.span, message, "again");
                self.problems.push(problem.and(first.clone(), "first here").help("remove one of the two"));
                continue;
            }
            places.insert(name.clone(), key.span.clone());
            entries.push(Entry { key: At { value: name, span: key.span }, value });
        }
        for (span, value) in merged {
            self.merge(&mut entries, &mut places, span, value);
        }
        let span = entries.first().map_or(at, |first| first.key.span.clone());
        Ok(Node { span, kind: Kind::Map(entries) })
    }

    /// `<<: *base` adds the keys that the map does not have itself.
    fn merge(
        &mut self,
        entries: &mut Vec<Entry>,
        places: &mut BTreeMap<String, Range<usize>>,
        span: Range<usize>,
        value: Node,
    ) {
        match value.kind {
            Kind::Map(base) => {
                for entry in base {
                    if !places.contains_key(&entry.key.value) {
                        places.insert(entry.key.value.clone(), entry.key.span.clone());
                        entries.push(entry);
                    }
                }
            }
            Kind::List(bases) => bases.into_iter().for_each(|base| self.merge(entries, places, span.clone(), base)),
            other => {
                let message = format!("`<<` takes a map, not {}", other.name());
                self.problems.push(Problem::at(ProblemKind::WrongType, span, message, "here"));
            }
        }
    }
}

fn size(node: &Node) -> usize {
    match &node.kind {
        Kind::Null | Kind::Scalar { .. } => 1,
        Kind::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Kind::Map(entries) => 1 + entries.iter().map(|entry| size(&entry.value)).sum::<usize>(),
    }
}

fn depth(node: &Node) -> usize {
    let below = match &node.kind {
        Kind::Null | Kind::Scalar { .. } => 0,
        Kind::List(items) => items.iter().map(depth).max().unwrap_or(0),
        Kind::Map(entries) => entries.iter().map(|entry| depth(&entry.value)).max().unwrap_or(0),
    };
    below + 1
}
