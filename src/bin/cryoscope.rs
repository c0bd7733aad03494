//! The one program: a window, or a subcommand.

fn main() -> anyhow::Result<()> {
    cryoscope::ui::run(std::env::args_os().skip(1).map(Into::into).collect())
}
