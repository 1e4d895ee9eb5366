//! Lines that tell people what is going on: one line per event, on standard error, named after the store.
//!
//! Standard output stays free for results (`status`, the addresses), so that they can be piped.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints one progress line. A reader that went away is no reason to stop starting a database.
pub(crate) fn say(store: &str, text: impl Display) {
    writeln!(io::stderr().lock(), "{store:<11} {text}").ok();
}

/// Prints one line of the result on standard output.
///
/// # Errors
/// When standard output is closed or full.
pub(crate) fn answer(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}
