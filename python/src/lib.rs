//! `coble._coble`: the engine for Python. Converts, calls the engine, converts back: no defaults, no validation, no meaning.

#![deny(unsafe_code)]

mod container;
#[allow(unsafe_code)]
mod convert;
mod credentials;
mod engine;
#[allow(unsafe_code)]
mod enter;
mod errors;
mod events;
mod exchange;
mod files;
mod image;
mod image_store;
mod logs;
mod mounts;
mod options;
mod process;
mod progress;
mod ready;
mod registry;
mod secrets;
mod stats;
mod text;
mod transfer;
mod values;
mod volume;

use std::ffi::OsString;

use pyo3::prelude::*;

/// The version of coble.
#[pyfunction]
fn version() -> &'static str {
    coble::version()
}

/// Runs the coble command with these arguments, program name first, and returns its exit status.
#[pyfunction]
fn cli_main(py: Python<'_>, argv: Vec<OsString>) -> PyResult<u8> {
    enter::quick(py, || Ok(coble_cli::main(argv)))
}

#[pymodule]
fn _coble(module: &Bound<'_, PyModule>) -> PyResult<()> {
    errors::install(module)?;
    module.add("PIPE", convert::PIPE)?;
    module.add("STDOUT", convert::STDOUT)?;
    module.add("DEVNULL", convert::DEVNULL)?;
    module.add_function(wrap_pyfunction!(version, module)?)?;
    module.add_function(wrap_pyfunction!(engine::doctor, module)?)?;
    module.add_function(wrap_pyfunction!(cli_main, module)?)?;
    module.add_function(wrap_pyfunction!(enter::_pause, module)?)?;
    module.add_class::<engine::PyEngine>()?;
    module.add_class::<image::PyImages>()?;
    module.add_class::<image::PyImage>()?;
    module.add_class::<container::PyContainers>()?;
    module.add_class::<container::PyContainer>()?;
    module.add_class::<process::PyProcess>()?;
    module.add_class::<ready::PyReadyWait>()?;
    module.add_class::<logs::PyLogStream>()?;
    module.add_class::<logs::LogLines>()?;
    module.add_class::<enter::PyCancelToken>()?;
    module.add_class::<values::RunResult>()?;
    module.add_class::<values::Warning>()?;
    module.add_class::<values::Isolation>()?;
    module.add_class::<values::NamespaceInfo>()?;
    module.add_class::<values::CapabilityInfo>()?;
    module.add_class::<values::Pressure>()?;
    module.add_class::<values::PressureShare>()?;
    module.add_class::<values::UserInfo>()?;
    module.add_class::<values::LimitInfo>()?;
    module.add_class::<values::MountInfo>()?;
    module.add_class::<mounts::PyMount>()?;
    module.add_class::<secrets::PySecret>()?;
    module.add_class::<values::ContainerSpec>()?;
    module.add_class::<values::Health>()?;
    module.add_class::<values::HealthProbe>()?;
    module.add_class::<values::ContainerDetails>()?;
    module.add_class::<values::LogRecord>()?;
    module.add_class::<values::ImageDetails>()?;
    module.add_class::<values::LayerInfo>()?;
    module.add_class::<values::HistoryEntry>()?;
    module.add_class::<values::Removed>()?;
    module.add_class::<values::Info>()?;
    module.add_class::<image_store::PyImageMount>()?;
    module.add_class::<values::PathChange>()?;
    module.add_class::<values::Pruned>()?;
    module.add_class::<values::ContainersPruned>()?;
    module.add_class::<values::Top>()?;
    module.add_class::<values::Stats>()?;
    module.add_class::<stats::PyStatsStream>()?;
    module.add_class::<events::Event>()?;
    module.add_class::<events::PyEventStream>()?;
    module.add_class::<values::Exported>()?;
    module.add_class::<values::FileEntry>()?;
    module.add_class::<values::ImageUsage>()?;
    module.add_class::<values::ContainerUsage>()?;
    module.add_class::<values::VolumeUsage>()?;
    module.add_class::<values::VolumeDetails>()?;
    module.add_class::<values::VolumesPruned>()?;
    module.add_class::<volume::PyVolumes>()?;
    module.add_class::<volume::PyVolume>()?;
    module.add_class::<values::DiskUsage>()?;
    module.add_class::<values::Problem>()?;
    module.add_class::<values::Scrub>()?;
    module.add_class::<registry::PyRegistry>()?;
    module.add_class::<credentials::PyCredentials>()?;
    module.add_class::<progress::PyProgressStream>()?;
    module.add_class::<values::Progress>()?;
    module.add_class::<values::Pushed>()?;
    module.add_class::<values::PlannedBlob>()?;
    module.add_class::<values::PullPlan>()?;
    module.add_class::<values::Pin>()?;
    module.add_class::<values::SearchResult>()?;
    module.add_class::<values::LoginResult>()?;
    module.add_class::<values::RemoteImage>()?;
    module.add_class::<values::Referrer>()?;
    module.add_class::<values::Report>()?;
    module.add_class::<values::Check>()?;
    // What is public is said by the package.
    module.delattr("__all__")
}
