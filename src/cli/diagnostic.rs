//! An error as it may be shown: control characters escaped, row values of server errors left out, SQLSTATE kept.

use std::error::Error;
use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, Severity, SourceCode};
use serde_json::{Map, Value, json};
use tokio_postgres::error::DbError;

use crate::exec::ExecError;
use crate::pg::error::PgError;
use crate::ui::text::{safe, safe_line};

/// How reports look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Colours.
    pub color: bool,
    /// Columns.
    pub width: usize,
}

impl Look {
    /// No colours.
    pub fn plain(width: usize) -> Self {
        Self { color: false, width }
    }
}

/// A copy of an error whose texts are safe to show. The source code stays with the original.
pub struct Clean<'a> {
    message: String,
    cause: Option<Box<CleanCause>>,
    code: Option<String>,
    sqlstate: Option<String>,
    help: Option<String>,
    severity: Option<Severity>,
    labels: Vec<LabeledSpan>,
    source: Option<&'a dyn SourceCode>,
    related: Vec<Self>,
}

/// One link of the chain of causes.
#[derive(Debug)]
struct CleanCause {
    message: String,
    cause: Option<Box<Self>>,
}

impl<'a> Clean<'a> {
    /// Copies a plain error with its causes.
    pub fn of_error(error: &(dyn Error + 'static)) -> Self {
        let sqlstate = sqlstate(error);
        Self {
            message: message(error),
            cause: links(&message(error), error.source()),
            code: None,
            sqlstate,
            help: None,
            severity: None,
            labels: Vec::new(),
            source: None,
            related: Vec::new(),
        }
    }

    /// Copies a diagnostic with everything below it.
    pub fn of_diagnostic(diagnostic: &'a dyn Diagnostic) -> Self {
        Self {
            message: safe(&diagnostic.to_string()).into_owned(),
            cause: links(&diagnostic.to_string(), diagnostic.source()),
            code: diagnostic.code().map(|code| safe_line(&code.to_string()).into_owned()),
            sqlstate: diagnostic.source().and_then(sqlstate),
            help: diagnostic.help().map(|help| safe(&help.to_string()).into_owned()),
            severity: diagnostic.severity(),
            labels: diagnostic.labels().into_iter().flatten().map(clean_label).collect(),
            source: diagnostic.source_code(),
            related: diagnostic.related().into_iter().flatten().map(Clean::of_diagnostic).collect(),
        }
    }

    /// The report for people.
    pub fn render(&self, look: Look) -> String {
        let theme = if look.color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(look.width).with_links(false);
        let mut text = String::new();
        handler.render_report(&mut text, self).expect("a String takes any text");
        // The handler heads each related error with its code, also when there is none.
        text = text.replace("\nError: \n", "\n");
        if let Some(sqlstate) = &self.sqlstate {
            text.push_str(&format!("  SQLSTATE {sqlstate}\n"));
        }
        text
    }

    /// `message`, `causes`, `sqlstate`, `help`, `places` and `related`; absent when empty.
    pub fn to_json(&self) -> Map<String, Value> {
        self.to_json_with(None)
    }

    fn to_json_with(&self, outer: Option<&dyn SourceCode>) -> Map<String, Value> {
        let source = self.source.or(outer);
        let mut object = Map::new();
        object.insert("message".to_owned(), self.message.as_str().into());
        let mut links = Vec::new();
        let mut link = self.cause.as_deref();
        while let Some(cause) = link {
            links.push(Value::from(cause.message.as_str()));
            link = cause.cause.as_deref();
        }
        let places = self.labels.iter().filter_map(|label| place(label, source)).collect::<Vec<_>>();
        let related: Vec<Value> = self.related.iter().map(|inner| inner.to_json_with(source).into()).collect();
        for (key, values) in [("causes", links), ("places", places), ("related", related)] {
            if !values.is_empty() {
                object.insert(key.to_owned(), values.into());
            }
        }
        for (key, text) in [("code", &self.code), ("sqlstate", &self.sqlstate), ("help", &self.help)] {
            if let Some(text) = text {
                object.insert(key.to_owned(), text.as_str().into());
            }
        }
        object
    }
}

impl fmt::Debug for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clean").field("message", &self.message).finish_non_exhaustive()
    }
}

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Clean<'_> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl Diagnostic for Clean<'_> {
    fn code<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.code.as_ref().map(|code| Box::new(code) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<Severity> {
        self.severity
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() { None } else { Some(Box::new(self.labels.iter().cloned())) }
    }

    fn related<'b>(&'b self) -> Option<Box<dyn Iterator<Item = &'b dyn Diagnostic> + 'b>> {
        if self.related.is_empty() {
            return None;
        }
        Some(Box::new(self.related.iter().map(|inner| inner as &dyn Diagnostic)))
    }
}

