//! What crosses the border between Storport and a miniport: structures, numbers and their names.
//!
//! Declared by hand from Microsoft's public documentation (windows-driver-docs-ddi, storport and srb); every size and
//! offset is asserted at compile time against the numbers measured from the genuine headers.

pub mod calls;
pub mod codes;
pub mod config;
pub mod hba_api;
pub mod names;
pub mod srb;
pub mod wmi;

/// Asserts size and field offsets of a structure at compile time.
#[macro_export]
macro_rules! layout {
    ($type:ty, $size:literal, { $($field:ident: $offset:literal),* $(,)? }) => {
        const _: () = {
            assert!(core::mem::size_of::<$type>() == $size);
            $(assert!(core::mem::offset_of!($type, $field) == $offset);)*
        };
    };
}
