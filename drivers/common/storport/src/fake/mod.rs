//! A port driver in memory: it hands out SRBs, records how they came back, and holds a miniport to StorPort's rules.
//!
//! Stricter than StorPort: a request that is dropped without being completed panics, so a driver that loses one
//! fails its test at the place where it does.

mod port;
mod resources;
#[expect(unsafe_code, reason = "the port driver's side of a request")]
mod srb;

pub use port::{Channels, FakePort, NOW, run_on};
pub use resources::FakeResources;
pub use srb::{Completed, SrbBuilder, forget};
