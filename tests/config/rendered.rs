use miette::{GraphicalReportHandler, GraphicalTheme};
use pcrd::config::ConfigErrors;

use crate::refuse;

pub(crate) fn plain(errors: &ConfigErrors) -> String {
    let mut out = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    handler.render_report(&mut out, errors).unwrap();
    out
}

#[test]
fn all_errors_of_a_file_at_once() {
    let text = "\
source:
  host: db.example
  database: shop
  usr: me
  password: canary
migrate:
  batch_size: many
  tables:
    - name: orders
      columns:
        id: bigint
        note: { drop: true, rename: remark }
        note: { type: text }
    - name: public.orders
";
    insta::assert_snapshot!(plain(&refuse(text)));
}

#[test]
fn a_syntax_error_hides_the_password_next_to_it() {
    let text = "source:\n  password: canary\n  host: a: b\n";
    let shown = plain(&refuse(text));
    assert!(!shown.contains("canary"));
    insta::assert_snapshot!(shown);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let shown = plain(&refuse("\"a\\e[2J\": 1\n# \u{1b}]0;title\u{7}\n"));
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{shown:?}");
}
