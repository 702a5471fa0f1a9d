//! The machine that the figures are from.

use std::fs;

use serde::Serialize;

/// What a reader has to know beside the figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// The version of the server.
    pub postgres: String,
    /// The system's load over one minute when it began; `None` where the kernel does not say.
    pub load_before: Option<f64>,
    /// The same at the end.
    pub load_after: Option<f64>,
}

impl Machine {
    /// Looks at the machine before the first measurement.
    pub fn look(postgres: &str) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            postgres: postgres.to_owned(),
            load_before: load(),
            load_after: None,
        }
    }

    /// Looks again after the last.
    pub fn look_again(&mut self) {
        self.load_after = load();
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} cores, Postgres {}", self.cores, self.postgres)?;
        if let (Some(before), Some(after)) = (self.load_before, self.load_after) {
            write!(f, ", load {before:.1} before and {after:.1} after")?;
        }
        Ok(())
    }
}

fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}
