//! What staging does otherwise than production, by name and with a reason.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::compose::nearest;
use super::stack::{Service, Stack};
use crate::error::{Error, ErrorKind, Result};

/// A change of production's stack that staging needs.
///
/// ```
/// use upgrade_core::docker::{Image, Override, Overrides, Service, Stack};
///
/// # fn main() -> upgrade_core::Result<()> {
/// let api = Service::new(Image::named("shop-api:1.4")).with_env("PAYMENT_KEY", "sk_live");
/// let production = Stack::new().with_service("api", api);
/// let overrides = Overrides::new()
///     .with(Override::new("less memory", "CI machines have 4 GB")
///         .on("api", |api| api.limits.memory = Some(64 << 20)))
///     .with(Override::new("fake secrets", "staging must not pay")
///         .on("api", |api| drop(api.environment.insert("PAYMENT_KEY".into(), "fake".into()))));
/// let staging = overrides.apply(&production)?;
/// assert_eq!(staging.services["api"].limits.memory, Some(64 << 20));
/// println!("{}", overrides.diff(&production)?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Override {
    name: String,
    reason: String,
    changes: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Service(String, Arc<dyn Fn(&mut Service) + Send + Sync>),
    Stack(Arc<dyn Fn(&mut Stack) + Send + Sync>),
}

impl Override {
    /// An override that changes nothing yet.
    pub fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reason: reason.into(),
            changes: Vec::new(),
        }
    }

    /// Changes a service.
    #[must_use]
    pub fn on<F>(mut self, service: impl Into<String>, change: F) -> Self
    where
        F: Fn(&mut Service) + Send + Sync + 'static,
    {
        let change = Change::Service(service.into(), Arc::new(change));
        self.changes.push(change);
        self
    }

    /// Changes what is not in one service: networks, volumes, which services there are.
    #[must_use]
    pub fn on_stack<F>(mut self, change: F) -> Self
    where
        F: Fn(&mut Stack) + Send + Sync + 'static,
    {
        self.changes.push(Change::Stack(Arc::new(change)));
        self
    }

    fn apply(&self, stack: &mut Stack) -> Result<()> {
        if self.reason.trim().is_empty() {
            return Err(self.refused("has no reason", "say why staging differs"));
        }
        if self.changes.is_empty() {
            let hint = "name what it changes by `on` or `on_stack`";
            return Err(self.refused("changes nothing", hint));
        }
        for change in &self.changes {
            let before = stack.clone();
            let of = match change {
                Change::Stack(change) => {
                    change(stack);
                    "the stack".to_owned()
                }
                Change::Service(name, change) => {
                    let Some(service) = stack.services.get_mut(name) else {
                        return Err(self.unknown(name, stack));
                    };
                    change(service);
                    format!("service `{name}`")
                }
            };
            if *stack == before {
                return Err(self.refused(
                    &format!("changes nothing of {of}"),
                    "production is so already: remove the override",
                ));
            }
        }
        Ok(())
    }

    fn unknown(&self, name: &str, stack: &Stack) -> Error {
        let known = || stack.services.keys().map(String::as_str);
        let hint = match nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has {}", known().collect::<Vec<_>>().join(", ")),
        };
        self.refused(
            &format!("names service `{name}`, which the stack does not have"),
            &hint,
        )
    }

    fn refused(&self, why: &str, hint: &str) -> Error {
        Error::new(
            ErrorKind::InvalidInput,
            format!("override `{}` {why}", self.name),
        )
        .with_hint(hint)
    }
}

impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Override")
            .field("name", &self.name)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// All that staging does otherwise than production. Whatever is not said here is production's.
#[derive(Debug, Clone, Default)]
pub struct Overrides(Vec<Override>);

impl Overrides {
    /// Staging as production.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one override more; they are applied in their order.
    #[must_use]
    pub fn with(mut self, one: Override) -> Self {
        self.0.push(one);
        self
    }

    /// The stack of staging.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for an override that changes nothing, that names a service
    /// which is not there, that has no reason, or whose name another one has.
    pub fn apply(&self, production: &Stack) -> Result<Stack> {
        let mut stack = production.clone();
        self.each(&mut stack, |_, _, _| ())?;
        Ok(stack)
    }

    /// What each override changes, as a unified diff under its name and reason. Values that may be
    /// secrets are not shown.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn diff(&self, production: &Stack) -> Result<String> {
        let mut text = String::new();
        self.each(&mut production.clone(), |one, before, after| {
            let diff = after.diff(before);
            text.push_str(&format!("{}: {}\n{diff}", one.name, one.reason));
        })?;
        Ok(text)
    }

    fn each(
        &self,
        stack: &mut Stack,
        mut done: impl FnMut(&Override, &Stack, &Stack),
    ) -> Result<()> {
        let mut names = BTreeSet::new();
        for one in &self.0 {
            if !names.insert(&one.name) {
                return Err(one.refused("is there twice", "give each its own name"));
            }
            let before = stack.clone();
            one.apply(stack)?;
            done(one, &before, stack);
        }
        Ok(())
    }
}
