//! Starting the shim and talking to it.
