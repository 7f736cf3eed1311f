//! Tables on the terminal.

use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Style};

use super::text::safe_line;

/// Lines up rows under their headings, without trailing blanks; columns named in `right` (from 0) hold numbers.
pub fn render(headings: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let mut builder = Builder::default();
    builder.push_record(headings.iter().map(|&text| text.to_owned()));
    for row in rows {
        builder.push_record(row.iter().map(|cell| safe_line(cell).into_owned()));
    }
    let mut table = builder.build();
    table.with(Style::blank());
    for &column in right {
        table.modify(Columns::one(column), Alignment::right());
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_names_cannot_break_the_table() {
        let rows = [vec!["public.t".into(), "7".into()], vec!["a\nb\u{1b}".into(), "184 203 311".into()]];
        insta::assert_snapshot!(render(&["table", "rows"], &rows, &[1]), @r"
        table               rows
        public.t               7
        a\nb\u{1b}   184 203 311
        ");
    }
}
