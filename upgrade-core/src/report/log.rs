//! The lines of a log that a person wants to see after a failure.

/// How many lines are shown.
const SHOWN: usize = 20;

/// What a Postgres server says when all is well: starts, checkpoints, who came too early.
const QUIET: [&str; 10] = [
    "LOG:  ",
    "INFO:  ",
    "NOTICE:  ",
    "DEBUG:  ",
    "DEBUG1:  ",
    "DEBUG2:  ",
    "DEBUG3:  ",
    "DEBUG4:  ",
    "DEBUG5:  ",
    "FATAL:  the database system is starting up",
];

/// What follows a message and belongs to it.
const FURTHER: [&str; 6] = [
    "DETAIL:  ",
    "HINT:  ",
    "QUERY:  ",
    "CONTEXT:  ",
    "LOCATION:  ",
    "STATEMENT:  ",
];

/// The last lines that are a warning or worse, with what belongs to them. A line of which the
/// severity is not known counts: the log of a service that is not Postgres. So does what says that
/// a server process has died, which Postgres calls a `LOG`.
pub(super) fn loud<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut quiet = false;
    let mut loud: Vec<&str> = lines
        .into_iter()
        .filter(|line| {
            let further = line.starts_with('\t') || FURTHER.iter().any(|word| line.contains(word));
            if !further {
                quiet = QUIET.iter().any(|word| line.contains(word))
                    && !line.contains("LOG:  server process");
            }
            !quiet
        })
        .collect();
    loud.drain(..loud.len().saturating_sub(SHOWN));
    loud
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_when_all_is_well_is_left_out() {
        let log = "\
2026-11-23 01:00:00 UTC [1] LOG:  starting PostgreSQL 15.18
2026-11-23 01:00:00 UTC [1] FATAL:  the database system is starting up
2026-11-23 01:00:01 UTC [9] t ERROR:  relation \"u\" does not exist at character 13
2026-11-23 01:00:01 UTC [9] t STATEMENT:  select *
\tfrom u
2026-11-23 01:00:02 UTC [9] t LOG:  duration: 2 ms
2026-11-23 01:00:02 UTC [9] t DETAIL:  parameters: $1 = '1'
2026-11-23 01:00:03 UTC [1] LOG:  server process (PID 9) was terminated by signal 9: Killed
2026-11-23 01:00:03 UTC [1] DETAIL:  Failed process was running: select 1
2026-11-23 01:00:03 UTC [8] WARNING:  terminating connection";
        let kept: Vec<&str> = log.lines().collect();
        let expected = [kept[2], kept[3], kept[4], kept[7], kept[8], kept[9]];
        assert_eq!(loud(log.lines()), expected);
    }

    #[test]
    fn the_last_lines_of_another_log_are_shown() {
        let lines: Vec<String> = (0..30).map(|n| format!("service says {n}")).collect();
        let shown = loud(lines.iter().map(String::as_str));
        assert_eq!((shown.len(), shown[0]), (SHOWN, "service says 10"));
    }
}
