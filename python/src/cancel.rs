//! Cancellation by other threads.

use std::cell::RefCell;

use pyo3::prelude::*;

thread_local! {
    /// The tokens whose `with` blocks this thread is in, innermost last.
    static STACK: RefCell<Vec<coble::CancelToken>> = const { RefCell::new(Vec::new()) };
}

/// The token that the calls of this thread are under.
pub(crate) fn current() -> Option<coble::CancelToken> {
    STACK.with_borrow(|stack| stack.last().cloned())
}

/// Ends long calls early. Calls of a thread inside `with token:` fail with `CancelledError` when any thread calls `cancel`.
#[pyclass(frozen, module = "coble", name = "CancelToken")]
pub(crate) struct CancelToken(coble::CancelToken);

#[pymethods]
impl CancelToken {
    #[new]
    fn new() -> CancelToken {
        CancelToken(coble::CancelToken::new())
    }

    /// Cancels every call under the token, now and later.
    fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether it was cancelled.
    #[getter]
    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// A descriptor that becomes readable when the token is cancelled, for `select` and the like.
    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        use rustix::fd::AsRawFd;
        self.0.as_fd().map(|fd| fd.as_raw_fd()).ok_or_else(|| {
            let error = coble::Error::new(coble::ErrorKind::Io, "eventfd: no descriptor could be had for the token");
            crate::errors::raise(py, error)
        })
    }

    /// The token that the calls of this thread are under, or None.
    #[staticmethod]
    fn current() -> Option<CancelToken> {
        current().map(CancelToken)
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        STACK.with_borrow_mut(|stack| stack.push(slf.0.clone()));
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, pyo3::types::PyTuple>) {
        STACK.with_borrow_mut(|stack| stack.pop());
    }

    fn __repr__(&self) -> String {
        format!("<coble.CancelToken {}>", if self.0.is_cancelled() { "cancelled" } else { "not cancelled" })
    }
}
