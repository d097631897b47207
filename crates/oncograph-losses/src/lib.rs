//! Survival, contrastive, temporal and multi-task losses on candle.
