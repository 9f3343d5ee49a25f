//! What a registry is shown, and how it is reached.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coble::{Error, ErrorKind, RegistryOptions};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};

use crate::convert::{Seconds, expected};
use crate::enter::lock;

/// What a registry is shown: a password, or a token. It shows its secret to nobody.
#[pyclass(frozen, eq, skip_from_py_object, name = "Credentials", module = "coble")]
#[derive(Clone, PartialEq)]
pub(crate) struct PyCredentials(coble::Credentials);

#[pymethods]
impl PyCredentials {
    /// A user name and a password.
    #[new]
    fn new(username: String, password: String) -> PyCredentials {
        PyCredentials(coble::Credentials::Password { username, password })
    }

    /// An identity token, which a token server exchanges for access tokens.
    #[staticmethod]
    fn identity_token(token: String) -> PyCredentials {
        PyCredentials(coble::Credentials::IdentityToken(token))
    }

    /// An access token, which is sent to the registry as it is.
    #[staticmethod]
    fn token(token: String) -> PyCredentials {
        PyCredentials(coble::Credentials::Token(token))
    }

    /// The user name; None with a token.
    #[getter]
    fn username(&self) -> Option<&str> {
        match &self.0 {
            coble::Credentials::Password { username, .. } => Some(username),
            _ => None,
        }
    }

    fn __repr__(&self) -> String {
        match &self.0 {
            coble::Credentials::Password { username, .. } => format!("<coble.Credentials {username:?}>"),
            coble::Credentials::IdentityToken(_) => "<coble.Credentials identity token>".to_owned(),
            _ => "<coble.Credentials token>".to_owned(),
        }
    }
}

/// Credentials as a caller gives them: an object, or a user name and a password.
pub(crate) struct Given(pub(crate) coble::Credentials);

impl<'py> FromPyObject<'_, 'py> for Given {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Given> {
        if let Ok(credentials) = given.cast::<PyCredentials>() {
            return Ok(Given(credentials.get().0.clone()));
        }
        if let Ok(pair) = given.cast::<PyTuple>()
            && let Ok((username, password)) = pair.extract::<(String, String)>()
        {
            return Ok(Given(coble::Credentials::Password { username, password }));
        }
        Err(expected("Credentials, or a tuple of user name and password", given))
    }
}

/// A callable that knows credentials. The engine only knows the way to it, so that Python's garbage collector can be shown that it belongs to an object of Python.
pub(crate) struct Callable(Mutex<Option<Py<PyAny>>>);

impl Callable {
    /// Shows it to the garbage collector.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Whoever has the lock is in the middle of a call, so that it is in use.
        match self.0.try_lock() {
            Ok(callable) => visit.call(&*callable),
            Err(_) => Ok(()),
        }
    }

    /// Lets it go.
    pub(crate) fn clear(&self) {
        let callable = lock(&self.0).take();
        drop(callable);
    }

    fn ask(&self, request: &coble::CredentialRequest) -> coble::Result<Option<coble::Credentials>> {
        let asked = Python::try_attach(|py| {
            let callable = lock(&self.0).as_ref().map(|callable| callable.clone_ref(py));
            let arguments = (request.registry.as_str(), request.repository.as_str(), request.refused);
            callable.map(|callable| callable.call1(py, arguments)?.extract::<Option<Given>>(py))
        });
        match asked {
            Some(Some(Ok(given))) => Ok(given.map(|Given(credentials)| credentials)),
            // The caller gets the exception itself.
            Some(Some(Err(exception))) => Err(failed("raised an exception").with_cause(exception)),
            Some(None) => Err(failed("cannot be asked: the engine it belongs to was given up")),
            None => Err(failed("cannot be asked: the interpreter is on its way out")),
        }
    }
}

/// A callable that knows credentials, as an argument.
pub(crate) struct Provider(Arc<Callable>);

impl Provider {
    /// The callable, for whoever keeps it longer than a call.
    pub(crate) fn callable(&self) -> Arc<Callable> {
        Arc::clone(&self.0)
    }

    fn into_core(self) -> coble::CredentialProvider {
        coble::CredentialProvider::new(move |request| self.0.ask(request))
    }
}

impl<'py> FromPyObject<'_, 'py> for Provider {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Provider> {
        if !given.is_callable() {
            return Err(expected("a callable", given));
        }
        Ok(Provider(Arc::new(Callable(Mutex::new(Some(given.to_owned().unbind()))))))
    }
}

fn failed(why: &str) -> Error {
    Error::new(ErrorKind::Unauthorized, format!("the credential provider {why}"))
}

/// What is said of a registry beside who asks: how long it is waited for, and what stands for it.
#[derive(Default)]
pub(crate) struct Way {
    pub(crate) connect_timeout: Option<Seconds>,
    pub(crate) idle_timeout: Option<Seconds>,
    pub(crate) mirrors: Option<Vec<String>>,
    pub(crate) registries_conf: Option<PathBuf>,
    pub(crate) hosts_dir: Option<PathBuf>,
    pub(crate) credential_provider: Option<Provider>,
}

impl Way {
    /// How registries are reached by it.
    pub(crate) fn options(self) -> RegistryOptions {
        // More than any clock can express is more than the engine takes, not no time-out.
        let time = |given: Option<Seconds>| given.map(|Seconds(time)| time.unwrap_or(Duration::MAX));
        let mut options = RegistryOptions::default();
        options.connect_timeout = time(self.connect_timeout);
        options.idle_timeout = time(self.idle_timeout);
        options.mirrors = self.mirrors.unwrap_or_default();
        options.registries_conf = self.registries_conf;
        options.hosts_dir = self.hosts_dir;
        options.credential_provider = self.credential_provider.map(Provider::into_core);
        options
    }
}

/// How one registry is reached, from keyword arguments, beside what is said of several.
pub(crate) fn registry_options(
    way: &RegistryOptions,
    credentials: Option<Given>,
    insecure: bool,
    auth_file: Option<PathBuf>,
    cert_dir: Option<PathBuf>,
    retries: Option<u32>,
) -> RegistryOptions {
    let mut options = way.clone();
    options.credentials = credentials.map(|Given(credentials)| credentials);
    options.insecure = insecure;
    options.auth_file = auth_file;
    options.cert_dir = cert_dir;
    options.retries = retries;
    options
}
