//! `engine.registry`: logging in and out, and what there is in registries.

use std::path::PathBuf;

use coble::Engine;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

use crate::credentials::Given;
use crate::engine::PyEngine;
use crate::enter::blocking;
use crate::options::{Hear, Reach, read};
use crate::progress::told;
use crate::values::{LoginResult, Referrer, RemoteImage};

/// The registries, as an engine reaches them.
#[pyclass(frozen, name = "Registry", module = "coble")]
pub(crate) struct PyRegistry {
    pub(crate) engine: Py<PyEngine>,
}

impl PyRegistry {
    fn engine(&self, py: Python<'_>) -> PyResult<&Engine> {
        self.engine.get().engine(py)
    }
}

/// How the registry of a call is reached, and who hears what it says beside its answers.
fn reach(
    py: Python<'_>,
    function: &str,
    given: Option<&Bound<'_, PyDict>>,
) -> PyResult<(coble::RegistryOptions, Option<Py<PyAny>>)> {
    let (mut reach, mut hear) = (Reach::default(), Hear::default());
    read(function, given, &mut [&mut reach, &mut hear])?;
    Ok((reach.options(py)?, hear.progress))
}

#[pymethods]
impl PyRegistry {
    /// Tries credentials at a registry, and stores them when it takes them.
    #[pyo3(signature = (server, credentials, **options))]
    #[pyo3(
        text_signature = "($self, server, credentials, *, insecure=False, auth_file=None, cert_dir=None, retries=None, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None, progress=None)"
    )]
    fn login(
        &self,
        py: Python<'_>,
        server: &str,
        credentials: Given,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<LoginResult> {
        let engine = self.engine(py)?;
        let (options, progress) = reach(py, "Registry.login", options)?;
        let credentials = credentials.0;
        told(py, progress, |progress, cancel| {
            engine.registry().login(server, &credentials, &options, progress, cancel)
        })
        .map(LoginResult)
    }

    /// Forgets the credentials of a registry. False if there were none.
    #[pyo3(signature = (server, *, auth_file=None))]
    fn logout(&self, py: Python<'_>, server: &str, auth_file: Option<PathBuf>) -> PyResult<bool> {
        let engine = self.engine(py)?;
        blocking(py, |cancel| engine.registry().logout(server, auth_file.as_deref(), cancel))
    }

    /// The tags of a repository, sorted.
    #[pyo3(signature = (repository, **options))]
    #[pyo3(
        text_signature = "($self, repository, *, credentials=None, insecure=False, auth_file=None, cert_dir=None, retries=None, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None, progress=None)"
    )]
    fn tags(
        &self,
        py: Python<'_>,
        repository: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<String>> {
        let engine = self.engine(py)?;
        let (options, progress) = reach(py, "Registry.tags", options)?;
        told(py, progress, |progress, cancel| engine.registry().tags(repository, &options, progress, cancel))
    }

    /// The repositories of a registry, sorted.
    #[pyo3(signature = (server, **options))]
    #[pyo3(
        text_signature = "($self, server, *, credentials=None, insecure=False, auth_file=None, cert_dir=None, retries=None, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None, progress=None)"
    )]
    fn catalog(
        &self,
        py: Python<'_>,
        server: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<String>> {
        let engine = self.engine(py)?;
        let (options, progress) = reach(py, "Registry.catalog", options)?;
        told(py, progress, |progress, cancel| engine.registry().catalog(server, &options, progress, cancel))
    }

    /// What a name stands for in its registry.
    #[pyo3(signature = (reference, *, platform=None, **options))]
    #[pyo3(
        text_signature = "($self, reference, *, platform=None, credentials=None, insecure=False, auth_file=None, cert_dir=None, retries=None, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None, progress=None)"
    )]
    fn inspect(
        &self,
        py: Python<'_>,
        reference: &str,
        platform: Option<&str>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<RemoteImage> {
        let engine = self.engine(py)?;
        let (options, progress) = reach(py, "Registry.inspect", options)?;
        told(py, progress, |progress, cancel| {
            engine.registry().inspect(reference, platform, &options, progress, cancel)
        })
        .map(RemoteImage)
    }

    /// Deletes a tag, or with a digest a manifest.
    #[pyo3(signature = (reference, **options))]
    #[pyo3(
        text_signature = "($self, reference, *, credentials=None, insecure=False, auth_file=None, cert_dir=None, retries=None, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None, progress=None)"
    )]
    fn delete(&self, py: Python<'_>, reference: &str, options: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let engine = self.engine(py)?;
        let (options, progress) = reach(py, "Registry.delete", options)?;
        told(py, progress, |progress, cancel| engine.registry().delete(reference, &options, progress, cancel))
    }

    /// What refers to an image.
    #[pyo3(signature = (reference, *, artifact_type=None, **options))]
    #[pyo3(
        text_signature = "($self, reference, *, artifact_type=None, credentials=None, insecure=False, auth_file=None, cert_dir=None, retries=None, connect_timeout=None, idle_timeout=None, mirrors=None, registries_conf=None, hosts_dir=None, credential_provider=None, progress=None)"
    )]
    fn referrers(
        &self,
        py: Python<'_>,
        reference: &str,
        artifact_type: Option<&str>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Vec<Referrer>> {
        let engine = self.engine(py)?;
        let (options, progress) = reach(py, "Registry.referrers", options)?;
        let found = told(py, progress, |progress, cancel| {
            engine.registry().referrers(reference, artifact_type, &options, progress, cancel)
        })?;
        Ok(found.into_iter().map(Referrer).collect())
    }

    /// Nothing has to be cleared: what leads back here ends at the engine.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.engine)
    }

    fn __repr__(&self) -> &'static str {
        "<coble.Registry>"
    }
}
