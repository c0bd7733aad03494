//! Search (being built).
