//! Reads that go on and on while something else happens.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use stand::scsi;

use crate::memory::arena;
use crate::scan::class::{Outcome, TIMEOUT};
use crate::storport::request::{Data, Request};
use crate::storport::{Address, port, queue};

/// Reads under way at once.
const AT_ONCE: usize = 16;
/// Longest wait for the last ones, in milliseconds: their own time, and that of a bus reset.
const LAST: u64 = TIMEOUT as u64 * 1000 + 10_000;
/// Marks the requests of all loads; the rest of the cookie is the load's address and slot.
const COOKIE: u64 = 0x4C4F_4144 << 32;

/// Reads of one block each, from all over a disk.
pub struct Load {
    address: Address,
    block: u32,
    blocks: u64,
    buffers: Vec<arena::Range>,
    running: bool,
    under_way: usize,
    next: u64,
    finished: u64,
    /// Codes of unit attentions that came.
    news: Vec<(u8, u8)>,
    failed: u64,
    /// The first failure.
    why: String,
}

impl Load {
    /// No reads at all.
    pub fn none() -> Self {
        Load {
            address: (0, 0, 0),
            block: 0,
            blocks: 0,
            buffers: Vec::new(),
            running: false,
            under_way: 0,
            next: 0,
            finished: 0,
            news: Vec::new(),
            failed: 0,
            why: String::new(),
        }
    }

    /// Begins to read; it goes on for as long as [`Load::step`] is called.
    pub fn start(address: Address, block: u32, blocks: u64) -> Self {
        let mut load = Load { address, block, blocks, running: true, ..Load::none() };
        for slot in 0..AT_ONCE {
            let Some(range) = arena::scattered(u64::from(block)) else {
                crate::stop!("no memory for a buffer")
            };
            load.buffers.push(range);
            load.read(slot);
        }
        load
    }

    /// Waits until it is really under way: every slot has been used a few times.
    pub fn warm_up(&mut self) {
        queue::wait(LAST, || {
            self.step();
            self.finished >= 4 * self.buffers.len() as u64
        });
    }

    fn cookie(&self) -> u64 {
        let (path, target, lun) = self.address;
        COOKIE | u64::from(path) << 24 | u64::from(target) << 16 | u64::from(lun) << 8
    }

    fn read(&mut self, slot: usize) {
        // A stride without a pattern that the disk could know.
        self.next = (self.next + 7919) % self.blocks.max(1);
        let data = Data { address: self.buffers[slot].address, length: self.block };
        let mut request =
            Request::new(self.address, scsi::transfer(false, self.next, 1, false), data, TIMEOUT);
        request.cookie = self.cookie() | slot as u64;
        self.under_way += 1;
        queue::submit(request);
    }

    /// Takes what has ended and reads on.
    pub fn step(&mut self) {
        if self.buffers.is_empty() {
            // No load: the requests of its address are another's.
            return;
        }
        for request in self.ended() {
            self.under_way -= 1;
            self.finished += 1;
            match Outcome::of(&request.answer) {
                Outcome::Good if request.answer.transferred == self.block => {}
                // News, not failure: a class driver sends the command again.
                Outcome::Sense(sense) if sense.key == scsi::UNIT_ATTENTION => {
                    self.news.push((sense.asc, sense.ascq));
                }
                outcome => {
                    self.failed += 1;
                    if self.why.is_empty() {
                        self.why = alloc::format!(
                            ", the first: {}: {outcome}, {}",
                            request.text(),
                            request.answer.text()
                        );
                    }
                }
            }
            if self.running {
                self.read((request.cookie & 0xFF) as usize);
            }
        }
    }

    fn ended(&self) -> VecDeque<Box<Request>> {
        let mut port = port();
        let all = core::mem::take(&mut port.done);
        let (mine, others) = all.into_iter().partition(|request| request.cookie & !0xFF == self.cookie());
        port.done = others;
        mine
    }

    /// Whether a command has brought this unit attention.
    pub fn heard(&self, news: (u8, u8)) -> bool {
        self.news.contains(&news)
    }

    /// Waits for the last reads. They must all have ended, and well, unless the unit may have gone meanwhile.
    pub fn finish(mut self, check: &str, may_fail: bool) {
        if self.buffers.is_empty() {
            return;
        }
        self.running = false;
        queue::wait(LAST, || {
            self.step();
            self.under_way == 0
        });
        if self.under_way > 0 {
            // Their buffers are still the device's.
            crate::stop!("{} reads neither ended nor timed out", self.under_way);
        }
        for range in core::mem::take(&mut self.buffers) {
            arena::release(range);
        }
        let (path, target, lun) = self.address;
        crate::console::check(
            self.failed == 0 || may_fail,
            check,
            format_args!(
                "{} reads of {path}:{target}:{lun} meanwhile, {} unit attention(s), {} failed{}",
                self.finished,
                self.news.len(),
                self.failed,
                self.why
            ),
        );
    }
}
