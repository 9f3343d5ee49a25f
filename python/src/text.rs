//! Output as text, as `subprocess` has it: decoded when it is there, with line ends that are `\n`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySlice, PyString};

/// How bytes become text.
#[derive(Clone)]
pub(crate) struct Decoder {
    encoding: String,
    errors: String,
}

/// Both streams of a program.
type Texts<'py> = [Bound<'py, PyAny>; 2];

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

    /// Makes text of both streams, and of the lengths of their pieces in bytes lengths in characters: one that is cut in two is of the second piece.
    pub(crate) fn streams<'py>(
        &self,
        streams: [&Bound<'py, PyAny>; 2],
        order: &[(bool, usize)],
    ) -> PyResult<(Texts<'py>, Vec<(bool, usize)>)> {
        let py = streams[0].py();
        let decoders = py.import("codecs")?.call_method1("getincrementaldecoder", (&self.encoding,))?;
        let io = py.import("io")?;
        let make = || io.call_method1("IncrementalNewlineDecoder", (decoders.call1((&self.errors,))?, true));
        let decoders = [make()?, make()?];
        let texts = [PyList::empty(py), PyList::empty(py)];
        let (mut at, mut characters) = ([0; 2], Vec::with_capacity(order.len()));
        for (stderr, length) in order {
            let index = usize::from(*stderr);
            let end = at[index] + length;
            let piece = streams[index].get_item(PySlice::new(py, at[index] as isize, end as isize, 1))?;
            at[index] = end;
            let last = end >= streams[index].len()?;
            let text = decoders[index].call_method1("decode", (piece, last))?;
            characters.push((*stderr, text.len()?));
            texts[index].append(text)?;
        }
        let join = |parts: &Bound<'py, PyList>| PyString::new(py, "").call_method1("join", (parts,));
        characters.retain(|(_, length)| *length > 0);
        Ok(([join(&texts[0])?, join(&texts[1])?], characters))
    }

    /// As [`Decoder::text`], for a line without its end.
    pub(crate) fn line<'py>(&self, bytes: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
        let text = bytes.call_method1("decode", (&self.encoding, &self.errors))?;
        text.call_method1("removesuffix", ("\r",))
    }

    /// Text of the caller. Fails with `UnicodeEncodeError`.
    pub(crate) fn bytes(&self, py: Python<'_>, text: &str) -> PyResult<Vec<u8>> {
        PyString::new(py, text).call_method1("encode", (&self.encoding, &self.errors))?.extract()
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
