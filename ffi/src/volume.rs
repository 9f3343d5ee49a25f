//! Volumes: directories of the store that containers have mounted, and that outlive them.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};

use core::{Exported, Result, Sink, Source, Volume, VolumeOptions, VolumePruneOptions, parse};

use crate::boundary::Out;
use crate::cancel::{coble_cancel_t, token};
use crate::engine::coble_engine_t;
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow};
use crate::options::flag;
use crate::status::coble_status_t;
use crate::stdio::duplicate;
use crate::string::coble_string_t;
use crate::strings::{c_string, optional_text, owned_text, path, text, texts};

/// A volume.
pub struct coble_volume_t {
    volume: Volume,
    name: CString,
}

impl coble_volume_t {
    fn new(volume: Volume) -> coble_volume_t {
        coble_volume_t { name: c_string(volume.name()), volume }
    }
}

impl Handle for coble_volume_t {
    const NAME: &'static str = "volume";
}

/// Makes a volume, or gives the one that has the name, as it is. A name is [a-zA-Z0-9][a-zA-Z0-9_.-]+, at most 255 characters; NULL is an anonymous volume, with a name of 64 hexadecimal digits. The driver is
/// "local", as is NULL. `labels` are `label_count` texts "name=value". The handle has to be deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_create(
    engine: *const coble_engine_t,
    name: *const c_char,
    driver: *const c_char,
    labels: *const *const c_char,
    label_count: usize,
    volume: *mut *mut coble_volume_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        let mut options = VolumeOptions::default();
        // SAFETY: the caller's, by the contract of the header.
        let (engine, labels, out) = unsafe {
            options.name = owned_text(name, "name")?;
            options.driver = owned_text(driver, "driver")?;
            (borrow(engine)?, texts(labels, label_count, "labels")?, Out::new(volume, "volume")?)
        };
        let pair =
            |text: &String| parse::assignment(text).map(|(name, value)| (name, value.unwrap_or_default()));
        options.labels = labels.iter().map(pair).collect::<Result<BTreeMap<_, _>>>()?;
        coble_volume_t::new(engine.0.volumes().create(&options)?).give(out);
    })
}

/// The volume with this name. The handle has to be deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_get(
    engine: *const coble_engine_t,
    name: *const c_char,
    volume: *mut *mut coble_volume_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, name, out) =
            unsafe { (borrow(engine)?, text(name, "name")?, Out::new(volume, "volume")?) };
        coble_volume_t::new(engine.0.volumes().get(name)?).give(out);
    })
}

/// Makes a volume that has what another one has, in milliseconds whatever the size: they share what neither changes. Without a name it is anonymous. As long as a volume has clones, nothing can be written to it: a container that
/// would mount it otherwise than read-only does not start, and while one that may write to it runs there is no clone of it; both fail with COBLE_ERR_IN_USE. A clone is mounted by one running container at a time. The
/// handle has to be deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_clone(
    engine: *const coble_engine_t,
    source: *const c_char,
    name: *const c_char,
    cancel: *const coble_cancel_t,
    volume: *mut *mut coble_volume_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, source, name, cancel, out) = unsafe {
            let name = optional_text(name, "name")?;
            (borrow(engine)?, text(source, "source")?, name, token(cancel), Out::new(volume, "volume")?)
        };
        coble_volume_t::new(engine.0.volumes().clone_volume(source, name, &cancel)?).give(out);
    })
}

/// The volumes that meet conditions, by name, as a JSON array of objects with "name", "driver", "mountpoint", "created", "labels", "anonymous", "source" (the volume that it is a clone of) and "containers" (how many have
/// it). `filters` are `filter_count` texts "key=value": dangling, driver, label, label!, name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_list(
    engine: *const coble_engine_t,
    filters: *const *const c_char,
    filter_count: usize,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, filters, out) =
            unsafe { (borrow(engine)?, texts(filters, filter_count, "filters")?, Out::new(json, "json")?) };
        coble_string_t::json(&engine.0.volumes().list(&filters)?)?.give(out);
    })
}

/// Removes a volume. Fails with COBLE_ERR_IN_USE if a container has it, running or not, or a clone is made upon it, and with COBLE_ERR_VOLUME_NOT_FOUND if there is none, unless `force` (0 or 1) is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_remove(
    engine: *const coble_engine_t,
    name: *const c_char,
    force: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, name) = unsafe { (borrow(engine)?, text(name, "name")?) };
        engine.0.volumes().remove(name, flag(force, "force")?)?;
    })
}

