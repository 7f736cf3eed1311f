//! Names come from a database and reasons from people: nothing in them may steer what shows them.

/// Where a text is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line on a terminal, or a line between fences.
    Terminal,
    /// Several lines on a terminal or between fences: newlines stay.
    Lines,
    /// Between two single backticks, also in a cell of a table.
    Code,
    /// In a sentence of Markdown, also in a cell of a table.
    Prose,
    /// In an element of HTML, such as `<code>`.
    Html,
    /// Between the quotes of a Mermaid label.
    Mermaid,
    /// Between the quotes of a DOT label.
    Dot,
}

/// The text, with everything that would mean something in this place written so that it is only shown.
pub fn escape(text: &str, place: Place) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if place == Place::Lines && c == '\n' {
            out.push(c);
        } else if is_invisible(c) {
            c.escape_unicode().for_each(|c| push(&mut out, c, place));
        } else if place == Place::Prose {
            prose(&mut out, &word, c, chars.peek().copied());
        } else {
            push(&mut out, c, place);
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        } else {
            word.clear();
        }
    }
    out
}

/// A block between fences that are longer than any run of backticks in it.
pub fn fenced(language: &str, content: &str) -> String {
    const FENCE_MIN: usize = 3;
    let content = escape(content, Place::Lines);
    let longest = content.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(FENCE_MIN.max(longest + 1));
    format!("{fence}{language}\n{}\n{fence}\n", content.trim_end_matches('\n'))
}

/// `` `text` ``.
pub fn code(text: &str) -> String {
    // A span of code is never empty, and loses one blank at each end.
    match text {
        "" => "` `".to_owned(),
        text => format!("`{}`", escape(text, Place::Code)),
    }
}

/// Controls a terminal, changes the direction of text, ends a line, or cannot be seen.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn push(out: &mut String, c: char, place: Place) {
    match (place, c) {
        // A pipe would end the cell even inside code, and no backslash helps outside a table.
        (Place::Code, '`' | '|') => out.extend(c.escape_unicode()),
        // More than HTML asks for: not every host keeps Markdown out of it.
        (Place::Html, c) if c.is_ascii_punctuation() && !matches!(c, '.' | ',' | '-' | ':') => {
            out.push_str(&format!("&#{};", u32::from(c)));
        }
        (Place::Prose, c) => prose(out, "", c, None),
        (Place::Mermaid, c) if c.is_ascii_punctuation() && !matches!(c, '.' | ',' | '_' | '-' | ':') => {
            out.push_str(&format!("#{};", u32::from(c)));
        }
        (Place::Dot, '"' | '\\') => out.extend(['\\', c]),
        _ => out.push(c),
    }
}

/// Mentions and references are found in the text after entities are read, so a space without width parts them.
fn prose(out: &mut String, word: &str, c: char, next: Option<char>) {
    const GAP: &str = "&#8203;";
    match c {
        '@' | '#' => out.push_str(&format!("&#{};{GAP}", u32::from(c))),
        ':' if next.is_some_and(|next| !next.is_whitespace()) => out.push_str(&format!(":{GAP}")),
        '.' if word.ends_with("www") => out.push_str(&format!(".{GAP}")),
        '-' if word.ends_with("gh") => out.push_str(&format!("-{GAP}")),
        '.' | ',' | ';' | ':' | '(' | ')' | '-' | '/' | '\'' | '"' | '=' | '+' | '?' | '%' => out.push(c),
        c if c.is_ascii_punctuation() => out.push_str(&format!("&#{};", u32::from(c))),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_place_shows() {
        let name = "a`b|c<d>\"\\\n@team #1";
        assert_eq!(escape(name, Place::Terminal), "a`b|c<d>\"\\\\u{a}@team #1");
        assert_eq!(escape(name, Place::Code), "a\\u{60}b\\u{7c}c<d>\"\\\\u{a}@team #1");
        assert_eq!(escape(name, Place::Html), "a&#96;b&#124;c&#60;d&#62;&#34;&#92;&#92;u&#123;a&#125;&#64;team &#35;1");
        assert_eq!(escape(name, Place::Mermaid), "a#96;b#124;c#60;d#62;#34;#92;#92;u#123;a#125;#64;team #35;1");
        assert_eq!(escape(name, Place::Dot), "a`b|c<d>\\\"\\\\\\\\u{a}@team #1");
        assert_eq!(escape("ask @team, see #1", Place::Prose), "ask &#64;&#8203;team, see &#35;&#8203;1");
        assert_eq!(escape("a: http://x www.x gh-1", Place::Prose), "a: http:&#8203;//x www.&#8203;x gh-&#8203;1");
        assert_eq!(escape("a\u{202e}b", Place::Prose), "a&#92;u&#123;202e&#125;b");
        assert_eq!(fenced("sql", "a\n````\nb"), "`````sql\na\n````\nb\n`````\n");
        assert_eq!(code(""), "` `");
    }
}
