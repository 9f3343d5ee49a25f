//! Searching for images.

use std::ffi::{CString, c_char};

use core::{SearchOptions, SearchResult};

use crate::boundary::Out;
use crate::cancel::{coble_cancel_t, token};
use crate::engine::coble_engine_t;
use crate::error::coble_error_t;
use crate::handle::{self, Handle, borrow, borrow_mut};
use crate::progress::Listener;
use crate::registry_options::{coble_registry_options_t, listener, registry_options};
use crate::status::coble_status_t;
use crate::string::coble_string_t;
use crate::strings::{c_string, owned_text, text};

/// Where and how images are searched.
pub struct coble_search_options_t {
    options: SearchOptions,
    listener: Listener,
}

impl Handle for coble_search_options_t {
    const NAME: &'static str = "options";
}

/// Every default: 25 results of Docker Hub.
#[unsafe(no_mangle)]
pub extern "C" fn coble_search_options_new() -> *mut coble_search_options_t {
    boundary_value!(std::ptr::null_mut(), {
        let listener = Listener::nobody();
        coble_search_options_t { options: SearchOptions::default(), listener }.into_raw()
    })
}

/// Sets the registry that is asked. NULL: the one of the term, or Docker Hub.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_options_set_registry(
    options: *mut coble_search_options_t,
    registry: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.registry = owned_text(registry, "registry")? };
    })
}

/// Sets how many results there may be, 1 to 100. 0: 25.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_options_set_limit(
    options: *mut coble_search_options_t,
    limit: u32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow_mut(options)?.options.limit = (limit != 0).then_some(limit) };
    })
}

/// Adds a condition that results have to meet: "is-official=true" or "stars=3".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_options_add_filter(
    options: *mut coble_search_options_t,
    filter: *const c_char,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, filter) = unsafe { (borrow_mut(options)?, text(filter, "filter")?) };
        options.options.filters.push(filter.to_owned());
    })
}

/// Sets how the registry is reached; a copy is kept. NULL: the defaults.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_options_set_registry_options(
    options: *mut coble_search_options_t,
    registry: *const coble_registry_options_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (options, reach, listener) =
            unsafe { (borrow_mut(options)?, registry_options(registry), listener(registry)) };
        options.options.options = reach;
        options.listener = listener;
    })
}

/// Deletes options. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_options_delete(options: *mut coble_search_options_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(options) }
    })
}

/// What a search found.
pub struct coble_search_results_t {
    results: Vec<SearchResult>,
    items: Vec<(CString, CString)>,
}

impl Handle for coble_search_results_t {
    const NAME: &'static str = "results";
}

/// Searches a registry for repositories. Options may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_image_search(
    engine: *const coble_engine_t,
    term: *const c_char,
    options: *const coble_search_options_t,
    cancel: *const coble_cancel_t,
    results: *mut *mut coble_search_results_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, term, options, cancel, out) = unsafe {
            let options = borrow(options).ok();
            (borrow(engine)?, text(term, "term")?, options, token(cancel), Out::new(results, "results")?)
        };
        let listener = options.map_or_else(Listener::nobody, |options| options.listener);
        let options = options.map_or_else(SearchOptions::default, |options| options.options.clone());
        let callback = listener.callback(cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        let results = engine.0.images().search(term, &options, &told, callback.token())?;
        callback.end()?;
        let items = results.iter().map(|item| (c_string(&item.name), c_string(&item.description))).collect();
        coble_search_results_t { results, items }.give(out);
    })
}

/// How many results there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_results_count(results: *const coble_search_results_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(results) }.map_or(0, |results| results.items.len())
    })
}

/// The name of a repository. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_results_name(
    results: *const coble_search_results_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let item = unsafe { borrow(results) }.ok().and_then(|results| results.items.get(index));
        item.map_or(std::ptr::null(), |item| item.0.as_ptr())
    })
}

/// What a repository says about itself, which may be empty. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_results_description(
    results: *const coble_search_results_t,
    index: usize,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let item = unsafe { borrow(results) }.ok().and_then(|results| results.items.get(index));
        item.map_or(std::ptr::null(), |item| item.1.as_ptr())
    })
}

/// How many people liked a repository.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_results_stars(
    results: *const coble_search_results_t,
    index: usize,
) -> u64 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        let item = unsafe { borrow(results) }.ok().and_then(|results| results.results.get(index));
        item.map_or(0, |item| item.stars)
    })
}

/// 1 if Docker vouches for a repository, or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_results_official(
    results: *const coble_search_results_t,
    index: usize,
) -> i32 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        let item = unsafe { borrow(results) }.ok().and_then(|results| results.results.get(index));
        item.map_or(0, |item| item.official.into())
    })
}

/// 1 if the images of a repository are built automatically, or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_results_automated(
    results: *const coble_search_results_t,
    index: usize,
) -> i32 {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        let item = unsafe { borrow(results) }.ok().and_then(|results| results.results.get(index));
        item.map_or(0, |item| item.automated.into())
    })
}

/// The results as a JSON array of objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_results_json(
    results: *const coble_search_results_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (results, out) = unsafe { (borrow(results)?, Out::new(json, "json")?) };
        coble_string_t::json(&results.results)?.give(out);
    })
}

/// Deletes results. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_search_results_delete(results: *mut coble_search_results_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(results) }
    })
}
