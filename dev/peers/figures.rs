//! Figures against what is wanted of them, over several rounds.

use std::collections::BTreeMap;

/// One comparison.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Figures {
    what: &'static str,
    notes: Vec<String>,
    figures: Vec<Figure>,
    /// Values over time, in seconds, of each round.
    series: BTreeMap<&'static str, Vec<Vec<(f64, f64)>>>,
}

#[derive(Debug, serde::Serialize)]
struct Figure {
    name: String,
    unit: &'static str,
    /// Wanted at most.
    wanted: Option<f64>,
    rounds: Vec<f64>,
}

impl Figures {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, notes: Vec::new(), figures: Vec::new(), series: BTreeMap::new() }
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Adds one round's value. `wanted` is the most that it should be.
    pub(crate) fn add(&mut self, name: &str, value: f64, unit: &'static str, wanted: Option<f64>) {
        eprintln!("  {name}: {} {unit}", short(value));
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.rounds.push(value),
            None => self.figures.push(Figure { name: name.to_owned(), unit, wanted, rounds: vec![value] }),
        }
    }

    /// Adds one round's values over time.
    pub(crate) fn over_time(&mut self, name: &'static str, values: Vec<(f64, f64)>) {
        self.series.entry(name).or_default().push(values);
    }

    pub(crate) fn json(&self) -> String {
        format!("{}\n", serde_json::to_string_pretty(self).unwrap())
    }

    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("## {}\n\n", self.what);
        for note in &self.notes {
            out.push_str(&format!("* {note}\n"));
        }
        for (name, rounds) in &self.series {
            let last = rounds.last().map_or(&[][..], Vec::as_slice);
            let step = last.len().div_ceil(12).max(1);
            // The highest of each piece: a peak must not fall between two points.
            let pieces = last.chunks(step).map(|piece| {
                let highest = piece.iter().map(|point| point.1).fold(0.0, f64::max);
                format!("{} s {}", short(piece[0].0), short(highest))
            });
            out.push_str(&format!("* {name}, last round: {}\n", pieces.collect::<Vec<_>>().join(", ")));
        }
        out.push_str("\n| | median | worst | wanted at most |\n|---|---|---|---|\n");
        for Figure { name, unit, wanted, rounds } in &self.figures {
            let mut sorted = rounds.clone();
            sorted.sort_by(f64::total_cmp);
            let (median, worst) = (sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
            let wanted = wanted.map_or_else(String::new, |wanted| {
                format!("{} {unit}{}", short(wanted), if worst > wanted { ": **missed**" } else { "" })
            });
            out.push_str(&format!("| {name} | {} {unit} | {} {unit} | {wanted} |\n", short(median), short(worst)));
        }
        out
    }
}

/// The value below which this share of the values is.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
