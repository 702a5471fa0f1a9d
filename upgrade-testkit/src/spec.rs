//! What a test says about itself: the options of `#[upgrade_test]`, as data that is known when
//! the test is compiled.

use std::time::Duration;

use futures_util::future::BoxFuture;
use upgrade_core::{Result, Scenario, Upgrade, UpgradeContext};

/// The function that the option `upgrade` names.
pub type UpgradeFn = fn(UpgradeContext) -> BoxFuture<'static, Result<Upgrade>>;

/// Where a test stands.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// The path of the module with the cases, crate first.
    pub module: &'static str,
    /// The source file, as the compiler was told.
    pub file: &'static str,
    /// The line of the attribute.
    pub line: u32,
    /// The folder of the package's `Cargo.toml`.
    pub manifest_dir: &'static str,
    /// The package.
    pub package: &'static str,
    /// The binary or example that is compiled, if it is one.
    pub binary: Option<&'static str>,
}

/// One test case as its author described it. What it leaves open is decided by the
/// [settings](crate::Settings) or has a default.
#[derive(Debug, Clone, Copy)]
pub struct TestSpec {
    origin: Origin,
    migrations: Option<&'static str>,
    from: Option<&'static str>,
    upgrade: Option<UpgradeFn>,
    scenario: Scenario,
    /// The part of the path that one of several releases has.
    from_case: Option<&'static str>,
    postgres: Option<u16>,
    rollback_within: Option<Duration>,
    rows: Option<u32>,
    seed: Option<u64>,
    reversible: Option<bool>,
    ignored: bool,
    one_of_several: bool,
}

impl TestSpec {
    /// The folder of migrations where the test names none.
    pub const MIGRATIONS: &'static str = "migrations";

    /// A case that leaves everything open, of the scenario `upgrade`.
    #[doc(hidden)]
    pub const fn new(origin: Origin) -> Self {
        Self {
            origin,
            migrations: None,
            from: None,
            upgrade: None,
            scenario: Scenario::Upgrade,
            from_case: None,
            postgres: None,
            rollback_within: None,
            rows: None,
            seed: None,
            reversible: None,
            ignored: false,
            one_of_several: false,
        }
    }

    /// The name of the test: that of the function.
    pub fn name(&self) -> &'static str {
        self.origin
            .module
            .rsplit_once("::")
            .map_or(self.origin.module, |(_, name)| name)
    }

    /// The path of the case as `cargo test` prints it: `orders::upgrade`,
    /// `module::orders::upgrade::pg15`.
    pub fn path(&self) -> String {
        let mut path = format!("{}::{}", self.test_path(), self.scenario);
        if let Some(case) = self.from_case {
            path = format!("{path}::{case}");
        }
        if let Some(major) = self.postgres {
            path = format!("{path}::pg{major}");
        }
        path
    }

    /// The path of the test without that of the case: `orders`, `module::orders`.
    pub(crate) fn test_path(&self) -> &'static str {
        let module = self.origin.module;
        module.split_once("::").map_or(module, |(_, module)| module)
    }

    /// The crate that the test is compiled into: each integration test is a separate crate.
    pub fn crate_name(&self) -> &'static str {
        self.origin
            .module
            .split_once("::")
            .map_or(self.origin.module, |(name, _)| name)
    }

    /// The package that the test belongs to.
    pub fn package(&self) -> &'static str {
        self.origin.package
    }

    /// The binary or example whose unit test this is, if it is one.
    pub fn binary(&self) -> Option<&'static str> {
        self.origin.binary
    }

    /// The source file, as the compiler was told: absolute, or from the root of the workspace.
    pub fn file(&self) -> &'static str {
        self.origin.file
    }

    /// The line of the attribute, counted from 1.
    pub fn line(&self) -> u32 {
        self.origin.line
    }

    /// The folder of the package's `Cargo.toml`, absolute. Relative paths in options start here.
    pub fn manifest_dir(&self) -> &'static str {
        self.origin.manifest_dir
    }

    /// The folder of migrations as the test names it; [`Self::MIGRATIONS`] is the default.
    pub fn migrations(&self) -> Option<&'static str> {
        self.migrations
    }

    /// The release that the upgrade starts at, as the test names it.
    pub fn from(&self) -> Option<&'static str> {
        self.from
    }

    /// The function that builds the whole upgrade, if the test names one.
    pub fn upgrade(&self) -> Option<UpgradeFn> {
        self.upgrade
    }

    /// The scenario of this case.
    pub fn scenario(&self) -> Scenario {
        self.scenario
    }

    /// The major version of Postgres that this case asks for; `None` for whatever is found.
    pub fn postgres(&self) -> Option<u16> {
        self.postgres
    }

    /// The budget of a rollback, as the test names it.
    pub fn rollback_within(&self) -> Option<Duration> {
        self.rollback_within
    }

    /// How many rows each table gets, as the test names it; see
    /// [`TestCase::rows`](crate::TestCase::rows).
    pub fn rows(&self) -> Option<u32> {
        self.rows
    }

    /// The seed, as the test names it; see [`TestCase::seed`](crate::TestCase::seed).
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// Whether every migration has to be reversible, where the test says so.
    pub fn reversible(&self) -> Option<bool> {
        self.reversible
    }

    /// Whether the test has a case for another scenario, too.
    pub(crate) fn is_one_of_several(&self) -> bool {
        self.one_of_several
    }

    /// Whether the case carries `#[ignore]`.
    pub fn is_ignored(&self) -> bool {
        self.ignored
    }
}