impl fmt::Display for CleanCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CleanCause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// The causes below a text. Many errors repeat their cause in their own text; said once is enough.
fn links(said: &str, source: Option<&(dyn Error + 'static)>) -> Option<Box<CleanCause>> {
    let source = source?;
    // The driver's own link says only "db error".
    if source.downcast_ref::<tokio_postgres::Error>().is_some_and(|error| error.as_db_error().is_some()) {
        return links(said, source.source());
    }
    let text = message(source);
    let below = links(&text, source.source());
    if said.ends_with(&text) { below } else { Some(Box::new(CleanCause { message: text, cause: below })) }
}

/// The text of one error. A server's DETAIL and CONTEXT often hold row values: only its message is kept, also where
/// another error repeats it.
fn message(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    let text = match server_error(error) {
        Some(server) => {
            let short = format!("{}: {}", server.severity(), server.message());
            text.replace(&format!("db error: {server}"), &short).replace(&server.to_string(), &short)
        }
        None => text,
    };
    safe(&text).into_owned()
}

fn sqlstate(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(server) = server_error(error) {
        return Some(safe_line(server.code().code()).into_owned());
    }
    let mut link = Some(error);
    while let Some(error) = link {
        let pg = match error.downcast_ref::<ExecError>() {
            Some(ExecError::Postgres { error, .. }) => Some(error),
            _ => error.downcast_ref::<PgError>(),
        };
        if let Some(found) = pg.and_then(PgError::sqlstate) {
            return Some(safe_line(found).into_owned());
        }
        link = error.source();
    }
    None
}

/// What the server said, if it is anywhere in the chain.
fn server_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e DbError> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(server) = error.downcast_ref::<DbError>() {
            return Some(server);
        }
        link = error.source();
    }
    None
}

fn clean_label(label: LabeledSpan) -> LabeledSpan {
    let text = label.label().map(|text| safe_line(text).into_owned());
    if label.primary() {
        LabeledSpan::new_primary_with_span(text, *label.inner())
    } else {
        LabeledSpan::new_with_span(text, *label.inner())
    }
}

/// File, line and column (from 1) of a label; `None` when the source has no such place.
fn place(label: &LabeledSpan, source: Option<&dyn SourceCode>) -> Option<Value> {
    let contents = source?.read_span(label.inner(), 0, 0).ok()?;
    let mut object = json!({ "line": contents.line() + 1, "column": contents.column() + 1 });
    if let Some(name) = contents.name() {
        object["file"] = name.into();
    }
    if let Some(text) = label.label() {
        object["label"] = text.into();
    }
    Some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("two problems in \u{1b}[2Jthe file")]
    #[diagnostic(help("see \u{7}docs"))]
    struct Outer {
        #[source_code]
        source_code: miette::NamedSource<String>,
        #[related]
        inner: Vec<Inner>,
    }

    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("unknown key")]
    struct Inner {
        #[label("here\u{1b}")]
        at: miette::SourceSpan,
    }

    #[test]
    fn places_survive_and_escapes_do_not() {
        let text = "source:\n  hots: x\n".to_owned();
        let outer = Outer {
            source_code: miette::NamedSource::new("pcrd.config.yml", text),
            inner: vec![Inner { at: (10, 4).into() }],
        };
        let clean = Clean::of_diagnostic(&outer);
        let shown = clean.render(Look::plain(60));
        assert!(!shown.contains(['\u{1b}', '\u{7}']), "{shown:?}");
        assert!(shown.contains("pcrd.config.yml:2:3"), "{shown}");
        insta::assert_snapshot!(Value::from(clean.to_json()), @r#"{"help":"see \\u{7}docs","message":"two problems in \\u{1b}[2Jthe file","related":[{"message":"unknown key","places":[{"column":3,"file":"pcrd.config.yml","label":"here\\u{1b}","line":2}]}]}"#);
    }
}
