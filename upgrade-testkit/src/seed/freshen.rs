//! Draws again what the server says it would refuse, before it is sent.
//!
//! Many such rows cost a few queries, not a refusal each.

use std::collections::{BTreeMap, VecDeque};

use sqlx::PgConnection;

use super::checked::{Violation, violating};
use super::drawer::{Drawer, Stop};
use super::error::SeedError;
use super::existing::taken;
use super::resolve::{Cells, Reject};
use super::table_fill::{Progress, TableFill, Waiting};

/// How many rows can be asked for at the price of one that is refused.
const ASKED: u64 = 100;

/// After each `ANEW` tries the whole row is generated anew: the kept values may fit no other ones.
const ANEW: u32 = 64;

impl TableFill<'_> {
    /// Draws again the rows that repeat unique values of those that were there before, and once a
    /// CHECK has refused a row, those that violate one.
    pub(super) async fn freshen(
        &self,
        conn: &mut PgConnection,
        drawer: &mut Drawer,
        queue: &mut VecDeque<Waiting>,
        progress: &mut Progress,
    ) -> Result<(), SeedError> {
        // Rows in a row that violated something, by what; one that no longer does ends the row.
        let mut in_vain: BTreeMap<String, u64> = BTreeMap::new();
        loop {
            let (places, cells): (Vec<usize>, Vec<&Cells>) = queue
                .iter()
                .enumerate()
                .filter(|(_, waiting)| !waiting.fresh)
                .map(|(at, waiting)| (at, &waiting.row.cells))
                .unzip();
            if places.is_empty() {
                return Ok(());
            }
            let taken = match progress.existing {
                0 => BTreeMap::new(),
                _ => taken(conn, &self.plan.table, &cells).await?,
            };
            let violating = match progress.checking {
                false => BTreeMap::new(),
                true => violating(conn, &self.plan.table, &cells).await?,
            };
            let mut full = None;
            for (at, place) in places.into_iter().enumerate() {
                let (indexes, violation) = (taken.get(&at), violating.get(&at));
                let waiting = &mut queue[place];
                let part = violation.map(|violation| violation.part.clone());
                if let Some(before) = std::mem::replace(&mut waiting.violated, part.clone())
                    && Some(&before) != part.as_ref()
                {
                    in_vain.remove(&before);
                }
                waiting.fresh = indexes.is_none() && violation.is_none();
                if waiting.fresh {
                    continue;
                }
                progress.refused += 1;
                waiting.tries += 1;
                drawer.release(&waiting.row);
                let indexes = indexes.map_or(&[][..], Vec::as_slice);
                for index in indexes {
                    drawer.bar(&waiting.row, *index);
                }
                if let (Some(violation), Some(part)) = (violation, part) {
                    let in_vain = in_vain.entry(part).or_default();
                    *in_vain += 1;
                    let in_vain = *in_vain;
                    self.give_up(waiting.tries, in_vain, violation)?;
                }
                if full.is_none() {
                    full = self.draw_other(drawer, waiting, indexes, violation).err();
                }
            }
            match full {
                None => {}
                Some(Stop::Error(error)) => return Err(*error),
                Some(Stop::Reject(reject)) => {
                    queue.retain(|waiting| waiting.fresh);
                    self.stop_short(drawer, progress, queue.len(), reject)?;
                }
            }
        }
    }

    /// Puts another row in the place of one that repeats values of unique indexes or violates a CHECK.
    fn draw_other(
        &self,
        drawer: &mut Drawer,
        waiting: &mut Waiting,
        indexes: &[usize],
        violation: Option<&Violation>,
    ) -> Result<(), Stop> {
        let row = match violation {
            // Columns that the CHECK does not name stay, so that of several each is met alone.
            Some(violation) if !waiting.tries.is_multiple_of(ANEW) => {
                drawer.draw_again(&waiting.row, &violation.columns)?
            }
            _ => drawer.draw(waiting.row.again(violation.is_none()))?,
        };
        if let [index, ..] = indexes
            && waiting.tries >= self.seeder.tries
        {
            return Err(Stop::Reject(Reject::Exhausted {
                part: format!("unique index `{}`", self.plan.table.unique[*index].name),
                reason: format!("{} rows drawn in a row repeat values of it", waiting.tries),
                none_ever: false,
            }));
        }
        waiting.row = row;
        Ok(())
    }

    /// Fails when a CHECK has refused enough rows in a row: for one place, or for all.
    fn give_up(&self, tries: u32, in_vain: u64, violation: &Violation) -> Result<(), SeedError> {
        let most = u64::from(self.seeder.tries) * ASKED;
        if in_vain < most && u64::from(tries) < most {
            return Ok(());
        }
        Err(SeedError::CannotFill {
            table: self.plan.table.label(),
            part: violation.part.clone(),
            tries,
            sqlstate: "23514".to_owned(),
            message: format!("no row drawn satisfies {}", violation.expression),
            hint: self.hint(),
        })
    }
}
