//! `pcrd man`.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::cli::args::Cli;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write one page per command into this directory instead
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Prints the page, or writes all of them.
pub fn run(ctx: &Context, args: &ManArgs) -> Result<Exit, CommandError> {
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
            .map_err(|error| CommandError::new(Exit::Failed, format!("cannot write to {}: {error}", dir.display())))?;
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(CommandError::output)?;
    ctx.data(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Done)
}
