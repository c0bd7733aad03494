//! The one program: a window, or a subcommand.

fn main() {}
