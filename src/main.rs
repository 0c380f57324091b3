//! The program `strowger`: everything it does is in the rooms, `switch` assembles them.

use std::process::ExitCode;

fn main() -> ExitCode {
    switch::run()
}
