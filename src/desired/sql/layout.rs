//! Where lines end and how far they are indented. What was on one line stays on one line and what was apart stays apart,
//! except that each member of a table gets a line of its own.

use super::format::{Item, What};

const INDENT: &str = "    ";

/// A bracket that is open, and the indent of the line that it stands on.
struct Open {
    lines: bool,
    level: usize,
}

/// What comes between two items.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gap {
    None,
    Space,
    Line,
    /// An empty line.
    Blank,
}

struct Layout {
    out: String,
    open: Vec<Open>,
    /// Indent of the current line.
    level: usize,
    in_statement: bool,
    /// The last item that is no comment; of this statement.
    token: Option<What>,
    /// True when a member of a table ended, and its line did not.
    is_due: bool,
}

/// Puts the items together.
pub(super) fn layout(text: &str, items: &[Item<'_>]) -> String {
    let out = String::with_capacity(text.len());
    let mut layout = Layout { out, open: Vec::new(), level: 0, in_statement: false, token: None, is_due: false };
    for (nth, item) in items.iter().enumerate() {
        if let Some(before) = nth.checked_sub(1).map(|before| &items[before]) {
            let space = &text[before.span.end..item.span.start];
            let leads = items.get(nth + 1).is_some_and(|next| lines(&text[item.span.end..next.span.start]) == 0);
            let gap = match layout.in_statement {
                true => layout.inside(before, item, lines(space), space.is_empty(), leads),
                false => between(before.what, item.what, lines(space)),
            };
            layout.write_gap(gap, item.what);
        }
        layout.write(item);
    }
    if !layout.out.is_empty() {
        layout.out.push('\n');
    }
    layout.out
}

/// How many lines end there.
fn lines(space: &str) -> usize {
    space.matches('\n').count() + space.matches('\r').count() - space.matches("\r\n").count()
}

fn lines_kept(lines: usize) -> Gap {
    if lines > 1 { Gap::Blank } else { Gap::Line }
}

/// Between statements, and between their comments.
fn between(before: What, item: What, lines: usize) -> Gap {
    let is_comment = matches!(item, What::LineComment | What::BlockComment);
    match (before, item) {
        (What::LineComment | What::Psql, _) => lines_kept(lines),
        (What::Semicolon, What::Semicolon) => Gap::None,
        (What::BlockComment, _) if lines == 0 => Gap::Space,
        (What::Semicolon, _) if lines == 0 && is_comment => Gap::Space,
        _ => lines_kept(lines),
    }
}

impl Layout {
    /// `lines` end between the two; `leads`: what follows the item stands on its line.
    fn inside(&self, before: &Item<'_>, item: &Item<'_>, lines: usize, touches: bool, leads: bool) -> Gap {
        let ends_member = matches!(self.token, Some(What::Comma { lines: true, .. }));
        let new_line = if lines > 1 && ends_member { Gap::Blank } else { Gap::Line };
        let kept = if lines > 0 { new_line } else { Gap::Space };
        let kept_or_none = if lines > 0 { Gap::Line } else { Gap::None };
        match (before.what, item.what) {
            (What::LineComment, What::Close { .. } | What::Semicolon) => Gap::Line,
            (What::LineComment, _) => new_line,
            (_, What::Semicolon) => Gap::None,
            (_, What::LineComment) => kept,
            (_, What::BlockComment) if self.is_due && leads => new_line,
            (_, What::BlockComment) => kept,
            (What::Open { .. }, What::Close { lines: true }) => Gap::None,
            (_, What::Close { lines: true }) => Gap::Line,
            (_, What::Comma { .. }) => Gap::None,
            _ if self.is_due => new_line,
            (What::BlockComment, _) => kept,
            (_, What::Close { .. }) | (What::Open { .. }, _) => kept_or_none,
            (What::Comma { tight: true, .. }, _) if touches => Gap::None,
            (What::Comma { .. }, _) => kept,
            (_, What::Open { lines: true }) => Gap::Space,
            _ if touches => Gap::None,
            _ => kept,
        }
    }

    fn write_gap(&mut self, gap: Gap, item: What) {
        match gap {
            Gap::None => return,
            Gap::Space => return self.out.push(' '),
            Gap::Line => self.out.push('\n'),
            Gap::Blank => self.out.push_str("\n\n"),
        }
        self.is_due = false;
        self.level = self.level_of(item);
        self.out.extend(std::iter::repeat_n(INDENT, self.level));
    }

    fn level_of(&self, item: What) -> usize {
        let is_comment = matches!(item, What::LineComment | What::BlockComment);
        let starts_member = matches!(self.token, Some(What::Open { lines: true } | What::Comma { lines: true, .. }));
        match (self.open.last(), item) {
            (Some(open), What::Close { .. }) => open.level,
            (Some(open), _) if open.lines && !starts_member && !is_comment => open.level + 2,
            (Some(open), _) => open.level + 1,
            (None, What::Semicolon) => 0,
            // `PARTITION BY` and the like behind a table's columns.
            (None, _) if !self.in_statement || self.token == Some(What::Close { lines: true }) => 0,
            (None, _) => 1,
        }
    }

    fn write(&mut self, item: &Item<'_>) {
        self.out.push_str(&item.text);
        match item.what {
            What::LineComment | What::BlockComment => return,
            What::Semicolon | What::Psql => {
                self.in_statement = false;
                self.is_due = false;
                self.token = None;
                self.open.clear();
                return;
            }
            What::Open { lines } => self.open.push(Open { lines, level: self.level }),
            What::Close { .. } => {
                self.open.pop();
            }
            What::Token | What::Comma { .. } | What::Statement => {}
        }
        self.in_statement = true;
        self.token = Some(item.what);
        self.is_due = matches!(item.what, What::Open { lines: true } | What::Comma { lines: true, .. });
    }
}
