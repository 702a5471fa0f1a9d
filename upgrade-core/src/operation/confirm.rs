//! A person, or a program for one, says yes before something is done to a real system.

use std::fmt;
use std::io::{self, BufRead as _, Write as _};

use super::{Act, Operation};
use crate::error::{Error, ErrorKind, Result};

/// What is to be done, to which system, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Question {
    /// The call.
    pub act: Act,
    /// The name of the system: the target of the journal.
    pub target: String,
    /// What changes, what can be undone until when, and what is lost then.
    pub consequences: String,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n\n{} of {}",
            self.consequences, self.act, self.target
        )
    }
}

/// Who is asked before a call changes a system: a person, a chat, a ticket.
pub trait Confirm: fmt::Debug + Send + Sync + 'static {
    /// Says yes. It may block, for as long as a person thinks.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for a no: nothing is done then.
    fn confirm(&self, question: &Question) -> Result<()>;
}

/// A yes that was given beforehand, as in a pipeline: by the name of the system, so that nobody changes
/// another one by mistake.
#[derive(Debug, Clone)]
pub struct Named(String);

impl Named {
    /// A yes for the system of this name.
    pub fn new(target: impl Into<String>) -> Self {
        Self(target.into())
    }
}

impl Confirm for Named {
    fn confirm(&self, question: &Question) -> Result<()> {
        is_named(&self.0, question)
    }
}

/// A person at the terminal: reads the question, and types the name of the system.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct OnTerminal;

impl OnTerminal {
    /// Asks on the error output, and reads from the input.
    pub fn new() -> Self {
        Self
    }
}

impl Default for OnTerminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Confirm for OnTerminal {
    fn confirm(&self, question: &Question) -> Result<()> {
        let asked = || -> io::Result<String> {
            write!(
                io::stderr(),
                "{question}\nType the name of the system to go on: "
            )?;
            let mut typed = String::new();
            io::stdin().lock().read_line(&mut typed)?;
            Ok(typed)
        };
        let typed = asked().map_err(|source| {
            Error::new(
                ErrorKind::Refused,
                "nothing was done: nobody could be asked",
            )
            .with_source(source)
        })?;
        is_named(typed.trim(), question)
    }
}

impl Operation {
    /// Goes on where somebody says yes.
    pub(super) async fn confirmed(&self, act: Act, consequences: String) -> Result<()> {
        let Some(confirm) = self.confirm.clone() else {
            return Ok(());
        };
        let question = Question {
            act,
            target: self.journal.target().await,
            consequences,
        };
        // A person may think for long, and others wait on this thread.
        let asking = tokio::task::spawn_blocking(move || confirm.confirm(&question));
        asking.await.unwrap_or_else(|panic| {
            let message = "nothing was done: the question broke off";
            Err(Error::new(ErrorKind::Refused, message).with_source(panic))
        })
    }
}

fn is_named(typed: &str, question: &Question) -> Result<()> {
    let target = &question.target;
    match typed == target {
        true => Ok(()),
        false => {
            let message = format!("nothing was done: `{typed}` is not `{target}`");
            Err(Error::new(ErrorKind::Refused, message))
        }
    }
}
