//! Status codes: the negated numbers of the engine's error kinds. The table at the end makes it impossible to build the library when one is
//! missing, superfluous or has another number than in the engine.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use core::ErrorKind;

/// The result of a function that can fail: COBLE_OK or a negative COBLE_ERR_ code. The codes are never changed and never reused.
pub type coble_status_t = i32;

/// Success.
pub const COBLE_OK: coble_status_t = 0;

/// A defect of coble itself: a state that should not be possible.
pub const COBLE_ERR_INTERNAL: coble_status_t = -1;
/// An argument that no operation could accept, whatever the state of the store.
pub const COBLE_ERR_INVALID_ARGUMENT: coble_status_t = -2;
/// A system call failed for a reason that has no kind of its own; coble_error_errno tells which.
pub const COBLE_ERR_IO: coble_status_t = -3;
/// The caller may not do this on this host.
pub const COBLE_ERR_PERMISSION_DENIED: coble_status_t = -4;
/// The host lacks something that the operation needs.
pub const COBLE_ERR_UNSUPPORTED: coble_status_t = -5;
/// A file or directory of the host that the caller named is not there.
pub const COBLE_ERR_PATH_NOT_FOUND: coble_status_t = -6;
/// No image has this reference or id.
pub const COBLE_ERR_IMAGE_NOT_FOUND: coble_status_t = -7;
/// No container has this name or id.
pub const COBLE_ERR_CONTAINER_NOT_FOUND: coble_status_t = -8;
/// The name is taken.
pub const COBLE_ERR_NAME_IN_USE: coble_status_t = -9;
/// The object is in use by another one.
pub const COBLE_ERR_IN_USE: coble_status_t = -10;
/// The object is not in a state that allows the operation.
pub const COBLE_ERR_INVALID_STATE: coble_status_t = -11;
/// Not an image reference of the distribution grammar.
pub const COBLE_ERR_INVALID_REFERENCE: coble_status_t = -12;
/// Not a digest of the image specification.
pub const COBLE_ERR_INVALID_DIGEST: coble_status_t = -13;
/// Content does not have the digest or size that it was announced with.
pub const COBLE_ERR_DIGEST_MISMATCH: coble_status_t = -14;
/// An archive is truncated, malformed, or does what no archive may do.
pub const COBLE_ERR_INVALID_ARCHIVE: coble_status_t = -15;
/// An image's manifest, index or configuration is malformed.
pub const COBLE_ERR_INVALID_IMAGE: coble_status_t = -16;
/// Input is larger, deeper or longer than coble accepts.
pub const COBLE_ERR_LIMIT_EXCEEDED: coble_status_t = -17;
/// No space, quota or inode is left.
pub const COBLE_ERR_STORAGE_FULL: coble_status_t = -18;
/// The store's database failed or is damaged.
pub const COBLE_ERR_DATABASE: coble_status_t = -19;
/// The store was written by a version of coble that this one cannot work with.
pub const COBLE_ERR_STORE_VERSION: coble_status_t = -20;
/// The time the caller gave is over.
pub const COBLE_ERR_TIMEOUT: coble_status_t = -21;
/// The caller cancelled the operation.
pub const COBLE_ERR_CANCELLED: coble_status_t = -22;
/// The handle is closed, or belongs to another process (after a fork).
pub const COBLE_ERR_CLOSED: coble_status_t = -23;
/// The user or group is not known to the image, or its number is out of range.
pub const COBLE_ERR_USER_NOT_FOUND: coble_status_t = -24;
/// The program is not in the image.
pub const COBLE_ERR_COMMAND_NOT_FOUND: coble_status_t = -25;
/// The program is in the image and cannot be executed.
pub const COBLE_ERR_COMMAND_NOT_EXECUTABLE: coble_status_t = -26;
/// The container's monitor ended without saying how.
pub const COBLE_ERR_MONITOR_LOST: coble_status_t = -27;
/// A program ended with a status that is not zero, and the caller asked for an error in that case.
pub const COBLE_ERR_CONTAINER_EXIT: coble_status_t = -28;
/// A panic reached the edge of the library and was stopped there.
pub const COBLE_ERR_PANIC: coble_status_t = -29;
/// A registry answered with an error that has no kind of its own, or with what the distribution specification does not allow.
pub const COBLE_ERR_REGISTRY: coble_status_t = -30;
/// A registry wants credentials, or those that were given are not enough.
pub const COBLE_ERR_UNAUTHORIZED: coble_status_t = -31;
/// A registry cannot be reached: no address, no route, no connection, no trust in its certificate, or the connection was cut.
pub const COBLE_ERR_NETWORK: coble_status_t = -32;
/// A registry refuses more requests for a while.
pub const COBLE_ERR_RATE_LIMITED: coble_status_t = -33;
/// A name stands for another digest than the lock file says.
pub const COBLE_ERR_DIGEST_DRIFT: coble_status_t = -34;
/// The engine is offline, and the operation would have to ask a registry or another server.
pub const COBLE_ERR_OFFLINE: coble_status_t = -35;
/// No volume has this name.
pub const COBLE_ERR_VOLUME_NOT_FOUND: coble_status_t = -36;
/// Events were dropped before a stream has read them. It goes on with those that are kept.
pub const COBLE_ERR_EVENTS_LOST: coble_status_t = -37;

