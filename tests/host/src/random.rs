//! Reproducible choices for long runs.

use std::env;

/// A generator (splitmix64): the same seed makes the same choices everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that starts with `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator for a long run: starts with the number in the environment variable `SEED`, or with `seed`, and
    /// prints which, so that a failure can be repeated.
    pub fn for_run(name: &str, seed: u64) -> Self {
        let seed = env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(seed);
        println!("{name}: SEED={seed}");
        Self::new(seed)
    }

    /// The next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "an endless sequence, not an iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
