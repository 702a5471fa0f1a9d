//! One source of randomness for each table, column and foreign key, so that what is drawn for one
//! does not depend on any other: a migration that adds a column leaves the rest of the data as it was.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// A source named by the run's seed and the parts of a name, such as table and column.
pub(crate) fn runner(seed: u64, parts: &[impl AsRef<str>]) -> TestRunner {
    from_bytes(digest(seed, parts))
}

/// Sixteen bytes that stand for a seed and a name.
pub(crate) fn digest(seed: u64, parts: &[impl AsRef<str>]) -> [u8; 16] {
    let mut hash = blake3::Hasher::new();
    hash.update(&seed.to_le_bytes());
    for part in parts {
        let part = part.as_ref();
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut digest = [0; 16];
    hash.finalize_xof().fill(&mut digest);
    digest
}

/// A source from bytes that are not all zero.
pub(crate) fn from_bytes(seed: [u8; 16]) -> TestRunner {
    // Each choice between strategies makes its own source: in a debug build, ChaCha's set-up would
    // be most of the time spent. The hash keeps the sources apart.
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &seed);
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, rng)
}

/// The next value of a strategy, or why there is none.
pub(crate) fn draw<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> Result<S::Value, String> {
    match strategy.new_tree(runner) {
        Ok(tree) => Ok(tree.current()),
        Err(reason) => Err(reason.message().to_owned()),
    }
}
