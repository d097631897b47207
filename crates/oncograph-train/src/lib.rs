//! Training loops on candle: epochs, early stop, checkpoints that resume bit for bit, cross-validation, run directories.
