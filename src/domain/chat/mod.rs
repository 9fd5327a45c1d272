//! The stylist: a conversation with a language model that can look into the user's wardrobe.

pub mod tools;
