//! The program inside the sandbox's machine.

fn main() -> std::process::ExitCode {
    cryoscope::sandbox::guest::main()
}
