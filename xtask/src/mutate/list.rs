//! The mutations: each a mistake that a careful person could make.

/// One mistake.
pub struct Mutation {
    /// What is wrong.
    pub what: &'static str,
    /// The file, from the root of the workspace.
    pub file: &'static str,
    /// The text that is there once.
    pub find: &'static str,
    /// What stands there instead.
    pub replace: &'static str,
    /// The cases that are run: those whose names contain this.
    pub cases: &'static str,
}

/// All of them.
pub const MUTATIONS: &[Mutation] = &[];