/// Removes the anonymous volumes that no container has, or with `all` (0 or 1) every volume that none has. `filters` are `filter_count` texts "key=value": all, label, label!. `json`, which may be NULL, gets an object with
/// the array "deleted" of names and the number "reclaimed" of bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_prune(
    engine: *const coble_engine_t,
    all: i32,
    filters: *const *const c_char,
    filter_count: usize,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        let mut options = VolumePruneOptions::default();
        options.all = flag(all, "all")?;
        // SAFETY: the caller's, by the contract of the header.
        let (engine, cancel, out) = unsafe {
            options.filters = texts(filters, filter_count, "filters")?;
            (borrow(engine)?, token(cancel), Out::new(json, "json"))
        };
        let pruned = engine.0.volumes().prune(&options, &cancel)?;
        if let Ok(out) = out {
            coble_string_t::json(&pruned)?.give(out);
        }
    })
}

/// The name. NULL if the volume is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_name(volume: *const coble_volume_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(volume) }.map_or(std::ptr::null(), |volume| volume.name.as_ptr())
    })
}

/// Everything about the volume as a JSON object: as in coble_volume_list, and "used_by", the names of the containers that have it, and "clones".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_inspect(
    volume: *const coble_volume_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (volume, out) = unsafe { (borrow(volume)?, Out::new(json, "json")?) };
        coble_string_t::json(&volume.volume.inspect()?)?.give(out);
    })
}

/// Everything about the volume as a JSON object in docker's form: Name, Driver, Mountpoint, CreatedAt, Labels, Options and Scope; Coble has what coble_volume_inspect gives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_inspect_docker(
    volume: *const coble_volume_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (volume, out) = unsafe { (borrow(volume)?, Out::new(json, "json")?) };
        coble_string_t::json(&volume.volume.inspect_docker()?)?.give(out);
    })
}

fn give(exported: &Exported, out: Result<Out<*mut coble_string_t>>) -> Result<()> {
    if let Ok(out) = out {
        coble_string_t::json(exported)?.give(out);
    }
    Ok(())
}

/// Writes what is in the volume as a tar to a file, which appears when it is complete. The entry "./" has the attributes of the volume itself. `json`, which may be NULL, gets an object with "bytes", "entries" and "warnings".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_export(
    volume: *const coble_volume_t,
    file: *const c_char,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (volume, file, cancel, out) =
            unsafe { (borrow(volume)?, path(file, "file")?, token(cancel), Out::new(json, "json")) };
        give(&volume.volume.export(Sink::Path(file), &cancel)?, out)?;
    })
}

/// As coble_volume_export, to an open file or pipe, which stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_export_fd(
    volume: *const coble_volume_t,
    fd: i32,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (volume, fd, cancel, out) =
            unsafe { (borrow(volume)?, duplicate(fd, "fd")?, token(cancel), Out::new(json, "json")) };
        give(&volume.volume.export(Sink::Fd(fd), &cancel)?, out)?;
    })
}

/// Unpacks a tar (plain, or compressed with gzip, zstd, bzip2 or xz) in the volume. Directories that are there are merged, and get the attributes of the archive; files are replaced. Fails with COBLE_ERR_IN_USE if the volume has
/// clones, or is one that a running container has. `json` as of coble_volume_export.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_import(
    volume: *const coble_volume_t,
    archive: *const c_char,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (volume, archive, cancel, out) =
            unsafe { (borrow(volume)?, path(archive, "archive")?, token(cancel), Out::new(json, "json")) };
        give(&volume.volume.import(Source::Path(archive), &cancel)?, out)?;
    })
}

/// As coble_volume_import, from an open file or pipe, which stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_import_fd(
    volume: *const coble_volume_t,
    fd: i32,
    cancel: *const coble_cancel_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (volume, fd, cancel, out) =
            unsafe { (borrow(volume)?, duplicate(fd, "fd")?, token(cancel), Out::new(json, "json")) };
        give(&volume.volume.import(Source::Fd(fd), &cancel)?, out)?;
    })
}

/// Deletes the handle; the volume stays. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_volume_delete(volume: *mut coble_volume_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(volume) }
    })
}
