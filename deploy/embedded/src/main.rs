//! Runs real stores on one machine without containers.
fn main() {}
