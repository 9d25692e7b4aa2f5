//! Whole-system tests of shunt on real servers; see `main.rs` for the suites. This library is empty: the harness is part of
//! the test binary.
