//! stub
use crate::{Arch, Driver, Version};
use std::fmt;
#[derive(Debug)]
pub struct Expected {
    pub driver: &'static Driver,
    pub arch: Arch,
    pub version: Version,
}
#[derive(Debug)]
pub struct Finding {
    pub is_error: bool,
}
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "")
    }
}
pub fn lint(_: &[u8], _: &Expected) -> Vec<Finding> {
    vec![]
}
