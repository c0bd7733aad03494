//! The daemon on a node.

fn main() -> std::process::ExitCode {
    cryoscope::agent::cli::main()
}
