//! End-to-end tests, benchmarks and house rules.
