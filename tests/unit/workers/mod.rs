//! What each function does with its messages.

mod taste;
