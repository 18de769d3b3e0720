//! stand
fn main() {}