const TABLE: &[(coble_status_t, ErrorKind)] = &[
    (COBLE_ERR_INTERNAL, ErrorKind::Internal),
    (COBLE_ERR_INVALID_ARGUMENT, ErrorKind::InvalidArgument),
    (COBLE_ERR_IO, ErrorKind::Io),
    (COBLE_ERR_PERMISSION_DENIED, ErrorKind::PermissionDenied),
    (COBLE_ERR_UNSUPPORTED, ErrorKind::Unsupported),
    (COBLE_ERR_PATH_NOT_FOUND, ErrorKind::PathNotFound),
    (COBLE_ERR_IMAGE_NOT_FOUND, ErrorKind::ImageNotFound),
    (COBLE_ERR_CONTAINER_NOT_FOUND, ErrorKind::ContainerNotFound),
    (COBLE_ERR_NAME_IN_USE, ErrorKind::NameInUse),
    (COBLE_ERR_IN_USE, ErrorKind::InUse),
    (COBLE_ERR_INVALID_STATE, ErrorKind::InvalidState),
    (COBLE_ERR_INVALID_REFERENCE, ErrorKind::InvalidReference),
    (COBLE_ERR_INVALID_DIGEST, ErrorKind::InvalidDigest),
    (COBLE_ERR_DIGEST_MISMATCH, ErrorKind::DigestMismatch),
    (COBLE_ERR_INVALID_ARCHIVE, ErrorKind::InvalidArchive),
    (COBLE_ERR_INVALID_IMAGE, ErrorKind::InvalidImage),
    (COBLE_ERR_LIMIT_EXCEEDED, ErrorKind::LimitExceeded),
    (COBLE_ERR_STORAGE_FULL, ErrorKind::StorageFull),
    (COBLE_ERR_DATABASE, ErrorKind::Database),
    (COBLE_ERR_STORE_VERSION, ErrorKind::StoreVersion),
    (COBLE_ERR_TIMEOUT, ErrorKind::Timeout),
    (COBLE_ERR_CANCELLED, ErrorKind::Cancelled),
    (COBLE_ERR_CLOSED, ErrorKind::Closed),
    (COBLE_ERR_USER_NOT_FOUND, ErrorKind::UserNotFound),
    (COBLE_ERR_COMMAND_NOT_FOUND, ErrorKind::CommandNotFound),
    (COBLE_ERR_COMMAND_NOT_EXECUTABLE, ErrorKind::CommandNotExecutable),
    (COBLE_ERR_MONITOR_LOST, ErrorKind::MonitorLost),
    (COBLE_ERR_CONTAINER_EXIT, ErrorKind::ContainerExit),
    (COBLE_ERR_PANIC, ErrorKind::Panic),
    (COBLE_ERR_REGISTRY, ErrorKind::Registry),
    (COBLE_ERR_UNAUTHORIZED, ErrorKind::Unauthorized),
    (COBLE_ERR_NETWORK, ErrorKind::Network),
    (COBLE_ERR_RATE_LIMITED, ErrorKind::RateLimited),
    (COBLE_ERR_DIGEST_DRIFT, ErrorKind::DigestDrift),
    (COBLE_ERR_OFFLINE, ErrorKind::Offline),
    (COBLE_ERR_VOLUME_NOT_FOUND, ErrorKind::VolumeNotFound),
    (COBLE_ERR_EVENTS_LOST, ErrorKind::EventsLost),
];

const _: () = {
    assert!(TABLE.len() == ErrorKind::ALL.len(), "a kind of the engine has no status code");
    let mut index = 0;
    while index < TABLE.len() {
        assert!(TABLE[index].0 == ErrorKind::ALL[index].code(), "a status code differs from its kind");
        assert!(
            TABLE[index].1.code() == ErrorKind::ALL[index].code(),
            "the order of the status codes differs from the kinds'"
        );
        index += 1;
    }
};

fn names() -> &'static [CString] {
    static NAMES: OnceLock<Vec<CString>> = OnceLock::new();
    NAMES.get_or_init(|| ErrorKind::ALL.iter().map(|kind| crate::strings::c_string(kind.name())).collect())
}

/// The name of a kind, as a string that is valid for ever.
pub(crate) fn kind_name(kind: ErrorKind) -> *const c_char {
    let index = ErrorKind::ALL.iter().position(|other| *other == kind);
    index.and_then(|index| names().get(index)).map_or(c"".as_ptr(), |name| name.as_ptr())
}

/// The name of a status code, such as "ImageNotFound"; "Ok" for COBLE_OK, and NULL for a number that is no status code. Valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn coble_status_name(status: coble_status_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        if status == COBLE_OK {
            return c"Ok".as_ptr();
        }
        let kind = ErrorKind::ALL.iter().find(|kind| kind.code() == status);
        kind.map_or(std::ptr::null(), |kind| kind_name(*kind))
    })
}
