//! A global allocator that keeps big blocks of memory for the next tensor of about the same size.
//!
//! A training step allocates and frees the same big tensors again and again. The system's allocator gives such blocks
//! back to the kernel at once, which then clears every page anew at its first touch: a fault per 4 KiB, more time than
//! the arithmetic of a norm or an activation takes. [`Recycling`] keeps blocks of [`BIG`] bytes and more.
//!
//! # Memory
//! What the program uses and what is kept never exceed the most that the program has used at some time by more than a
//! quarter: before that would happen, the kept blocks of the sizes that were least recently requested go back
//! to the system. Sizes are rounded up by at most an eighth, and a kept block of up to a quarter more than that may be given
//! in place of a new one.
//!
//! # Example
//! ```
//! use oncograph_alloc::Recycling;
//!
//! #[global_allocator]
//! static ALLOCATOR: Recycling = Recycling::new();
//!
//! let first = vec![1u8; 4 << 20];
//! let place = first.as_ptr();
//! drop(first);
//! assert_eq!(vec![2u8; 4 << 20].as_ptr(), place);
//! ```
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The size in bytes from which blocks are kept: 256 KiB.
pub const BIG: usize = 1 << 18;

/// Blocks of two huge pages or more begin at one.
const HUGE: usize = 2 << 20;

/// The alignment of the others, and the largest that a big block may be requested with.
const PAGE: usize = 4096;

/// How many blocks may be larger than their layout at a time.
const LARGER: usize = 64;

/// Eight sizes between two powers of two, from 2^18 on.
const CLASSES: usize = 8 * 30;

/// The allocator; a program has it as a `static` with `#[global_allocator]`.
///
/// # Example
/// See the documentation of the crate.
#[derive(Debug)]
pub struct Recycling(Mutex<Kept>);

/// The blocks that nobody uses, a list per size whose links lie in the blocks, and the bytes of both kinds.
#[derive(Debug)]
struct Kept {
    first: [usize; CLASSES],
    /// When a block of each size was last taken or given.
    seen: [u64; CLASSES],
    clock: u64,
    /// Blocks in use that are larger than their layout: address and class.
    larger: [(usize, usize); LARGER],
    kept: usize,
    used: usize,
    most: usize,
}

impl Recycling {
    /// An allocator that keeps nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Recycling(Mutex::new(Kept {
            first: [0; CLASSES],
            seen: [0; CLASSES],
            clock: 0,
            larger: [(0, 0); LARGER],
            kept: 0,
            used: 0,
            most: 0,
        }))
    }

    /// A block of a class or a little more, with what its last user left in it.
    fn take(&self, class: usize) -> *mut u8 {
        let size = size_of_class(class);
        let mut kept = self.lock();
        kept.see(class);
        if let Some(block) = kept.pop(class) {
            kept.used += size;
            return block;
        }
        if let Some(block) = kept.pop_larger(class) {
            return block;
        }
        kept.used += size;
        kept.most = kept.most.max(kept.used);
        kept.shrink();
        drop(kept);
        let block = system(size);
        if block.is_null() {
            self.lock().used -= size;
        }
        block
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, block: *mut u8, class: usize) {
        let mut kept = self.lock();
        let class = kept.true_class(block, class);
        kept.used -= size_of_class(class);
        kept.see(class);
        kept.push(class, block);
    }
}

impl Default for Recycling {
    fn default() -> Self {
        Self::new()
    }
}

impl Kept {
    fn push(&mut self, class: usize, block: *mut u8) {
        // SAFETY: a block of this list is nobody's, aligned, and at least `BIG` bytes long.
        unsafe { block.cast::<usize>().write(self.first[class]) };
        self.first[class] = block.expose_provenance();
        self.kept += size_of_class(class);
    }

    fn pop(&mut self, class: usize) -> Option<*mut u8> {
        let block: *mut u8 = match self.first[class] {
            0 => return None,
            address => std::ptr::with_exposed_provenance_mut(address),
        };
        // SAFETY: `push` wrote the link there, and the block has been nobody's since.
        self.first[class] = unsafe { block.cast::<usize>().read() };
        self.kept -= size_of_class(class);
        Some(block)
    }

    /// A block of one of the next two classes, whose true class is noted while it is in use.
    fn pop_larger(&mut self, class: usize) -> Option<*mut u8> {
        let note = self.larger.iter().position(|(address, _)| *address == 0)?;
        let larger = (class + 1..CLASSES.min(class + 3)).find(|c| self.first[*c] != 0)?;
        let block = self.pop(larger)?;
        self.larger[note] = (block.addr(), larger);
        self.used += size_of_class(larger);
        Some(block)
    }

