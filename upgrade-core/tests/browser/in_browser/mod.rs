//! Tests that need a browser.

mod comparisons;
mod kills;
mod mishaps;
mod pages;
