//! What a registry is shown, and how it is reached.

use std::path::PathBuf;
use std::time::Duration;

use coble::{Error, ErrorKind, RegistryOptions};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::{Seconds, expected};

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

/// A callable that knows credentials.
pub(crate) struct Provider(coble::CredentialProvider);

impl<'py> FromPyObject<'_, 'py> for Provider {
    type Error = PyErr;

    fn extract(given: Borrowed<'_, 'py, PyAny>) -> PyResult<Provider> {
        if !given.is_callable() {
            return Err(expected("a callable", given));
        }
        let callable = given.to_owned().unbind();
        Ok(Provider(coble::CredentialProvider::new(move |request| {
            let asked = Python::try_attach(|py| {
                let arguments = (request.registry.as_str(), request.repository.as_str(), request.refused);
                callable.call1(py, arguments)?.extract::<Option<Given>>(py)
            });
            match asked {
                Some(Ok(given)) => Ok(given.map(|Given(credentials)| credentials)),
                // The caller gets the exception itself.
                Some(Err(exception)) => Err(failed("raised an exception").with_cause(exception)),
                None => Err(failed("cannot be asked: the interpreter is on its way out")),
            }
        })))
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
        options.credential_provider = self.credential_provider.map(|Provider(provider)| provider);
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
