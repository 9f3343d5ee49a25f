//! What happens to containers and images.

use std::ffi::{CString, c_char};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use core::{Event, EventOptions, EventStream, Result};

use crate::boundary::{Out, invalid};
use crate::cancel::{coble_cancel_t, token};
use crate::engine::coble_engine_t;
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow, borrow_mut};
use crate::options::{self, Options, flag};
use crate::status::coble_status_t;
use crate::string::coble_string_t;
use crate::strings::{c_string, text, texts};

/// Which events are wanted. Zero everything but the size for all that are kept.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct coble_event_options_t {
    /// sizeof(coble_event_options_t).
    pub size: usize,
    /// Conditions of the form key=value, or NULL: container, event, image, label, type. All keys are to be met; of several values for one key one is enough,
    /// except for labels.
    pub filters: *const *const c_char,
    /// How many conditions there are.
    pub filter_count: usize,
    /// Those from this time on, in nanoseconds since the epoch. 0: no such bound.
    pub since_ns: i64,
    /// Those before this time, in nanoseconds since the epoch: a stream ends then. 0: no such bound.
    pub until_ns: i64,
    /// Those with greater ids than this one: to go on where another stream has ended. 0: no such bound.
    pub after: u64,
    /// 1: wait for more; with neither since_ns nor after, only what is still to come.
    pub follow: i32,
    /// 0.
    pub reserved: i32,
}

const _: () = assert!(size_of::<coble_event_options_t>() == 3 * size_of::<usize>() + 32, "padding");

// SAFETY: repr(C), size first, raw pointers and integers only, and no padding as asserted above.
unsafe impl Options for coble_event_options_t {
    const NAME: &'static str = "options";
}

/// # Safety
/// As [`options::read`], and the filters as [`texts`].
unsafe fn event_options(options: *const coble_event_options_t) -> Result<EventOptions> {
    // SAFETY: passed on.
    let given = unsafe { options::read(options) }?;
    options::reserved(given.reserved, "options.reserved")?;
    let mut options = EventOptions::default();
    // SAFETY: passed on.
    options.filters = unsafe { texts(given.filters, given.filter_count, "options.filters") }?;
    options.since = time(given.since_ns, "options.since_ns")?;
    options.until = time(given.until_ns, "options.until_ns")?;
    options.after = (given.after != 0).then_some(given.after);
    options.follow = flag(given.follow, "options.follow")?;
    Ok(options)
}

fn time(nanoseconds: i64, argument: &str) -> Result<Option<SystemTime>> {
    let nanoseconds = u64::try_from(nanoseconds).map_err(|_| invalid(argument, "is negative"))?;
    Ok((nanoseconds != 0).then(|| UNIX_EPOCH + Duration::from_nanos(nanoseconds)))
}

/// Events, one after the other.
pub struct coble_event_stream_t {
    stream: EventStream,
    event: Option<coble_event_t>,
}

impl Handle for coble_event_stream_t {
    const NAME: &'static str = "stream";
}

/// Something that happened. Borrowed from its stream until the next call on that.
pub struct coble_event_t {
    event: Event,
    kind: CString,
    action: CString,
    actor: CString,
    attributes: Vec<(CString, CString)>,
}

impl Handle for coble_event_t {
    const NAME: &'static str = "event";
}

impl coble_event_t {
    fn new(event: Event) -> coble_event_t {
        coble_event_t {
            kind: c_string(&event.kind),
            action: c_string(&event.action),
            actor: c_string(&event.actor),
            attributes: event
                .attributes
                .iter()
                .map(|(name, value)| (c_string(name), c_string(value)))
                .collect(),
            event,
        }
    }
}

/// What happens to containers and images, whichever process does it. Options may be NULL. Events are kept for a week, and at most 20000 of them; a stream that is further behind tells so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_engine_events(
    engine: *const coble_engine_t,
    options: *const coble_event_options_t,
    stream: *mut *mut coble_event_stream_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, options, out) =
            unsafe { (borrow(engine)?, event_options(options)?, Out::new(stream, "stream")?) };
        coble_event_stream_t { stream: engine.0.events(&options)?, event: None }.give(out);
    })
}

/// Gives the next event, or NULL at the end: of what there is, or with follow when the time is over. The event is valid until the next call on the stream.
/// COBLE_ERR_EVENTS_LOST, once, if events were dropped that were still to be read, since more than are kept came after them; the next call goes on with the oldest one that is kept.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_event_stream_next(
    stream: *mut coble_event_stream_t,
    cancel: *const coble_cancel_t,
    event: *mut *const coble_event_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (stream, cancel, out) =
            unsafe { (borrow_mut(stream)?, token(cancel), Out::new(event, "event")?) };
        stream.event = None;
        stream.event = stream.stream.next(&cancel)?.map(coble_event_t::new);
        out.set(stream.event.as_ref().map_or(std::ptr::null(), |event| event as *const _));
    })
}

/// Gives the next event that is on record already, or NULL; it never waits, and NULL says nothing about the end. The event is valid until the next call on the
/// stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_event_stream_try_next(
    stream: *mut coble_event_stream_t,
    event: *mut *const coble_event_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (stream, out) = unsafe { (borrow_mut(stream)?, Out::new(event, "event")?) };
        stream.event = None;
        stream.event = stream.stream.try_next()?.map(coble_event_t::new);
        out.set(stream.event.as_ref().map_or(std::ptr::null(), |event| event as *const _));
    })
}

/// The number of an event, which grows from event to event and is never used again. 0 if the event is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_event_id(event: *const coble_event_t) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(event) }.map_or(0, |event| event.event.id)
    })
}

/// When it happened, in nanoseconds since the epoch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_event_time_ns(event: *const coble_event_t) -> i64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        let time =
            unsafe { borrow(event) }.ok().and_then(|event| event.event.time.duration_since(UNIX_EPOCH).ok());
        time.map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    })
}

/// What it happened to: "container" or "image". NULL if the event is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_event_type(event: *const coble_event_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(event) }.map_or(std::ptr::null(), |event| event.kind.as_ptr())
    })
}

/// What happened, in docker's words, such as "start", "die" or "health_status: healthy". NULL if the event is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_event_action(event: *const coble_event_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(event) }.map_or(std::ptr::null(), |event| event.action.as_ptr())
    })
}

/// The id of the container or image, or for "pull" and "push" the image's name. NULL if the event is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_event_actor(event: *const coble_event_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(event) }.map_or(std::ptr::null(), |event| event.actor.as_ptr())
    })
}

/// An attribute of an event, such as "name", "image", "exitCode" or a label; NULL if it has none of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_event_attribute(
    event: *const coble_event_t,
    name: *const c_char,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        match unsafe { (borrow(event), text(name, "name")) } {
            (Ok(event), Ok(name)) => {
                let found = event.attributes.iter().find(|(known, _)| known.as_bytes() == name.as_bytes());
                found.map_or(std::ptr::null(), |(_, value)| value.as_ptr())
            }
            _ => std::ptr::null(),
        }
    })
}

/// An event as a JSON object, in the form of docker's API.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_event_json(
    event: *const coble_event_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (event, out) = unsafe { (borrow(event)?, Out::new(json, "json")?) };
        coble_string_t::json(&event.event.to_docker())?.give(out);
    })
}

/// Deletes a stream. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_event_stream_delete(stream: *mut coble_event_stream_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(stream) }
    })
}
