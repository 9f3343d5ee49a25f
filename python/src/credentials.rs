//! What a registry is shown, and how it is reached.

use std::path::PathBuf;

use coble::RegistryOptions;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::expected;

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

/// How one registry is reached, from keyword arguments.
pub(crate) fn registry_options(
    credentials: Option<Given>,
    insecure: bool,
    auth_file: Option<PathBuf>,
    cert_dir: Option<PathBuf>,
    retries: Option<u32>,
) -> RegistryOptions {
    let mut options = RegistryOptions::default();
    options.credentials = credentials.map(|Given(credentials)| credentials);
    options.insecure = insecure;
    options.auth_file = auth_file;
    options.cert_dir = cert_dir;
    options.retries = retries;
    options
}
