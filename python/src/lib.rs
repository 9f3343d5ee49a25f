//! The Python module `coble._coble`: convert, call the engine, convert back. The package around it, `python/coble`, re-exports what is public.
//!
//! All calls of the engine go through the one door in `enter`.

mod args;
mod cancel;
mod containers;
mod convert;
mod engine;
mod enter;
mod errors;
mod images;
mod logs;
mod process;
mod results;
mod streams;

use pyo3::prelude::*;

/// The native part of coble. Private: everything public is in the package `coble`.
#[pymodule]
mod _coble {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::cancel::CancelToken;
    #[pymodule_export]
    use super::containers::{Container, Containers};
    #[pymodule_export]
    use super::engine::{Engine, doctor};
    #[pymodule_export]
    use super::images::{Image, Images};
    #[pymodule_export]
    use super::logs::LogStream;
    #[pymodule_export]
    use super::process::RawProcess;
    #[pymodule_export]
    use super::results::{
        CapabilityInfo, Check, ContainerDetails, ContainerSummary, ContainerWarning, HistoryEntry,
        ImageDetails, Info, Isolation, LayerInfo, LimitInfo, LogRecord, NamespaceInfo, Removed, Report,
        RunResult, UserInfo,
    };
    #[pymodule_export]
    use super::{cli_main, split_command};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::errors::register(module)?;
        module.add("__version__", coble::version())?;
        module.add("PIPE", super::streams::PIPE)?;
        module.add("STDOUT", super::streams::STDOUT)?;
        module.add("DEVNULL", super::streams::DEVNULL)?;
        module.add("INHERIT", super::streams::INHERIT)
    }
}

/// Runs the `coble` command with its arguments, program name first, and returns its exit status. For programs: it installs signal
/// handlers while a container runs in the foreground.
#[pyfunction]
fn cli_main(py: Python<'_>, arguments: Vec<std::ffi::OsString>) -> PyResult<u8> {
    enter::outside(py, || Ok(coble_cli::main(arguments)))
}

/// Splits a command into words as a POSIX shell would, without any expansion.
#[pyfunction]
fn split_command(py: Python<'_>, command: &str) -> PyResult<Vec<String>> {
    coble::parse::words(command).map_err(|error| errors::raise(py, error))
}
