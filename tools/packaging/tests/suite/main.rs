//! Packaging from outside: catalogue bytes, the whole chain on an image of the tests' own, and the image rules.

mod catalogue;
mod chain;
mod image;
mod support;
