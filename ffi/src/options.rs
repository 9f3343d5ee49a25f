//! Option structures that begin with their size, so that they can grow without a new function.

use core::Result;

use crate::boundary::invalid;

/// A structure of options.
///
/// # Safety
/// `repr(C)`, its first member is its size as a `usize`, all bit patterns are valid (integers and raw pointers only), and it has no padding.
pub(crate) unsafe trait Options: Copy {
    /// What it is called in messages.
    const NAME: &'static str;
}

/// Reads options: NULL is all defaults, what a shorter structure leaves out is zero, and what a longer one has beyond
/// the one that this library knows has to be zero.
///
/// # Safety
/// `pointer` is NULL, or points to a `usize` with the number of bytes that are readable there.
pub(crate) unsafe fn read<T: Options>(pointer: *const T) -> Result<T> {
    let mut options = std::mem::MaybeUninit::<T>::zeroed();
    if !pointer.is_null() {
        // SAFETY: the first member is the size, by the contract of the trait and of this function.
        let size = unsafe { pointer.cast::<usize>().read_unaligned() };
        if size < size_of::<usize>() {
            return Err(invalid(T::NAME, "has no size: set its first member to sizeof"));
        }
        let known = size.min(size_of::<T>());
        // SAFETY: `known` bytes are readable there and fit here.
        unsafe { pointer.cast::<u8>().copy_to_nonoverlapping(options.as_mut_ptr().cast(), known) };
        for offset in known..size {
            // SAFETY: below `size`, so readable.
            if unsafe { pointer.cast::<u8>().add(offset).read() } != 0 {
                return Err(invalid(
                    T::NAME,
                    "uses an option that this version of the library does not know",
                ));
            }
        }
    }
    // SAFETY: zero or the caller's bytes, and every bit pattern is valid by the contract of the trait.
    Ok(unsafe { options.assume_init() })
}

/// A flag of an option structure or a setter: 0 or 1.
pub(crate) fn flag(value: i32, argument: &str) -> Result<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(invalid(argument, format_args!("is {value}, which is neither 0 nor 1"))),
    }
}

/// A member that has no meaning yet.
pub(crate) fn reserved(value: i32, argument: &str) -> Result<()> {
    if value == 0 { Ok(()) } else { Err(invalid(argument, "is reserved and has to be 0")) }
}
