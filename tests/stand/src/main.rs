//! stand

fn main() {}
