//! The tests of the service, in one binary.

mod store;
