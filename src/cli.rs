//! The command line: words in, one verb called, an exit code out.

/// Runs the program and returns its exit code.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
