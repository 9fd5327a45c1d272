//! Causes of errors, and formatting errors with all of them.

use std::error::Error as StdError;
use std::fmt;

/// The error below another one.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Displays an error with its causes: `what failed: cause: cause of the cause`.
pub struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
