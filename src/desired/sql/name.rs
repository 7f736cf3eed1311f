//! Names and strings of SQL → values: folding, truncation, quotes, escapes, `search_path`.

use super::grammar::{Node, Rule};
use super::read::Reader;
use crate::catalog::name::IDENT_BYTES_MAX;
use crate::catalog::{Ident, QualifiedName};
use crate::desired::At;
use crate::desired::problem::{Problem, ProblemKind, shown};

/// A name with as many parts as were written.
pub(super) type Parts = Vec<At<Ident>>;

impl Reader<'_> {
    /// The identifier of a `col_id`, `name`, `quoted` or `word`.
    pub(super) fn ident(&mut self, node: &Node<'_>) -> At<Ident> {
        let text = node.text();
        let folded = match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) => inner.replace("\"\"", "\""),
            // PostgreSQL folds other letters only in single-byte encodings.
            None => text.to_ascii_lowercase(),
        };
        let span = node.span();
        let kept = clipped(&folded);
        if kept.len() < folded.len() {
            let message = format!(
                "the name `{}` has {} bytes; PostgreSQL keeps {IDENT_BYTES_MAX} and cuts the rest off",
                shown(&folded),
                folded.len()
            );
            self.warnings.push(Problem::at(ProblemKind::SqlName, span.clone(), message, "cut off here"));
        }
        let value =
            Ident::new(kept).expect("the grammar has no empty names, the splitter no NUL, and it was cut to fit");
        At { value, span }
    }

    /// The parts of a `relation` or `any_name`.
    pub(super) fn parts(&mut self, node: &Node<'_>) -> Parts {
        let children: Vec<Node<'_>> = node.children().collect();
        children.iter().map(|child| self.ident(child)).collect()
    }

    /// The `col_id`s below a node.
    pub(super) fn idents(&mut self, node: &Node<'_>) -> Vec<At<Ident>> {
        let children: Vec<Node<'_>> = node.children().filter(|child| child.rule() == Rule::col_id).collect();
        children.iter().map(|child| self.ident(child)).collect()
    }

    /// The name of something that is created: in the first schema of `search_path` when it has none.
    pub(super) fn created_name(&mut self, node: &Node<'_>) -> Option<At<QualifiedName>> {
        let parts = self.parts(node);
        let schema = match parts.as_slice() {
            [_] => match self.search_path.first() {
                Some(schema) => schema.clone(),
                None => {
                    let message = format!("`{}` has no schema, and `search_path` is empty", shown(node.text()));
                    let problem = Problem::at(ProblemKind::SqlName, node.span(), message, "in which schema?");
                    self.problems.push(problem.help("write `schema.name`, or set search_path before the statement"));
                    return None;
                }
            },
            [schema, _] => schema.value.clone(),
            _ => return self.too_many_parts(node),
        };
        let name = parts.last()?.value.clone();
        Some(At { value: QualifiedName { schema, name }, span: node.span() })
    }

    /// The name of a relation that exists already: looked for along `search_path`.
    pub(super) fn relation_name(&mut self, node: &Node<'_>) -> Option<At<QualifiedName>> {
        let parts = self.parts(node);
        self.found_name(&parts, node)
    }

    pub(super) fn found_name(&mut self, parts: &[At<Ident>], node: &Node<'_>) -> Option<At<QualifiedName>> {
        let value = match parts {
            [name] => {
                let path = self.search_path.iter();
                let mut names = path.map(|schema| QualifiedName { schema: schema.clone(), name: name.value.clone() });
                let first = names.clone().next();
                names.find(|name| self.is_relation(name)).or(first)
            }
            [schema, name] => Some(QualifiedName { schema: schema.value.clone(), name: name.value.clone() }),
            _ => return self.too_many_parts(node),
        };
        match value {
            Some(value) => Some(At { value, span: node.span() }),
            None => {
                let message = format!("`{}` has no schema, and `search_path` is empty", shown(node.text()));
                let problem = Problem::at(ProblemKind::SqlName, node.span(), message, "in which schema?");
                self.problems.push(problem.help("write `schema.name`, or set search_path before the statement"));
                None
            }
        }
    }

    fn too_many_parts<T>(&mut self, node: &Node<'_>) -> Option<T> {
        let message = format!("`{}` has too many parts", shown(node.text()));
        let problem = Problem::at(ProblemKind::SqlName, node.span(), message, "more than schema and name");
        self.problems.push(problem.help("a file describes one database: leave its name out"));
        None
    }

    /// The value of a `text`.
    pub(super) fn string(&mut self, node: &Node<'_>) -> Option<At<String>> {
        let text = node.text();
        let value = match text.as_bytes().first()? {
            b'\'' => inside(text, false).replace("''", "'"),
            b'$' => {
                let tag = text[1..].find('$')? + 2;
                text[tag..text.len() - tag].to_owned()
            }
            _ => match unescaped(&inside(&text[1..], true)) {
                Some(value) => value,
                None => {
                    let message = "the string has an escape that is no character";
                    self.problems.push(Problem::at(ProblemKind::SqlSyntax, node.span(), message, "this string"));
                    return None;
                }
            },
        };
        Some(At { value, span: node.span() })
    }
}

