//! Sends requests to every side in turn, and takes in what comes of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::judge::{Judge, Round};
use super::options::LatencyOptions;
use super::outcomes::{Errors, Outcome, send};
use super::random::Random;
use super::requests::Requests;
use super::times::Times;
use crate::context::UpgradeContext;
use crate::error::Result;
use crate::http::Client;
use crate::side::Side;

/// What was measured of a class of requests.
pub(super) struct Class {
    pub(super) name: String,
    pub(super) judge: Judge,
    pub(super) times: Times,
}

/// How long requests take, from the warm-up.
pub(super) struct Warm {
    /// The median time of the baseline, by place.
    baseline: Vec<Duration>,
    /// Of one round of all requests to all sides.
    round: Duration,
}

/// One user, who sends all requests in rounds.
pub(super) struct Run<'a> {
    cx: &'a UpgradeContext,
    requests: &'a Requests,
    clients: BTreeMap<Side, Client>,
    random: Random,
    /// The number of the round of all requests.
    round: u64,
    /// When everything has to end.
    end: Instant,
    pub(super) errors: Errors,
}

impl<'a> Run<'a> {
    /// A run that takes at most this long, but for one answer.
    pub(super) fn new(
        cx: &'a UpgradeContext,
        requests: &'a Requests,
        clients: BTreeMap<Side, Client>,
        time: Duration,
    ) -> Self {
        Self {
            cx,
            requests,
            clients,
            random: Random::new(cx.seed()),
            round: 0,
            end: Instant::now() + time,
            errors: Errors::default(),
        }
    }

    /// Sends the request at a place to all sides, in a random order.
    async fn send(&mut self, place: usize) -> Result<BTreeMap<Side, Outcome>> {
        let request = self.requests.at(place, self.round);
        let mut answers = BTreeMap::new();
        for side in self.random.sides() {
            let answer = Box::pin(send(self.cx, side, &self.clients[&side], &request)).await?;
            answers.insert(side, answer);
        }
        self.errors.observe(&request, &answers);
        let outcomes = answers
            .into_iter()
            .map(|(side, (outcome, _))| (side, outcome));
        Ok(outcomes.collect())
    }

    /// Whether no more requests are to be sent.
    fn is_over(&self) -> bool {
        Instant::now() >= self.end || self.errors.is_clear()
    }

    /// Sends all requests once, then again for as long as this is. Errors count already.
    pub(super) async fn warm_up(&mut self, time: Duration) -> Result<Warm> {
        let began = Instant::now();
        let mut by_place: Vec<Vec<Duration>> = vec![Vec::new(); self.requests.len()];
        let mut rounds = Vec::new();
        loop {
            let at = Instant::now();
            for (place, times) in by_place.iter_mut().enumerate() {
                let outcomes = self.send(place).await?;
                // The first one had to connect.
                if self.round == 1 {
                    times.clear();
                }
                times.extend(outcomes[&Side::Baseline].time());
                if self.is_over() {
                    break;
                }
            }
            self.round += 1;
            rounds.push(at.elapsed());
            if began.elapsed() >= time || self.is_over() {
                break;
            }
        }
        Ok(Warm {
            baseline: by_place.into_iter().map(median).collect(),
            round: median(rounds),
        })
    }

    /// Sends all requests, until every class is decided or the time is over.
    pub(super) async fn measure(
        &mut self,
        options: &LatencyOptions,
        warm: &Warm,
    ) -> Result<Vec<Class>> {
        let by_name = self.requests.classes(&warm.baseline);
        let count = by_name.len();
        let mut of_place: Vec<Vec<usize>> = vec![Vec::new(); self.requests.len()];
        let mut classes = Vec::with_capacity(count);
        for (number, (name, places)) in by_name.into_iter().enumerate() {
            let per_second = places.len() as f64 / warm.round.as_secs_f64().max(1e-9);
            for place in places {
                of_place[place].push(number);
            }
            classes.push(Class {
                name,
                judge: Judge::new(*options, count, options.block_at(per_second)),
                times: Times::default(),
            });
        }
        let began = Instant::now();
        while !classes.iter().all(|class| class.judge.is_decided()) {
            for (place, numbers) in of_place.iter().enumerate() {
                if self.is_over() {
                    return Ok(classes);
                }
                let outcomes = self.send(place).await?;
                let at = began.elapsed();
                // An answer that is an error has no time to compare.
                let times = Side::ALL.map(|side| outcomes[&side].time());
                let [Some(baseline), Some(secondary), Some(candidate)] = times else {
                    continue;
                };
                for number in numbers {
                    let class = &mut classes[*number];
                    class.judge.observe(
                        at,
                        Round {
                            baseline,
                            secondary,
                            candidate,
                        },
                    );
                    class.times.record(Side::Baseline, baseline);
                    class.times.record(Side::Secondary, secondary);
                    class.times.record(Side::Candidate, candidate);
                }
            }
            self.round += 1;
        }
        Ok(classes)
    }
}

/// The time in the middle; zero of none.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
