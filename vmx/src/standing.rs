//! How far a row of a table rests on the manual.

use serde::{Deserialize, Serialize};

/// What a number in a table (an encoding, a bit position, an exit reason) rests on.
///
/// The manual names some features before its appendices list their numbers, and drops others that processors still
/// have. Code that wants only what the manual defines asks for [`Standing::Manual`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The manual lists the number.
    Manual,
    /// The manual does not list the number (any more, or yet), and independent implementations agree on it.
    Agreed,
    /// The manual does not list the number, and a single implementation is known to use it.
    Single,
}
