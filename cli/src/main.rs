//! The `coble` program: everything is in the library, which the Python package's `coble` command uses too.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(coble_cli::main(std::env::args_os()))
}
