//! The program `strowger`: everything it does is in the rooms, `switch` assembles them.

use std::process::ExitCode;

/// A call makes hundreds of small allocations, and its end frees them on other threads: this one does both for less.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    switch::run()
}