/// What the attribute sets.
#[doc(hidden)]
impl TestSpec {
    #[must_use]
    pub const fn with_migrations(mut self, path: &'static str) -> Self {
        self.migrations = Some(path);
        self
    }

    #[must_use]
    pub const fn with_from(mut self, release: &'static str) -> Self {
        self.from = Some(release);
        self
    }

    #[must_use]
    pub const fn with_upgrade(mut self, upgrade: UpgradeFn) -> Self {
        self.upgrade = Some(upgrade);
        self
    }

    #[must_use]
    pub const fn with_scenario(mut self, scenario: Scenario) -> Self {
        self.scenario = scenario;
        self
    }

    /// One of several releases that the upgrade starts at, and the part of the path that it has.
    #[must_use]
    pub const fn with_one_from(mut self, release: &'static str, case: &'static str) -> Self {
        (self.from, self.from_case) = (Some(release), Some(case));
        self
    }

    #[must_use]
    pub const fn with_postgres(mut self, major: u16) -> Self {
        self.postgres = Some(major);
        self
    }

    #[must_use]
    pub const fn with_rollback_within_ms(mut self, ms: u64) -> Self {
        self.rollback_within = Some(Duration::from_millis(ms));
        self
    }

    #[must_use]
    pub const fn with_rows(mut self, rows: u32) -> Self {
        self.rows = Some(rows);
        self
    }

    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    #[must_use]
    pub const fn with_reversible(mut self, reversible: bool) -> Self {
        self.reversible = Some(reversible);
        self
    }

    #[must_use]
    pub const fn with_several_scenarios(mut self) -> Self {
        self.one_of_several = true;
        self
    }

    #[must_use]
    pub const fn with_ignored(mut self) -> Self {
        self.ignored = true;
        self
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const ORIGIN: Origin = Origin {
        module: "shop::db::orders",
        file: "shop/tests/shop.rs",
        line: 3,
        manifest_dir: "/w/shop",
        package: "shop",
        binary: None,
    };

    #[test]
    fn names_come_from_the_module() {
        let spec = TestSpec::new(ORIGIN).with_scenario(Scenario::RoundTrip);
        assert_eq!(spec.name(), "orders");
        assert_eq!(spec.crate_name(), "shop");
        assert_eq!(spec.path(), "db::orders::round_trip");
        assert_eq!(
            spec.with_postgres(15).path(),
            "db::orders::round_trip::pg15"
        );
        let spec = TestSpec::new(ORIGIN).with_one_from("v1.8", "from_v1_8");
        assert_eq!(
            spec.with_postgres(15).path(),
            "db::orders::upgrade::from_v1_8::pg15"
        );
    }
}
