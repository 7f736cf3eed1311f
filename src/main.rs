//! The command line program.

fn main() -> std::process::ExitCode {
    pcrd::cli::main()
}
