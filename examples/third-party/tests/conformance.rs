//! The whole conformance suite: 95 clauses.
//!
//! A fixture reads the store in another way than the implementation does: it reads the files and
//! takes the lock with its own code.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail where it fails"
)]

mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use kv_upgrade::{KvEnvironment, References, RestoreCopy, STORE, Store};
use serde_json::{Value, json};
use support::{CUSTOMERS, ORDERS, add, currency, pause, remove, reversible, total_to_amount};
use tempfile::TempDir;
use upgrade_core::environment::{Endpoint, Endpoints};
use upgrade_core::rollback::RollbackRequest;
use upgrade_core::{
    Environment, Error, ErrorKind, Migration, Result, Rollback, UpgradeContext, Validator, Version,
};
use upgrade_testkit::conformance::{
    Case, EnvironmentFixture, Hold, MigrationFixture, RollbackFixture, ValidatorFixture,
};
use upgrade_testkit::{
    environment_conformance, migration_conformance, rollback_conformance, validator_conformance,
};

environment_conformance!(environment, Fixture::new());
migration_conformance!(migration, Fixture::new());
validator_conformance!(validator, Fixture::new());
rollback_conformance!(rollback, Fixture::new());

/// A separate directory for each clause; it is removed with the fixture.
struct Fixture {
    directory: TempDir,
    made: AtomicU32,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        support::store(&directory.path().join("given"), ORDERS, CUSTOMERS);
        Self {
            directory,
            made: AtomicU32::new(0),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A new store, and the context of calls about it.
    fn system(&self, orders: &str, customers: &str) -> UpgradeContext {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let directory = self.path(&format!("store-{number}"));
        support::store(&directory, orders, customers);
        at(&directory)
    }

    fn environment(&self, source: &str) -> Box<dyn Environment> {
        Box::new(KvEnvironment::new(self.path("root"), self.path(source)))
    }
}

fn at(directory: &Path) -> UpgradeContext {
    let endpoint = Endpoint::new(format!("file://{}", directory.display()));
    UpgradeContext::new("1", "2").with_endpoints(Endpoints::default().with(STORE, endpoint))
}

fn directory(endpoint: &Endpoint) -> &Path {
    Path::new(endpoint.url().expose().strip_prefix("file://").unwrap())
}

fn directory_of(cx: &UpgradeContext) -> Result<&Path> {
    cx.endpoint(STORE).map(directory)
}

/// Every collection, one row a line: the text of a file may differ where its rows do not.
fn state_of(directory: &Path) -> Result<String> {
    let mut lines = Vec::new();
    for name in names(directory)? {
        if name.starts_with(['.', '_']) {
            continue;
        }
        let text = fs::read_to_string(directory.join(&name))?;
        match serde_json::from_str::<Value>(&text) {
            Ok(Value::Object(rows)) => {
                lines.extend(rows.iter().map(|(key, row)| format!("{name} {key} {row}")));
            }
            _ => lines.push(format!("{name}: {text}")),
        }
    }
    lines.sort();
    Ok(lines.join("\n"))
}

/// What a directory holds, sorted; nothing when it is not there.
fn names(directory: &Path) -> Result<Vec<String>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let entries: Result<Vec<_>, _> = fs::read_dir(directory)?.collect();
    let mut names: Vec<String> = entries?
        .iter()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// A row that changes, as a user writes it: not through a session, and not twice the same.
fn write_a_row(cx: &UpgradeContext) -> Result<()> {
    let path = directory_of(cx)?.join("orders.json");
    let mut orders: Value = serde_json::from_str(&fs::read_to_string(&path)?).unwrap();
    let visits = orders["o1"]["visits"].as_u64().unwrap_or(0);
    orders["o1"]["visits"] = json!(visits + 1);
    fs::write(path, orders.to_string()).map_err(Error::from)
}

/// The lock of the store, taken as another process would.
fn hold_the_lock(cx: &UpgradeContext) -> Result<Hold> {
    let options = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .clone();
    let file = options.open(directory_of(cx)?.join(".lock"))?;
    file.try_lock()
        .map_err(|error| Error::from(std::io::Error::from(error)))?;
    Ok(Box::new(file))
}

#[async_trait]
impl EnvironmentFixture for Fixture {
    async fn make(&self) -> Result<Box<dyn Environment>> {
        Ok(self.environment("given"))
    }

