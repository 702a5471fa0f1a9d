//! A server for a test process, from nothing to its first answer.

use std::time::Duration;

use sqlx::Connection as _;
use upgrade_core::postgres::Database;
use upgrade_core::postgres::server::{Profile, ServerBinaries};

use super::Effort;
use crate::Result;
use crate::line::{Goal, Line};
use crate::sample::{Sample, timed};
use crate::server::{first_query, start};

/// Starts servers one after the other; the prepared data directory is there from the first one on.
pub(super) async fn measure(binaries: &ServerBinaries, effort: Effort) -> Result<Line> {
    let mut ours = Sample::default();
    for round in 0..=effort.rounds {
        let work = async {
            let server = start(binaries, Profile::ThrowAway).await?;
            let database = Database::new(&server.connect_options(), "postgres");
            let connection = first_query(&database).await?;
            Ok::<_, upgrade_core::BoxError>((server, connection))
        };
        let (time, (server, connection)) = timed(work).await?;
        if round > 0 {
            ours.push(time);
        }
        connection.close().await?;
        server.stop().await?;
    }
    Ok(Line {
        what: "server start to first query, warm".to_owned(),
        against: String::new(),
        ours,
        peer: Sample::default(),
        goal: Goal::Within(Duration::from_millis(300)),
    })
}
