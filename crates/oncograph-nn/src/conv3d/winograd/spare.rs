//! Memory of volumes that are no longer needed.

use super::volume::BlockedVolume;
use std::sync::Mutex;

/// Volumes whose memory the next results of the same shape take over.
///
/// Fresh memory comes from the operating system page by page, which costs a network's forward pass about a tenth of
/// its time. What is put here stays allocated until [`SpareVolumes::clear`] or the end of the value.
#[derive(Debug, Default)]
pub struct SpareVolumes(Mutex<Vec<BlockedVolume>>);

impl SpareVolumes {
    /// Keeps the memory of `volume`.
    pub fn put(&self, volume: BlockedVolume) {
        // A panic elsewhere leaves the list whole: a push or a removal is one step.
        self.0.lock().unwrap_or_else(|e| e.into_inner()).push(volume);
    }

    /// Frees all memory.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).clear();
    }

    /// A volume of this shape: its border is zeros, its values are anything.
    pub(super) fn take(&self, batch: usize, channels: usize, size: [usize; 3]) -> BlockedVolume {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let fits = |v: &BlockedVolume| v.batch == batch && v.channels == channels && v.size == size;
        match all.iter().position(fits) {
            Some(at) => all.swap_remove(at),
            None => {
                drop(all);
                BlockedVolume::zeros(batch, channels, size)
            }
        }
    }
}
