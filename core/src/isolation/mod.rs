//! The isolation policy: what a container gets, as data for the shim. No system calls that change anything are made here.

pub(crate) mod accounts;
pub(crate) mod capabilities;
pub(crate) mod defaults;
pub(crate) mod devices;
pub(crate) mod files;
pub(crate) mod labels;
pub(crate) mod mounts;
pub(crate) mod paths;
pub(crate) mod seccomp;
pub(crate) mod userns;
