use serde::{Deserialize, Serialize};

/// A weight that moves from `start` to `end` in a straight line over training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LinearSchedule {
    /// The weight in the first epoch.
    pub start: f64,
    /// The weight in the last epoch.
    pub end: f64,
}

impl LinearSchedule {
    /// A weight that moves from `start` to `end`.
    pub const fn new(start: f64, end: f64) -> Self {
        LinearSchedule { start, end }
    }

    /// A weight that stays.
    pub const fn constant(value: f64) -> Self {
        LinearSchedule { start: value, end: value }
    }

    /// The weight in `epoch` (from 0) of `epochs`.
    pub fn at(&self, epoch: usize, epochs: usize) -> f64 {
        let progress = epoch as f64 / epochs.saturating_sub(1).max(1) as f64;
        self.start + (self.end - self.start) * progress.clamp(0.0, 1.0)
    }
}

/// The weights of STG's four losses: `L = alpha recurrence + beta survival + gamma contrastive + delta temporal`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TaskWeights {
    /// Of the recurrence loss.
    pub alpha: LinearSchedule,
    /// Of the survival loss.
    pub beta: LinearSchedule,
    /// Of the contrastive loss.
    pub gamma: LinearSchedule,
    /// Of the temporal loss.
    pub delta: LinearSchedule,
}

impl Default for TaskWeights {
    /// From recurrence towards survival, 0.7/0.3 to 0.3/0.7; contrastive 0.1, temporal 0.01.
    fn default() -> Self {
        TaskWeights {
            alpha: LinearSchedule::new(0.7, 0.3),
            beta: LinearSchedule::new(0.3, 0.7),
            gamma: LinearSchedule::constant(0.1),
            delta: LinearSchedule::constant(0.01),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_starts_and_ends_where_it_says() {
        let s = LinearSchedule::new(0.7, 0.3);
        assert_eq!((s.at(0, 11), s.at(10, 11)), (0.7, 0.3));
        assert!((s.at(5, 11) - 0.5).abs() < 1e-12);
        assert_eq!(s.at(0, 1), 0.7);
        assert!((s.at(99, 11) - 0.3).abs() < 1e-12);
    }
}
