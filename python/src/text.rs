//! Output as text, as `subprocess` has it: decoded when it is there, with line ends that are `\n`.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// How bytes become text.
#[derive(Clone)]
pub(crate) struct Decoder {
    encoding: String,
    errors: String,
}

impl Decoder {
    /// None if nobody asks for text: an encoding, or a way to deal with errors, does. Fails with `LookupError` for one that Python does not know.
    pub(crate) fn of(
        py: Python<'_>,
        text: bool,
        encoding: Option<String>,
        errors: Option<String>,
    ) -> PyResult<Option<Decoder>> {
        if !text && encoding.is_none() && errors.is_none() {
            return Ok(None);
        }
        let decoder = Decoder {
            encoding: encoding.unwrap_or_else(|| "utf-8".to_owned()),
            errors: errors.unwrap_or_else(|| "strict".to_owned()),
        };
        let codecs = py.import("codecs")?;
        codecs.call_method1("lookup", (&decoder.encoding,))?;
        codecs.call_method1("lookup_error", (&decoder.errors,))?;
        Ok(Some(decoder))
    }

    /// Fails with `UnicodeDecodeError`.
    pub(crate) fn text<'py>(&self, bytes: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
        let text = bytes.call_method1("decode", (&self.encoding, &self.errors))?;
        text.call_method1("replace", ("\r\n", "\n"))?.call_method1("replace", ("\r", "\n"))
    }

    /// As [`Decoder::text`], for a line without its end.
    pub(crate) fn line<'py>(&self, bytes: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
        let text = bytes.call_method1("decode", (&self.encoding, &self.errors))?;
        text.call_method1("removesuffix", ("\r",))
    }

    /// Text of the caller. Fails with `UnicodeEncodeError`.
    pub(crate) fn bytes(&self, py: Python<'_>, text: &str) -> PyResult<Vec<u8>> {
        pyo3::types::PyString::new(py, text).call_method1("encode", (&self.encoding, &self.errors))?.extract()
    }

    /// Makes text of what an exception has of a program's output. What cannot be decoded stays bytes: the exception is what matters.
    pub(crate) fn of_error(&self, py: Python<'_>, error: PyErr) -> PyErr {
        let value = error.value(py);
        for name in ["stdout", "stderr"] {
            if let Ok(bytes) = value.getattr(name)
                && let Ok(bytes) = bytes.cast::<PyBytes>()
                && let Ok(text) = self.text(bytes)
            {
                let _ = value.setattr(name, text);
            }
        }
        if let Ok(result) = value.getattr("result")
            && let Ok(result) = result.cast::<crate::values::RunResult>()
            && let Ok(result) = result.get().decoded(py, self)
        {
            let _ = Bound::new(py, result).and_then(|result| value.setattr("result", result));
        }
        error
    }
}
