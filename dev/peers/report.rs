//! Medians side by side.

use crate::machine::Measured;

/// All measurements of one comparison.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Report {
    what: &'static str,
    unit: &'static str,
    amount: u64,
    /// The contender that the ratios are to.
    base: &'static str,
    notes: Vec<String>,
    runs: Vec<(String, Vec<Measured>)>,
}

impl Report {
    pub(crate) fn new(what: &'static str, unit: &'static str, amount: u64, base: &'static str) -> Self {
        Self { what, unit, amount, base, notes: Vec::new(), runs: Vec::new() }
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn amount(&self) -> u64 {
        self.amount
    }

    pub(crate) fn add(&mut self, name: &str, measured: Measured) {
        eprintln!("  {name}: {:.1} s, others used {:.1} s of CPU", measured.seconds, measured.others_cpu);
        match self.runs.iter_mut().find(|(known, _)| known == name) {
            Some((_, runs)) => runs.push(measured),
            None => self.runs.push((name.to_owned(), vec![measured])),
        }
    }

    pub(crate) fn json(&self) -> String {
        format!("{}\n", serde_json::to_string_pretty(self).unwrap())
    }

    fn median(&self, name: &str, value: impl Fn(&Measured) -> f64) -> f64 {
        let runs = &self.runs.iter().find(|(known, _)| known == name).unwrap().1;
        let mut values: Vec<f64> = runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    pub(crate) fn markdown(&self) -> String {
        let rate = |run: &Measured| self.amount as f64 / run.seconds;
        let base = self.median(self.base, rate);
        let mut out = format!("## {}\n\n", self.what);
        for note in &self.notes {
            out.push_str(&format!("* {note}\n"));
        }
        out.push_str(&format!(
            "\n| | {}/s (median, range) | to {} | client CPU s | client peak MiB | source CPU s | target CPU s | others' CPU s |\n|---|---|---|---|---|---|---|---|\n",
            self.unit, self.base
        ));
        for (name, runs) in &self.runs {
            let mut rates: Vec<f64> = runs.iter().map(rate).collect();
            rates.sort_by(f64::total_cmp);
            let median = |value: fn(&Measured) -> f64| self.median(name, value);
            out.push_str(&format!(
                "| {name} | {} ({}–{}) | {:.2}× | {:.1} | {:.0} | {:.1} | {:.1} | {:.1} |\n",
                thousands(self.median(name, rate)),
                thousands(rates[0]),
                thousands(rates[rates.len() - 1]),
                self.median(name, rate) / base,
                median(|run| run.client_cpu),
                median(|run| run.client_mib),
                median(|run| run.source_cpu),
                median(|run| run.target_cpu),
                median(|run| run.others_cpu),
            ));
        }
        out
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
