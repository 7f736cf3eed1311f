//! The desired schema as plain SQL: a file → statements → tables with everything folded in, and directives.
//!
//! `split` cuts the file, `classify` names each statement, its grammar rule parses it, and `table`, `constraint`,
//! `alter`, `object` and `setting` lower it; `attach` gives the directives to their objects. `format` and
//! `layout` write the file again as it should look.

mod alter;
mod attach;
mod classify;
mod constraint;
mod directive;
mod errors;
mod figure;
mod format;
mod grammar;
mod layout;
mod lex;
mod name;
mod naming;
mod object;
mod read;
mod setting;
mod split;
mod table;
mod tree;
mod written;
mod written_object;

pub use directive::{Accepted, Directives, MergedFrom, OldName, SqlOrder};
pub use errors::SchemaErrors;
pub use format::{FormatError, format};
pub use read::{Reading, read};
pub use tree::*;
pub use written::{Places, Written, WrittenTable, written};
