//! SET and set_config: what decides how the rest of the file is read.

use super::grammar::{Node, Rule};
use super::read::{Reader, default_path};
use super::tree::Level;
use crate::catalog::Ident;
use crate::desired::At;
use crate::desired::problem::{Problem, ProblemKind};

impl Reader<'_> {
    pub(super) fn set(&mut self, statement: &Node<'_>) -> Level {
        let name_node = statement.only_of(Rule::setting_name);
        let name = name_node.text().trim_matches('"').to_ascii_lowercase();
        let values = statement.only_of(Rule::setting_values);
        let values: Vec<Node<'_>> = values.children().filter(|value| value.rule() == Rule::setting_value).collect();
        if values.is_empty() {
            return self.reset_one(&name);
        }
        if name == "search_path" {
            let mut path = Vec::new();
            for value in &values {
                // `SET search_path = 'a, b'` is one schema with a strange name.
                match self.setting_text(value) {
                    Some(text) => path.push(text),
                    None => return Level::Refused,
                }
            }
            return self.set_search_path(path);
        }
        let value = match values.as_slice() {
            [value] => match self.setting_text(value) {
                Some(text) => At { value: text.value, span: statement.span() },
                None => return Level::Refused,
            },
            _ => return Level::Setting,
        };
        self.set_value(&name, value)
    }

    /// A session as it begins.
    pub(super) fn reset_all(&mut self) {
        self.search_path = default_path();
        self.tablespace = None;
        self.access_method = None;
    }

    pub(super) fn reset(&mut self, statement: &Node<'_>) -> Level {
        let name = statement.only_of(Rule::setting_name_or_all);
        self.reset_one(&name.text().trim_matches('"').to_ascii_lowercase())
    }

    fn reset_one(&mut self, name: &str) -> Level {
        match name {
            "all" => self.reset_all(),
            "search_path" => self.search_path = default_path(),
            "default_tablespace" => self.tablespace = None,
            "default_table_access_method" => self.access_method = None,
            _ => {}
        }
        Level::Setting
    }

    pub(super) fn set_config(&mut self, statement: &Node<'_>) -> Level {
        let texts: Vec<Node<'_>> = statement.children().filter(|child| child.rule() == Rule::text).collect();
        let [name, value] = texts.as_slice() else { return Level::Refused };
        let (Some(name), Some(value)) = (self.string(name), self.string(value)) else { return Level::Refused };
        let name = name.value.to_ascii_lowercase();
        if name != "search_path" {
            return self.set_value(&name, At { value: value.value, span: statement.span() });
        }
        let items = value.value.split(',').map(str::trim).filter(|item| !item.is_empty());
        let fold = |item: &str| match item.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) => inner.replace("\"\"", "\""),
            None => item.to_ascii_lowercase(),
        };
        let path = items.map(|item| At { value: fold(item), span: value.span.clone() }).collect();
        self.set_search_path(path)
    }

    fn setting_text(&mut self, value: &Node<'_>) -> Option<At<String>> {
        let inner = value.children().next();
        match inner {
            Some(inner) if inner.rule() == Rule::string => match inner.child(Rule::text) {
                Some(text) => self.string(&text),
                None => Some(At { value: inner.text().to_owned(), span: value.span() }),
            },
            Some(inner) if inner.rule() == Rule::name => {
                let name = self.ident(&inner);
                Some(At { value: name.value.as_str().to_owned(), span: name.span })
            }
            _ => Some(At { value: value.text().to_owned(), span: value.span() }),
        }
    }

    fn set_search_path(&mut self, path: Vec<At<String>>) -> Level {
        self.search_path.clear();
        for schema in path {
            // Nobody knows who will load the file.
            if schema.value.is_empty() || schema.value == "$user" {
                continue;
            }
            match Ident::new(schema.value) {
                Ok(name) => self.search_path.push(name),
                Err(error) => {
                    let problem = Problem::at(ProblemKind::SqlName, schema.span, error.to_string(), "no schema");
                    self.problems.push(problem);
                }
            }
        }
        Level::Setting
    }

    fn set_value(&mut self, name: &str, value: At<String>) -> Level {
        let is = |words: &[&str]| words.iter().any(|word| value.value.eq_ignore_ascii_case(word));
        let is_on = is(&["on", "true", "yes", "1"]);
        let ident = || Ident::new(value.value.clone()).ok().map(|name| At { value: name, span: value.span.clone() });
        let refused = match name {
            "default_tablespace" => {
                self.tablespace = ident();
                None
            }
            "default_table_access_method" => {
                // heap is what every table has when nothing is said.
                self.access_method = if value.value == "heap" { None } else { ident() };
                None
            }
            "standard_conforming_strings" if !is_on => {
                Some(("strings would mean something else from here on", "write the file with the setting on"))
            }
            "default_with_oids" if is_on => {
                Some(("tables with oids do not exist any more", "remove the line, and the oids from the table"))
            }
            "client_encoding" if !self.text.is_ascii() && !is(&["utf8", "utf-8", "unicode"]) => {
                Some(("pcrd reads the file as UTF-8", "make the file with `pg_dump --encoding=UTF8`"))
            }
            _ => None,
        };
        if let Some((message, help)) = refused {
            let problem = Problem::at(ProblemKind::SqlRefused, value.span, message, "this setting");
            self.problems.push(problem.help(help));
        }
        Level::Setting
    }
}
