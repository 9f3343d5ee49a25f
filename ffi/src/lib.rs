//! The C interface of coble: convert, call the engine, convert back. No logic, no defaults and no validation of its own.
//!
//! One file for each section of the header, which `make header` generates from them; the text for its readers as a whole is in
//! `umbrella.h`. Every export is one `boundary!` or `boundary_value!` around its body, takes raw pointers, and checks them.

#![allow(non_camel_case_types)]
// The contract of all pointers is said once, in `umbrella.h`: valid for the call or NULL, strings NUL-terminated, handles not deleted before.
#![allow(clippy::missing_safety_doc)]
// The items are public for C, by their symbols, and for no Rust code.
#![allow(unreachable_pub)]
#![deny(missing_docs)]

#[macro_use]
mod boundary;

mod attach;
mod cancel;
mod commit;
mod container;
mod credentials;
mod details;
mod engine;
mod error;
mod events;
mod exec;
mod files;
mod handle;
mod image;
mod image_store;
mod import;
mod isolation;
mod lifecycle;
mod lock;
mod log;
mod mounts;
mod options;
mod policy;
mod process;
mod progress;
mod pull;
mod push;
mod ready;
mod registry;
mod registry_options;
mod run;
mod search;
mod spec;
mod stats;
mod status;
mod stdio;
mod string;
mod strings;
mod version;
mod volume;
mod warning;
