//! Files of containers: copied in and out, written and listed.

use std::ffi::{c_char, c_void};

use core::{Exported, FileCopyOptions, Result, SnapshotOptions, Source, WriteOptions};

use crate::boundary::{Out, invalid};
use crate::cancel::{coble_cancel_t, token};
use crate::container::coble_container_t;
use crate::error::coble_error_t;
use crate::handle::{Handle, borrow};
use crate::options::flag;
use crate::status::coble_status_t;
use crate::stdio::duplicate;
use crate::string::coble_string_t;
use crate::strings::{owned_text, path, text};

fn options(follow_link: i32, archive: i32) -> Result<FileCopyOptions> {
    let mut options = FileCopyOptions::default();
    options.follow_link = flag(follow_link, "follow_link")?;
    options.archive = flag(archive, "archive")?;
    Ok(options)
}

fn give(done: &Exported, out: Result<Out<*mut coble_string_t>>) -> Result<()> {
    if let Ok(out) = out {
        coble_string_t::json(done)?.give(out);
    }
    Ok(())
}

/// Copies a file or directory of the host into a container, whether it runs or not, by docker's rules for `docker cp`: `source` goes into `dest` if that is a
/// directory, only its content if `source` ends in `/.`; else it becomes `dest`. A link at the end of `source` is copied as a link, unless `follow_link` is
/// not 0. Everything belongs to the container's user 0, unless `archive` is not 0, which keeps the numbers of owners. `json`, which may be NULL,
/// gets an object as of coble_container_export.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_copy_to(
    container: *const coble_container_t,
    source: *const c_char,
    dest: *const c_char,
    follow_link: i32,
    archive: i32,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, source, dest, cancel, out) = unsafe {
            let out = Out::new(json, "json");
            (borrow(container)?, path(source, "source")?, text(dest, "dest")?, token(cancel), out)
        };
        let options = options(follow_link, archive)?;
        give(&container.container.copy_to(&source, dest, &options, &cancel)?, out)?;
    })
}

/// Copies a file or directory of a container to the host, by the same rules as coble_container_copy_to with the sides exchanged. Everything belongs to the
/// caller and has no set-id bits, unless `archive` is not 0. Directories that are there keep their mode and owner. Device nodes and file capabilities are left out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_copy_from(
    container: *const coble_container_t,
    source: *const c_char,
    dest: *const c_char,
    follow_link: i32,
    archive: i32,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, source, dest, cancel, out) = unsafe {
            let out = Out::new(json, "json");
            (borrow(container)?, text(source, "source")?, path(dest, "dest")?, token(cancel), out)
        };
        let options = options(follow_link, archive)?;
        give(&container.container.copy_from(source, &dest, &options, &cancel)?, out)?;
    })
}

/// Unpacks a tar, plain or compressed, in a directory of a container, whether it runs or not. Directories are merged, files replaced; a file does not replace a directory, nor a
/// directory a file. Owners are the archive's. `json`, which may be NULL, gets an object as of coble_container_export.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_put_archive(
    container: *const coble_container_t,
    dest: *const c_char,
    archive: *const c_char,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, dest, archive, cancel, out) = unsafe {
            let out = Out::new(json, "json");
            (borrow(container)?, text(dest, "dest")?, path(archive, "archive")?, token(cancel), out)
        };
        give(&container.container.put_archive(dest, Source::Path(archive), &cancel)?, out)?;
    })
}

/// As coble_container_put_archive, from an open file or pipe, which stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_put_archive_fd(
    container: *const coble_container_t,
    dest: *const c_char,
    fd: i32,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, dest, fd, cancel, out) = unsafe {
            let out = Out::new(json, "json");
            (borrow(container)?, text(dest, "dest")?, duplicate(fd, "fd")?, token(cancel), out)
        };
        give(&container.container.put_archive(dest, Source::Fd(fd), &cancel)?, out)?;
    })
}

/// Makes a file of a container, or replaces it, whether the container runs or not. Its directory has to be there. `mode`: permission bits with set-id and sticky.
/// `user`: whom it belongs to, as `name`, `uid`, `name:group` or `uid:gid`; NULL: user 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_write_file(
    container: *const coble_container_t,
    file: *const c_char,
    content: *const c_void,
    size: usize,
    mode: u32,
    user: *const c_char,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, file, user, cancel) =
            unsafe { (borrow(container)?, text(file, "file")?, owned_text(user, "user")?, token(cancel)) };
        let content = match (content.is_null(), size) {
            (_, 0) => &[][..],
            (true, _) => return Err(invalid("content", "is NULL")),
            // SAFETY: the caller's: so many bytes are readable there, and nobody changes them during the call.
            (false, size) => unsafe { std::slice::from_raw_parts(content.cast::<u8>(), size) },
        };
        let mut options = WriteOptions::default();
        options.mode = mode;
        options.user = user;
        container.container.write_file(file, content, &options, &cancel)?;
    })
}

/// The entries of a directory of a container, by name, as an array of objects with the members `name`, `kind` (`file`, `directory`, `symlink`, `fifo`,
/// `socket`, `character-device` or `block-device`), `size`, `mode`, `uid`, `gid`, `modified` (RFC 3339), and `link_target` of links.
/// A directory with more than a million entries fails with COBLE_ERR_LIMIT_EXCEEDED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_list_files(
    container: *const coble_container_t,
    directory: *const c_char,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, directory, cancel, out) = unsafe {
            (borrow(container)?, text(directory, "directory")?, token(cancel), Out::new(json, "json")?)
        };
        let found = container.container.list_files(directory, &cancel)?;
        coble_string_t::json(&found)?.give(out);
    })
}

/// Makes a new container with the options of this one, and with its files as they are now. It does not run yet: as long as it is not started it is a snapshot, of which others can be
/// made; started, it is a clone, whose program begins anew, upon these files. `name` may be NULL. Of a container that does not run nothing is copied; a running one is stopped while what it wrote is copied, if
/// `pause` is not 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_snapshot(
    container: *const coble_container_t,
    name: *const c_char,
    pause: i32,
    cancel: *const coble_cancel_t,
    snapshot: *mut *mut coble_container_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, name, cancel, out) = unsafe {
            (borrow(container)?, owned_text(name, "name")?, token(cancel), Out::new(snapshot, "snapshot")?)
        };
        let mut options = SnapshotOptions::default();
        options.name = name;
        options.pause = flag(pause, "pause")?;
        coble_container_t::new(container.container.snapshot(&options, &cancel)?).give(out);
    })
}
