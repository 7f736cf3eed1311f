//! The config reader, from the outside: what is accepted, what is refused, and how it is said.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "config/accepted.rs"]
mod accepted;
#[path = "config/passwords.rs"]
mod passwords;
#[path = "config/patterns.rs"]
mod patterns;
#[path = "config/refused.rs"]
mod refused;
#[path = "config/rendered.rs"]
mod rendered;

use pcrd::config::{Config, ConfigErrors, parse};

/// A source that needs nothing more.
pub(crate) const SOURCE: &str = "source: { host: localhost, database: shop, user: me }\n";

pub(crate) fn accept(text: &str) -> Config {
    parse("pcrd.config.yml", text).unwrap_or_else(|errors| panic!("{}\n{text}", rendered::plain(&errors)))
}

pub(crate) fn refuse(text: &str) -> ConfigErrors {
    match parse("pcrd.config.yml", text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(errors) => errors,
    }
}

#[test]
fn every_key_is_in_the_reference() {
    let reference = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config_reference.md")).unwrap();
    let mut section = String::new();
    let mut documented = std::collections::BTreeSet::new();
    for line in reference.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.trim_matches('`').to_owned();
        } else if let Some(row) = line.strip_prefix("| `") {
            documented.insert((section.clone(), row.split('`').next().unwrap().to_owned()));
        }
    }
    let mut known = std::collections::BTreeSet::new();
    for section in pcrd::config::keys::SECTIONS {
        let heading = if section.path.is_empty() { "Top level" } else { section.path };
        for key in section.keys {
            known.insert((heading.to_owned(), key.name.to_owned()));
        }
    }
    assert_eq!(documented, known);
}

mod arbitrary {
    use proptest::prelude::*;

    use super::{accepted, parse, rendered};

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            if let Err(errors) = parse("x.yml", &text) {
                rendered::plain(&errors);
            }
        }

        #[test]
        fn no_yaml_like_text_panics(text in "([ \\-\t]{0,4}(source|migrate|tables|columns|uri|password|name|<<|~|a|é|)[:\\{\\}\\[\\],&*!|>'\"#%@?\n ]{0,3}(postgresql://u:p@|\\*a|1_0|null|\u{9b}|)[\n\r]?){0,20}") {
            if let Err(errors) = parse("x.yml", &text) {
                rendered::plain(&errors);
            }
        }

        #[test]
        fn no_change_to_a_good_file_panics(at in 0usize..3_000, removed in 0usize..40, added in "[\\PC\n]{0,8}") {
            let mut chars: Vec<char> = accepted::EVERYTHING.chars().collect();
            let at = at.min(chars.len());
            let end = (at + removed).min(chars.len());
            chars.splice(at..end, added.chars());
            let text: String = chars.into_iter().collect();
            if let Err(errors) = parse("x.yml", &text) {
                rendered::plain(&errors);
            }
        }
    }
}