/// Cut to what PostgreSQL keeps, never inside a character.
fn clipped(name: &str) -> &str {
    let mut end = name.len().min(IDENT_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// What stands between the quotes. Strings with a line's end between them are one.
fn inside(text: &str, escapes: bool) -> String {
    let mut inside = String::new();
    let mut rest = text;
    while let Some(part) = rest.strip_prefix('\'') {
        let bytes = part.as_bytes();
        let mut end = 0;
        while end < bytes.len() {
            match (bytes[end], bytes.get(end + 1)) {
                (b'\\', _) if escapes => end += 2,
                (b'\'', Some(b'\'')) => end += 2,
                (b'\'', _) => break,
                _ => end += 1,
            }
        }
        inside.push_str(&part[..end]);
        rest = part[end + 1..].trim_start();
        while let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find(['\n', '\r']).map_or("", |line_end| comment[line_end..].trim_start());
        }
    }
    inside
}

/// The inside of an `E'…'`.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let take_digits = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, radix: u32, max: usize| {
        let mut value = None;
        for _ in 0..max {
            let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
            value = Some(value.unwrap_or(0) * radix + digit);
            chars.next();
        }
        value
    };
    let exactly = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, digits: usize| {
        (0..digits).try_fold(0, |value, _| Some(value << 4 | take_digits(chars, 16, 1)?))
    };
    while let Some(c) = chars.next() {
        let plain = match c {
            '\'' => {
                chars.next();
                '\''
            }
            '\\' => match chars.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'x' => match take_digits(&mut chars, 16, 2) {
                    Some(byte) => {
                        bytes.push(u8::try_from(byte).ok()?);
                        continue;
                    }
                    None => 'x',
                },
                'u' => char::from_u32(exactly(&mut chars, 4)?)?,
                'U' => char::from_u32(exactly(&mut chars, 8)?)?,
                digit @ '0'..='7' => {
                    let first = digit.to_digit(8)?;
                    let rest: Vec<u32> = [(); 2].iter().map_while(|()| take_digits(&mut chars, 8, 1)).collect();
                    let value = rest.iter().fold(first, |value, digit| value * 8 + digit);
                    bytes.push((value & 0xff) as u8);
                    continue;
                }
                other => other,
            },
            other => other,
        };
        bytes.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
    }
    if bytes.contains(&0) { None } else { String::from_utf8(bytes).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_postgresql() {
        assert_eq!(unescaped(r"a\tb\\c\'d''e\x41\101\u00e9\q").unwrap(), "a\tb\\c'd'eAA\u{e9}q");
        assert_eq!(unescaped(r"\xc3\xa9").unwrap(), "é");
        assert_eq!((unescaped(r"\xff"), unescaped(r"\0"), unescaped(r"\u12")), (None, None, None));
    }

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(clipped(&"x".repeat(70)).len(), 63);
        assert_eq!(clipped(&format!("{}éé", "x".repeat(60))).len(), 62);
    }
}
