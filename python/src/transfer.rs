//! Images from and to registries: what `engine.images` does with them.

use std::path::PathBuf;

use coble::{CopyOptions, Engine, PullOptions, PullPolicy, PushOptions, RegistryOptions, SearchOptions};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::Natural;
use crate::credentials::{Way, registry_options};
use crate::engine::PyEngine;
use crate::errors::{invalid, to_py};
use crate::image::PyImage;
use crate::options::{Copy, Hear, Pull, Push, Reach, Search, Tell, read};
use crate::progress::{Done, PyProgressStream, told};
use crate::values::{Pin, PullPlan, Pushed, SearchResult};

/// A number that the engine has as a `u32`.
pub(crate) fn small(py: Python<'_>, name: &str, given: Option<Natural>) -> PyResult<Option<u32>> {
    given
        .map(|Natural(number)| {
            u32::try_from(number).map_err(|_| invalid(py, format!("{name} {number} is too large")))
        })
        .transpose()
}

impl Reach {
    pub(crate) fn options(self, py: Python<'_>) -> PyResult<RegistryOptions> {
        let retries = small(py, "retries", self.retries)?;
        let way = Way {
            connect_timeout: self.connect_timeout,
            idle_timeout: self.idle_timeout,
            mirrors: self.mirrors,
            registries_conf: self.registries_conf,
            hosts_dir: self.hosts_dir,
            credential_provider: self.credential_provider,
        };
        let way = way.options();
        Ok(registry_options(&way, self.credentials, self.insecure, self.auth_file, self.cert_dir, retries))
    }
}

impl Pull {
    fn options(self, py: Python<'_>, reach: Reach) -> PyResult<PullOptions> {
        let mut options = PullOptions::default();
        options.platform = self.platform;
        if let Some(policy) = &self.policy {
            options.policy = PullPolicy::parse(policy).map_err(|error| to_py(py, error))?;
        }
        options.jobs = small(py, "jobs", self.jobs)?;
        options.lock = self.lock;
        options.allow_foreign_urls = self.allow_foreign_urls;
        options.foreign_url_hosts = self.foreign_url_hosts.unwrap_or_default();
        options.registry = reach.options(py)?;
        Ok(options)
    }
}

/// What `progress` and `stream` ask for: `stream` is for a caller that iterates, so that there is nobody to call.
fn check(py: Python<'_>, tell: &Tell) -> PyResult<()> {
    if tell.stream && tell.progress.is_some() {
        return Err(invalid(py, "progress and stream exclude each other"));
    }
    Ok(())
}

pub(crate) fn pull(
    py: Python<'_>,
    object: &Py<PyEngine>,
    reference: String,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (mut pull, mut reach, mut tell) = (Pull::default(), Reach::default(), Tell::default());
    read("Images.pull", given, &mut [&mut pull, &mut reach, &mut tell])?;
    check(py, &tell)?;
    let options = pull.options(py, reach)?;
    if tell.stream {
        let stream = PyProgressStream::start(py, object, move |engine, progress, cancel| {
            let summary = engine.images().pull(&reference, &options, progress, cancel)?;
            Ok(Done::Image(Box::new(summary)))
        })?;
        return stream.into_py_any(py);
    }
    let engine = object.get().engine(py)?;
    let summary = told(py, tell.progress, |progress, cancel| {
        engine.images().pull(&reference, &options, progress, cancel)
    })?;
    PyImage::new(engine, summary).into_py_any(py)
}