    async fn reach(&self, _: &str, endpoint: &Endpoint) -> Result<()> {
        fs::read_dir(directory(endpoint))
            .map(drop)
            .map_err(Error::from)
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        // Gone with its directory: an environment that another one removed has no state.
        fs::metadata(directory_of(cx)?)?;
        state_of(directory_of(cx)?)
    }

    async fn disturb(&self, cx: &UpgradeContext) -> Result<()> {
        write_a_row(cx)
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        hold_the_lock(cx)
    }

    async fn leftovers(&self) -> Result<Vec<String>> {
        let mut names = names(&self.path("root"))?;
        names.retain(|name| name != ".registry");
        Ok(names)
    }

    async fn failing(&self) -> Result<Case<Box<dyn Environment>>> {
        support::store(&self.path("broken"), "not JSON", CUSTOMERS);
        Ok(Case::Given(self.environment("broken")))
    }

    async fn crash(&self, _: &UpgradeContext) -> Result<Case<()>> {
        Ok(Case::not_applicable("no process runs that could crash"))
    }

    async fn releases(&self, _: &UpgradeContext) -> Result<Case<Vec<Version>>> {
        Ok(Case::not_applicable("it has no services"))
    }

    async fn adopted(&self) -> Result<Case<String>> {
        state_of(&self.path("given")).map(Case::Given)
    }
}

#[async_trait]
impl MigrationFixture for Fixture {
    async fn context(&self) -> Result<UpgradeContext> {
        Ok(self.system(ORDERS, CUSTOMERS))
    }

    fn migration(&self) -> Arc<dyn Migration> {
        Arc::new(reversible())
    }

    fn edited(&self) -> Arc<dyn Migration> {
        Arc::new(currency([add("orders", "currency")]))
    }

    fn remembers_content(&self) -> Case<()> {
        Case::Given(())
    }

    fn failing(&self) -> Arc<dyn Migration> {
        Arc::new(currency([
            add("orders", "currency"),
            add("no such collection", "x"),
        ]))
    }

    fn failing_revert(&self) -> Case<Arc<dyn Migration>> {
        let down = [
            remove("orders", "currency"),
            remove("no such collection", "x"),
        ];
        Case::Given(Arc::new(
            currency([add("orders", "currency")]).with_down(down),
        ))
    }

    fn irreversible(&self) -> Case<Arc<dyn Migration>> {
        Case::Given(Arc::new(currency([remove("orders", "total")])))
    }

    fn slow(&self) -> Arc<dyn Migration> {
        Arc::new(currency([pause(60), add("orders", "currency")]))
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        state_of(directory_of(cx)?)
    }

    async fn record(&self, cx: &UpgradeContext) -> Result<String> {
        let record = fs::read_to_string(directory_of(cx)?.join("_migrations.json"));
        Ok(record.unwrap_or_else(|_| "there is none".to_owned()))
    }

    async fn running(&self, cx: &UpgradeContext) -> Result<Vec<String>> {
        // Whoever writes has the lock.
        let held = hold_the_lock(cx).is_err();
        Ok(held.then(|| "a session".to_owned()).into_iter().collect())
    }
}

#[async_trait]
impl ValidatorFixture for Fixture {
    fn validator(&self) -> Arc<dyn Validator> {
        Arc::new(References::new("orders", "customer", "customers"))
    }

    async fn holding(&self) -> Result<UpgradeContext> {
        Ok(self.system(ORDERS, CUSTOMERS))
    }

