//! The one program: a window, or a subcommand.

fn main() -> std::process::ExitCode {
    cryoscope::cli::main()
}