    /// The class that a block was made for; a note about it is taken away.
    fn true_class(&mut self, block: *mut u8, class: usize) -> usize {
        match self.larger.iter_mut().find(|(address, _)| *address == block.addr()) {
            Some(note) => std::mem::take(note).1,
            None => class,
        }
    }

    fn see(&mut self, class: usize) {
        self.clock += 1;
        self.seen[class] = self.clock;
    }

    /// Gives blocks back until all is within what was once used and a quarter.
    fn shrink(&mut self) {
        while self.used + self.kept > self.most + self.most / 4 {
            let there = (0..CLASSES).filter(|c| self.first[*c] != 0);
            let Some(class) = there.min_by_key(|c| self.seen[*c]) else { return };
            if let Some(block) = self.pop(class) {
                // SAFETY: the block came from `system` with this size.
                unsafe { System.dealloc(block, layout(size_of_class(class))) };
            }
        }
    }
}

/// The class of a layout that is big, or none.
fn class(layout: Layout) -> Option<usize> {
    let size = layout.size();
    if size < BIG || layout.align() > PAGE {
        return None;
    }
    // The eighths above the power of two below.
    let power = (size.ilog2() - BIG.ilog2()) as usize;
    let unit = (BIG << power) / 8;
    let eighths = (size - (BIG << power)).div_ceil(unit);
    Some(8 * power + eighths).filter(|c| *c < CLASSES)
}

/// The bytes of every block of a class.
fn size_of_class(class: usize) -> usize {
    let power = BIG << (class / 8);
    power + class % 8 * (power / 8)
}

