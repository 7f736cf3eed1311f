//! The rules as texts: `pcrd explain`, and docs/findings.md.

use crate::findings::{ALL, PREFLIGHT, Rule, Severity, every};

/// One rule for the terminal.
pub fn text(rule: &Rule) -> String {
    let mut out = format!("{}: {}\n\n", rule.code, rule.title);
    out.push_str(&format!("Severity:  {} ({})\n", rule.severity.word(), rule.severity.meaning()));
    out.push_str(&format!("Lock:      {}\n", lock(rule)));
    out.push_str(&format!("Effect:    {}\n", rule.effect));
    out.push_str(&format!("Why:       {}\n", rule.why));
    out.push_str(&format!("Instead:   {}\n", rule.instead));
    let is_finding = ALL.iter().any(|one| one.code == rule.code);
    if is_finding && rule.severity != Severity::Refused {
        let code = rule.code;
        out.push_str(&format!("Accept:    in the config  accept: [{{code: {code}, address: …, reason: …}}]\n"));
        out.push_str(&format!("           in the SQL     -- pcrd: accept {code} reason=\"…\"\n"));
        out.push_str(&format!("           or             pcrd plan --allow '{code}@ADDRESS=REASON'\n"));
    }
    out
}

/// All rules, one a line.
pub fn list() -> String {
    let width = every().map(|rule| rule.code.len()).max().unwrap_or(0);
    let line = |rule: &Rule| format!("{:width$}  {:7}  {}\n", rule.code, rule.severity.word(), rule.title);
    every().map(line).collect()
}

/// docs/findings.md.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Findings\n\n\
         What `pcrd plan` may say about a plan, and what `pcrd explain CODE` prints. This page is written from the rules in\n\
         `src/findings/rules`, one a file; a test compares.\n\n",
    );
    for severity in [Severity::Info, Severity::Warning, Severity::Error, Severity::Refused] {
        out.push_str(&format!("* **{}**: {}\n", severity.word(), severity.meaning()));
    }
    out.push_str(
        "\nA finding is accepted at one address and with a reason, never everywhere: under `accept:` of the config, by\n\
         `-- pcrd: accept CODE reason=\"…\"` in the desired SQL, or by `--allow 'CODE@ADDRESS=REASON'` of `pcrd plan`. The plan\n\
         records where. An acceptance that matches nothing is an error.\n\n\
         A lock counts by its phase: nobody uses a table of the target before the switch, so a lock there is no hazard. What\n\
         locks the source, and what happens between fence and switch, is.\n\n\
         | code | severity | what it is |\n|---|---|---|\n",
    );
    for rule in ALL {
        let anchor = rule.code.to_lowercase();
        out.push_str(&format!("| [{}](#{anchor}) | {} | {} |\n", rule.code, rule.severity.word(), rule.title));
    }
    out.push_str("\nBefore `apply` the servers are checked too; `plan` says what it would refuse, with the check's id in brackets:\n\n");
    out.push_str("| check | severity | what it is | what to do |\n|---|---|---|---|\n");
    for rule in PREFLIGHT {
        let (code, severity) = (rule.code, rule.severity.word());
        out.push_str(&format!("| `{code}` | {severity} | {} | {} |\n", rule.title, rule.instead));
    }
    for rule in ALL {
        out.push_str(&format!("\n## {}\n\n", rule.code));
        let title = format!("{}{}", rule.title[..1].to_uppercase(), &rule.title[1..]);
        out.push_str(&format!("{title}. **{}**: {}.\n\n", rule.severity.word(), rule.severity.meaning()));
        out.push_str(&format!("* Lock: {}\n", lock(rule)));
        out.push_str(&format!("* Effect: {}\n", rule.effect));
        out.push_str(&format!("* Why: {}\n", rule.why));
        out.push_str(&format!("* Instead: {}\n", rule.instead));
    }
    out
}

fn lock(rule: &Rule) -> String {
    rule.lock.map_or_else(|| "none".to_owned(), |lock| lock.sentence())
}