    async fn broken(&self) -> Result<UpgradeContext> {
        Ok(self.system(ORDERS, r#"{ "c1": {} }"#))
    }

    async fn empty(&self) -> Result<UpgradeContext> {
        Ok(self.system("{}", CUSTOMERS))
    }

    async fn unreachable(&self) -> Result<UpgradeContext> {
        Ok(at(&self.path("nowhere")))
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        hold_the_lock(cx)
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        state_of(directory_of(cx)?)
    }
}

#[async_trait]
impl RollbackFixture for Fixture {
    async fn system(&self) -> Result<(Arc<dyn Rollback>, UpgradeContext)> {
        let cx = Self::system(self, ORDERS, CUSTOMERS);
        Ok((Arc::new(RestoreCopy), cx))
    }

    async fn again(&self, _: &UpgradeContext) -> Result<Arc<dyn Rollback>> {
        Ok(Arc::new(RestoreCopy))
    }

    async fn write(&self, cx: &UpgradeContext) -> Result<()> {
        write_a_row(cx)
    }

    async fn upgrade(&self, cx: &UpgradeContext) -> Result<RollbackRequest> {
        let (first, second) = (reversible(), total_to_amount());
        first.apply(cx).await?.into_result()?;
        second.apply(cx).await?.into_result()?;
        write_a_row(cx)?;
        Ok(RollbackRequest::new([
            first.id().clone(),
            second.id().clone(),
        ]))
    }

    async fn interrupt(&self, cx: &UpgradeContext) -> Result<RollbackRequest> {
        let first = total_to_amount();
        first.apply(cx).await?.into_result()?;
        // A session that is dropped after its first change is what a killed one leaves.
        let mut session = Store::of(cx)?
            .begin(cx, reversible().id().to_string())
            .await?;
        session.write("customers.json", Some("{}"))?;
        Ok(RollbackRequest::new([
            first.id().clone(),
            reversible().id().clone(),
        ]))
    }

    async fn cross(&self, cx: &UpgradeContext) -> Result<Case<RollbackRequest>> {
        let request = RollbackFixture::upgrade(self, cx).await?;
        fs::remove_file(directory_of(cx)?.with_extension("kept"))?;
        Ok(Case::Given(request))
    }

    async fn state(&self, cx: &UpgradeContext) -> Result<String> {
        state_of(directory_of(cx)?)
    }

    async fn kept(&self, cx: &UpgradeContext) -> Result<Vec<String>> {
        let beside = directory_of(cx)?;
        let mut kept = names(beside.parent().unwrap_or(beside))?;
        let own = format!(
            "{}.",
            beside.file_name().unwrap_or_default().to_string_lossy()
        );
        kept.retain(|name| name.starts_with(&own));
        Ok(kept)
    }

    async fn hold(&self, cx: &UpgradeContext) -> Result<Hold> {
        hold_the_lock(cx)
    }
}

/// What no clause can see: an owner that was killed. Its lease has died with it, and the next
/// environment under that root sweeps what it left.
#[tokio::test]
async fn what_a_killed_owner_left_is_swept_by_the_next_one() {
    const ROOT: &str = "KV_UPGRADE_TEST_ROOT";
    if let Some(root) = std::env::var_os(ROOT) {
        // The owner: a separate process, which does not reach its teardown.
        let root = PathBuf::from(root);
        let owner = KvEnvironment::new(&root, root.with_file_name("given"));
        owner.prepare(&UpgradeContext::new("1", "2")).await.unwrap();
        std::process::abort();
    }
    let fixture = Fixture::new();
    let killed = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "what_a_killed_owner_left_is_swept_by_the_next_one",
        ])
        .env(ROOT, fixture.path("root"))
        .output()
        .unwrap();
    assert!(!killed.status.success(), "the owner ended well: {killed:?}");
    let left = fixture.leftovers().await.unwrap();
    assert_eq!(left.len(), 2, "a folder and its lease: {left:?}");

    let next = fixture.make().await.unwrap();
    let cx = EnvironmentFixture::context(&fixture);
    next.prepare(&cx).await.unwrap();
    let now = fixture.leftovers().await.unwrap();
    assert!(
        now.iter().all(|name| !left.contains(name)),
        "{now:?} after {left:?}"
    );
    // What a live owner holds stays.
    let third = fixture.make().await.unwrap();
    third.prepare(&cx).await.unwrap();
    assert_eq!(fixture.leftovers().await.unwrap().len(), 4);
    next.teardown(&cx).await.unwrap();
    third.teardown(&cx).await.unwrap();
    assert_eq!(fixture.leftovers().await.unwrap(), Vec::<String>::new());
}

/// A session that was terminated writes nothing any more, and what it wrote is undone by the next.
#[tokio::test]
async fn a_terminated_session_is_fenced() {
    let fixture = Fixture::new();
    let cx = Fixture::system(&fixture, ORDERS, CUSTOMERS);
    let before = state_of(directory_of(&cx).unwrap()).unwrap();
    let store = Store::of(&cx).unwrap();
    let mut session = store.begin(&cx, "first").await.unwrap();
    session.write("orders.json", Some("{}")).unwrap();
    store.terminate_sessions().unwrap();

    let error = session.write("customers.json", Some("{}")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(session.commit().unwrap_err().kind(), ErrorKind::Unavailable);
    let view = store.read(&cx).await.unwrap();
    assert_eq!(view.unfinished.as_deref(), Some("first"));
    store.begin(&cx, "second").await.unwrap();
    assert_eq!(state_of(directory_of(&cx).unwrap()).unwrap(), before);
    assert_eq!(store.read(&cx).await.unwrap().unfinished, None);
}
