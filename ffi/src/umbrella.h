/**
 * @file coble.h
 * coble: an embeddable container engine. The C interface.
 *
 * Errors. Every function that can fail returns a coble_status_t: COBLE_OK, which is 0, or one of the negative COBLE_ERR_ codes. Results
 * go through out parameters, which are not touched when the function fails. The last parameter is an optional place for a coble_error_t,
 * which says more; pass NULL if the code is enough. It is only written when the function fails, and what is written belongs to the
 * caller (coble_error_delete). Pass the address of a pointer that is NULL: an error that is already there is neither read nor deleted.
 *
 * Ownership. A non-const pointer that a function gives out is the caller's, and is deleted with the function of its type
 * that ends in _delete; deleting NULL does nothing. A const pointer that a function gives out is borrowed: it is valid as long as the object
 * that it came from, unless the function says otherwise, and is never deleted. What a function takes in it copies or duplicates; nothing
 * has to outlive the call, and file descriptors that are passed in stay the caller's.
 *
 * Strings. Strings are NUL-terminated UTF-8 in both directions. File names of the host are bytes. What could contain a NUL
 * (output of programs) comes with a length.
 *
 * Threads. Every object may be moved between threads. A function that takes a const pointer to an object may be called
 * on the same object from many threads at once; one that takes a non-const pointer may not. Functions that can block take a coble_cancel_t,
 * with which any thread can end them early; NULL means never.
 *
 * The host program. coble changes no signal handler, no working directory, no environment and no umask, starts no
 * child that the host's wait would meet, prints nothing and never exits. After a fork without exec the child must not use coble's objects.
 *
 * Option structures begin with their size: set it to sizeof, zero the rest, and set what is wanted. Zero always means the default. A
 * pointer to options may be NULL.
 *
 * JSON. What programs use every day has an accessor; the rest is JSON text with the field names of the Rust and Python interfaces.
 */
