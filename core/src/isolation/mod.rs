//! The isolation policy: what a container gets, as data for the shim. No system calls that change anything are made here.

pub(crate) mod capabilities;
pub(crate) mod defaults;
pub(crate) mod files;
pub(crate) mod seccomp;
pub(crate) mod userns;
