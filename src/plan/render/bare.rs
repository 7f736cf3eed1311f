//! SQL for people: names in quotes only where they need them.

use crate::catalog::Ident;
use crate::sql::quote::readable;
use crate::sql::token::{TokenKind, tokens};

/// The text with the quotes of plain names left out; unchanged where it cannot be read token by token.
pub(super) fn bare(sql: &str) -> String {
    let Ok(list) = tokens(sql) else { return sql.to_owned() };
    let mut out = String::with_capacity(sql.len());
    let mut copied = 0;
    for token in &list {
        let TokenKind::Quoted(name) = &token.kind else { continue };
        let Ok(name) = Ident::new(name.as_str()) else { continue };
        out.push_str(&sql[copied..token.start]);
        out.push_str(&readable(&name));
        copied = token.end;
    }
    out.push_str(&sql[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_needless_quotes_go() {
        let sql = "CREATE INDEX \"t_a_idx\" ON \"public\".\"T\" USING \"btree\" (\"a\", \"order\", (\"x\"::\"char\")) WHERE \"b\" = 'a \"c\"'";
        let wanted =
            "CREATE INDEX t_a_idx ON public.\"T\" USING btree (a, \"order\", (x::\"char\")) WHERE b = 'a \"c\"'";
        assert_eq!(bare(sql), wanted);
        assert_eq!(bare("\"a\" = 'open"), "\"a\" = 'open");
    }
}
