//! The question before something is changed.

use std::io::{BufRead, IsTerminal, Write};

use super::context::Context;
use super::error::{CommandError, Exit};

/// Asks `question [y/N]` on the terminal. `--yes` answers it. No answer (end of input) is no.
///
/// # Errors
/// There is no terminal to ask on and `--yes` was not given, or the operator interrupts.
pub async fn confirm(ctx: &Context, question: &str, yes: bool) -> Result<bool, CommandError> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        let text = format!("`{question}` cannot be asked: standard input is not a terminal");
        return Err(CommandError::new(Exit::Usage, text).with_next("the same command with --yes"));
    }
    let question = question.to_owned();
    // A thread of its own, so that a signal is heard while the operator thinks.
    let answer =
        tokio::task::spawn_blocking(move || ask(&question, &mut std::io::stdin().lock(), &mut std::io::stderr()));
    tokio::select! {
        answer = answer => match answer {
            Ok(answer) => answer.map_err(CommandError::output),
            Err(panic) => Err(CommandError::new(Exit::Failed, panic)),
        },
        () = ctx.shutdown.requested() => Err(CommandError::interrupted()),
    }
}

fn ask(question: &str, input: &mut dyn BufRead, output: &mut dyn Write) -> std::io::Result<bool> {
    write!(output, "{question} [y/N] ")?;
    output.flush()?;
    let mut answer = String::new();
    if input.read_line(&mut answer)? == 0 {
        writeln!(output)?;
    }
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_yes() {
        for (input, expected) in [
            ("y\n", true),
            ("YES\n", true),
            (" yes \n", true),
            ("y", true),
            ("", false),
            ("\n", false),
            ("no\n", false),
            ("yep\n", false),
        ] {
            let mut output = Vec::new();
            assert_eq!(
                ask("Proceed with migration?", &mut input.as_bytes(), &mut output).unwrap(),
                expected,
                "{input:?}"
            );
            assert!(output.starts_with(b"Proceed with migration? [y/N] "));
        }
    }
}