fn layout(size: usize) -> Layout {
    let align = if size < 2 * HUGE { PAGE } else { HUGE };
    // SAFETY: the alignment is a power of two, and the sizes of all classes are far below the limit.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

/// A new block, on huge pages where the kernel has them: one fault instead of 512.
fn system(size: usize) -> *mut u8 {
    // SAFETY: the size is not 0.
    let block = unsafe { System.alloc(layout(size)) };
    #[cfg(all(target_os = "linux", not(miri)))]
    if !block.is_null() && size >= 2 * HUGE {
        use rustix::mm::{Advice, madvise};
        // An advice: where it is not taken, pages are small.
        // SAFETY: the range is the block, which is aligned to pages; what lies in it does not change.
        let _ = unsafe { madvise(block.cast(), size, Advice::LinuxHugepage) };
    }
    block
}

// SAFETY: every block is as large and as aligned as its layout requires, and nobody else's until it is given back:
// those that are not big are the system's, the others come from it and stand in one list at most.
unsafe impl GlobalAlloc for Recycling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class(layout) {
            Some(class) => self.take(class),
            // SAFETY: the caller's promise.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { System.alloc_zeroed(layout) };
        };
        let block = self.take(class);
        if !block.is_null() {
            // SAFETY: the block is at least this large.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class(layout) {
            Some(class) => self.give(block, class),
            // SAFETY: the caller's promise.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, old: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises a size that is not 0 and does not overflow when rounded up to the alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, old.align()) };
        match (class(old), class(new)) {
            (Some(a), Some(b)) if a == b => block,
            // SAFETY: the caller's promise.
            (None, None) => unsafe { System.realloc(block, old, size) },
            _ => {
                // SAFETY: the new block is another one, and both hold what is copied.
                unsafe {
                    let moved = self.alloc(new);
                    if !moved.is_null() {
                        block.copy_to_nonoverlapping(moved, old.size().min(size));
                        self.dealloc(block, old);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout_of(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// Bytes kept, in use, and the most that were in use.
    fn counts(all: &Recycling) -> [usize; 3] {
        let state = all.lock();
        [state.kept, state.used, state.most]
    }

    /// Gives all kept blocks back.
    fn empty(all: &Recycling) {
        let mut state = all.lock();
        state.most = 0;
        state.shrink();
        assert_eq!(state.kept, 0);
    }

    #[test]
    fn every_size_has_the_least_class_that_holds_it() {
        let mut last = 0;
        for class in 0..CLASSES - 1 {
            assert!(size_of_class(class) > last);
            last = size_of_class(class);
        }
        for size in
            [BIG, BIG + 1, 9 * BIG / 8, 9 * BIG / 8 + 1, 2 * BIG - 1, 2 * BIG, 84 << 20, (5 << 30) + 7]
        {
            let class = class(layout_of(size, 16)).unwrap();
            assert!(size_of_class(class) >= size, "{size}");
            assert!(class == 0 || size_of_class(class - 1) < size, "{size}");
            assert!((size_of_class(class) - size) * 8 <= size, "{size}");
        }
        assert_eq!(class(layout_of(BIG - 1, 1)), None);
        assert_eq!(class(layout_of(BIG, 2 * PAGE)), None);
    }

    #[test]
    fn a_block_is_used_again_and_zeroed_when_it_is_asked_to_be() {
        let all = Recycling::new();
        let size = layout_of(5 * HUGE + 3, 16);
        // SAFETY: every block is given back with the layout that it was allocated with, and used only in between.
        unsafe {
            let a = all.alloc(size);
            a.write_bytes(7, size.size());
            all.dealloc(a, size);
            let b = all.alloc_zeroed(layout_of(5 * HUGE, 16));
            assert_eq!(b, a);
            assert_eq!(b.cast_const().align_offset(HUGE), 0);
            assert!(std::slice::from_raw_parts(b, 5 * HUGE).iter().all(|v| *v == 0));
            all.dealloc(b, layout_of(5 * HUGE, 16));
        }
    }

    #[test]
    fn no_more_is_held_than_was_once_used() {
        let all = Recycling::new();
        let (small, large) = (layout_of(BIG, 16), layout_of(4 * BIG, 16));
        // SAFETY: every block is given back with the layout that it was allocated with, and used only in between.
        unsafe {
            let blocks: Vec<*mut u8> = (0..4).map(|_| all.alloc(small)).collect();
            blocks.iter().for_each(|b| all.dealloc(*b, small));
            assert_eq!(counts(&all)[..2], [4 * BIG, 0]);
            // One of the four may stay: all of them would be twice what was ever used.
            let b = all.alloc(large);
            assert_eq!(counts(&all), [BIG, 4 * BIG, 4 * BIG]);
            all.dealloc(b, large);
            // The small one was requested longest ago.
            let b = all.alloc(layout_of(4 * BIG + 1, 16));
            assert_eq!(counts(&all)[0], 0);
            all.dealloc(b, layout_of(4 * BIG + 1, 16));
            empty(&all);
        }
    }

    #[test]
    fn a_larger_block_serves_and_goes_back_to_its_own_kind() {
        let all = Recycling::new();
        let (wide, narrow) = (layout_of(10 * BIG, 16), layout_of(9 * BIG, 16));
        // SAFETY: every block is given back with the layout that it was allocated with, and used only in between.
        unsafe {
            let a = all.alloc(wide);
            all.dealloc(a, wide);
            let b = all.alloc(narrow);
            assert_eq!((a, counts(&all)[1]), (b, 10 * BIG));
            all.dealloc(b, narrow);
            assert_eq!(counts(&all)[..2], [10 * BIG, 0]);
            let c = all.alloc(wide);
            assert_eq!(a, c);
            all.dealloc(c, wide);
            // A third less is too much of a waste.
            let d = all.alloc(layout_of(7 * BIG, 16));
            assert_ne!(a, d);
            all.dealloc(d, layout_of(7 * BIG, 16));
        }
    }

    #[test]
    fn growing_and_shrinking_across_the_border_keeps_the_values() {
        let all = Recycling::new();
        // SAFETY: every block is given back with the layout that it was allocated with, and used only in between.
        unsafe {
            let mut size = 1000;
            let mut block = all.alloc(layout_of(size, 8));
            (0..size).for_each(|i| block.add(i).write(i as u8));
            for new in [BIG - 1, BIG, BIG + 5, 3 * BIG, 3 * BIG + 1, 2000] {
                block = all.realloc(block, layout_of(size, 8), new);
                size = new;
                assert!((0..1000).all(|i| *block.add(i) == i as u8), "{new}");
            }
            all.dealloc(block, layout_of(size, 8));
            empty(&all);
        }
    }

    #[test]
    fn threads_never_share_a_block() {
        let all = Recycling::new();
        std::thread::scope(|scope| {
            for t in 0..4u8 {
                let all = &all;
                scope.spawn(move || {
                    for round in 0..50 {
                        let size = layout_of(BIG + usize::from(t % 2) * BIG, 16);
                        // SAFETY: as above.
                        unsafe {
                            let block = all.alloc(size);
                            block.write(t);
                            block.add(size.size() - 1).write(round);
                            std::thread::yield_now();
                            assert_eq!((block.read(), block.add(size.size() - 1).read()), (t, round));
                            all.dealloc(block, size);
                        }
                    }
                });
            }
        });
        assert_eq!(counts(&all)[1], 0);
    }
}
