//! Files of containers: copied in and out, read, written and listed.

use std::path::Path;

use coble::{Container, FileCopyOptions, SnapshotOptions, WriteOptions};
use pyo3::prelude::*;

use crate::convert::Tar;
use crate::enter::blocking;
use crate::image_store::{Find, Target};
use crate::values::{Exported, FileEntry};

pub(crate) fn get_archive<'a>(
    py: Python<'_>,
    find: impl Find<'a>,
    path: &str,
    target: Target,
    follow: bool,
) -> PyResult<Exported> {
    blocking(py, |cancel| find()?.get_archive(path, target.0, follow, cancel)).map(Exported)
}

pub(crate) fn put_archive<'a>(
    py: Python<'_>,
    find: impl Find<'a>,
    path: &str,
    archive: Tar,
) -> PyResult<Exported> {
    blocking(py, |cancel| find()?.put_archive(path, archive.0, cancel)).map(Exported)
}

fn options((follow_link, archive): (bool, bool)) -> FileCopyOptions {
    let mut options = FileCopyOptions::default();
    options.follow_link = follow_link;
    options.archive = archive;
    options
}

pub(crate) fn copy_to<'a>(
    py: Python<'_>,
    find: impl Find<'a>,
    source: &Path,
    dest: &str,
    flags: (bool, bool),
) -> PyResult<Exported> {
    let options = options(flags);
    blocking(py, |cancel| find()?.copy_to(source, dest, &options, cancel)).map(Exported)
}

pub(crate) fn copy_from<'a>(
    py: Python<'_>,
    find: impl Find<'a>,
    source: &str,
    dest: &Path,
    flags: (bool, bool),
) -> PyResult<Exported> {
    let options = options(flags);
    blocking(py, |cancel| find()?.copy_from(source, dest, &options, cancel)).map(Exported)
}

pub(crate) fn read_file<'a>(
    py: Python<'_>,
    find: impl Find<'a>,
    path: &str,
    max_size: u64,
) -> PyResult<Vec<u8>> {
    blocking(py, |cancel| find()?.read_file(path, max_size, cancel))
}

pub(crate) fn write_file<'a>(
    py: Python<'_>,
    find: impl Find<'a>,
    path: &str,
    data: &[u8],
    mode: Option<u32>,
    user: Option<String>,
) -> PyResult<()> {
    let mut options = WriteOptions::default();
    options.mode = mode.unwrap_or(options.mode);
    options.user = user;
    blocking(py, |cancel| find()?.write_file(path, data, &options, cancel))
}

pub(crate) fn list_files<'a>(py: Python<'_>, find: impl Find<'a>, path: &str) -> PyResult<Vec<FileEntry>> {
    let found = blocking(py, |cancel| find()?.list_files(path, cancel))?;
    Ok(found.into_iter().map(FileEntry).collect())
}

pub(crate) fn snapshot<'a>(
    py: Python<'_>,
    find: impl Find<'a>,
    name: Option<String>,
    pause: bool,
) -> PyResult<Container> {
    let mut options = SnapshotOptions::default();
    options.name = name;
    options.pause = pause;
    blocking(py, |cancel| find()?.snapshot(&options, cancel))
}
