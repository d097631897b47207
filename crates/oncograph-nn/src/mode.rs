use crate::Seed;

/// Whether a forward pass trains (and then where its random draws come from) or evaluates.
///
/// # Example
///
/// ```
/// use oncograph_nn::{Mode, Seed};
///
/// let seed = Seed::new(1).stream("dropout");
/// let mode = Mode::Train(seed.at(17)); // one stream per step
/// assert!(mode.is_train());
/// assert_eq!(mode.stream("head"), Mode::Train(seed.at(17).stream("head")));
/// assert_eq!(Mode::Eval.stream("head"), Mode::Eval);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Dropout is the identity and batch norm uses its running statistics.
    Eval,
    /// Dropout draws its masks from this seed; pass another one at each step.
    Train(Seed),
}

impl Mode {
    /// Whether this is a training pass.
    pub fn is_train(self) -> bool {
        matches!(self, Mode::Train(_))
    }

    /// The mode of the sub-module called `name`: two modules must not share their draws.
    pub fn stream(self, name: &str) -> Self {
        match self {
            Mode::Eval => Mode::Eval,
            Mode::Train(seed) => Mode::Train(seed.stream(name)),
        }
    }

    /// The mode of the `index`-th of several like sub-modules.
    pub fn at(self, index: u64) -> Self {
        match self {
            Mode::Eval => Mode::Eval,
            Mode::Train(seed) => Mode::Train(seed.at(index)),
        }
    }
}