pub(crate) fn plan(
    py: Python<'_>,
    engine: &Engine,
    reference: &str,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<PullPlan> {
    let (mut pull, mut reach, mut hear) = (Pull::default(), Reach::default(), Hear::default());
    read("Images.plan", given, &mut [&mut pull, &mut reach, &mut hear])?;
    let options = pull.options(py, reach)?;
    told(py, hear.progress, |progress, cancel| engine.images().plan(reference, &options, progress, cancel))
        .map(PullPlan)
}

pub(crate) fn push(
    py: Python<'_>,
    object: &Py<PyEngine>,
    reference: String,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (mut push, mut reach, mut tell) = (Push::default(), Reach::default(), Tell::default());
    read("Images.push", given, &mut [&mut push, &mut reach, &mut tell])?;
    check(py, &tell)?;
    let mut options = PushOptions::default();
    options.tags = push.tags.unwrap_or_default();
    options.platform = push.platform;
    options.compression = push.compression;
    options.compression_level = small(py, "compression_level", push.compression_level)?;
    options.format = push.format;
    options.allow_nondistributable_artifacts = push.allow_nondistributable_artifacts;
    options.chunk_size = push.chunk_size.map(|size| size.0);
    options.jobs = small(py, "jobs", push.jobs)?;
    options.registry = reach.options(py)?;
    if tell.stream {
        let stream = PyProgressStream::start(py, object, move |engine, progress, cancel| {
            engine.images().push(&reference, &options, progress, cancel).map(Done::Pushed)
        })?;
        return stream.into_py_any(py);
    }
    let engine = object.get().engine(py)?;
    let pushed = told(py, tell.progress, |progress, cancel| {
        engine.images().push(&reference, &options, progress, cancel)
    })?;
    Pushed(pushed).into_py_any(py)
}

pub(crate) fn copy(
    py: Python<'_>,
    object: &Py<PyEngine>,
    source: String,
    target: String,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (mut copy, mut tell) = (Copy::default(), Tell::default());
    read("Images.copy", given, &mut [&mut copy, &mut tell])?;
    check(py, &tell)?;
    let mut options = CopyOptions::default();
    let retries = small(py, "retries", copy.retries)?;
    options.platform = copy.platform;
    options.format = copy.format;
    options.allow_nondistributable_artifacts = copy.allow_nondistributable_artifacts;
    options.allow_foreign_urls = copy.allow_foreign_urls;
    options.foreign_url_hosts = copy.foreign_url_hosts.unwrap_or_default();
    options.jobs = small(py, "jobs", copy.jobs)?;
    let way = Way {
        connect_timeout: copy.connect_timeout,
        idle_timeout: copy.idle_timeout,
        mirrors: copy.mirrors,
        registries_conf: copy.registries_conf,
        hosts_dir: copy.hosts_dir,
        credential_provider: copy.credential_provider,
    };
    let way = way.options();
    options.source = registry_options(
        &way,
        copy.source_credentials,
        copy.source_insecure,
        copy.source_auth_file,
        copy.source_cert_dir,
        retries,
    );
    options.target = registry_options(
        &way,
        copy.target_credentials,
        copy.target_insecure,
        copy.target_auth_file,
        copy.target_cert_dir,
        retries,
    );
    if tell.stream {
        let stream = PyProgressStream::start(py, object, move |engine, progress, cancel| {
            engine.images().copy(&source, &target, &options, progress, cancel).map(Done::Pushed)
        })?;
        return stream.into_py_any(py);
    }
    let engine = object.get().engine(py)?;
    let copied = told(py, tell.progress, |progress, cancel| {
        engine.images().copy(&source, &target, &options, progress, cancel)
    })?;
    Pushed(copied).into_py_any(py)
}

pub(crate) fn search(
    py: Python<'_>,
    engine: &Engine,
    term: &str,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Vec<SearchResult>> {
    let (mut search, mut reach, mut hear) = (Search::default(), Reach::default(), Hear::default());
    read("Images.search", given, &mut [&mut search, &mut reach, &mut hear])?;
    let mut options = SearchOptions::default();
    options.registry = search.registry;
    options.limit = small(py, "limit", search.limit)?;
    options.filters = search.filters.unwrap_or_default().0;
    options.options = reach.options(py)?;
    let found =
        told(py, hear.progress, |progress, cancel| engine.images().search(term, &options, progress, cancel))?;
    Ok(found.into_iter().map(SearchResult).collect())
}

pub(crate) fn lock(
    py: Python<'_>,
    engine: &Engine,
    references: Vec<String>,
    path: PathBuf,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<Vec<Pin>> {
    let (mut reach, mut hear) = (Reach::default(), Hear::default());
    read("Images.lock", given, &mut [&mut reach, &mut hear])?;
    let options = reach.options(py)?;
    let references: Vec<&str> = references.iter().map(String::as_str).collect();
    let pins = told(py, hear.progress, |progress, cancel| {
        engine.images().lock(&references, &path, &options, progress, cancel)
    })?;
    Ok(pins.into_iter().map(Pin).collect())
}
