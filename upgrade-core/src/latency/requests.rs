//! The requests that every side is sent, and the classes that they are judged by.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::http::Request;

/// The class of the requests that take longest.
pub(super) const HEAVIEST: &str = "the heaviest requests";
/// The part of the requests that are the heaviest.
const HEAVIEST_PART: f64 = 0.03;
/// How much heavier than the request in the middle they have to be.
const HEAVIER: f64 = 1.5;

type Generate = Arc<dyn Fn(u64) -> Request + Send + Sync>;

/// Requests in the order in which they are sent, each with its class.
#[derive(Clone, Default)]
pub(super) struct Requests(Vec<Slot>);

#[derive(Clone)]
struct Slot {
    class: String,
    generate: Generate,
}

impl Requests {
    /// Adds requests, each of the class of its method and path.
    pub(super) fn extend(&mut self, requests: impl IntoIterator<Item = Request>) {
        for request in requests {
            self.push(format!("{} {}", request.method, request.path()), request);
        }
    }

    pub(super) fn push(&mut self, class: impl Into<String>, request: Request) {
        self.push_generated(class, move |_| request.clone());
    }

    pub(super) fn push_generated(
        &mut self,
        class: impl Into<String>,
        generate: impl Fn(u64) -> Request + Send + Sync + 'static,
    ) {
        self.0.push(Slot {
            class: class.into(),
            generate: Arc::new(generate),
        });
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The request at a place, in a round of all requests.
    pub(super) fn at(&self, place: usize, round: u64) -> Request {
        (self.0[place].generate)(round)
    }

    /// The name of the class at a place.
    pub(super) fn class(&self, place: usize) -> &str {
        &self.0[place].class
    }

    /// # Errors
    /// [`ErrorKind::InvalidInput`] where there is none.
    pub(super) fn validate(&self, name: &str) -> Result<()> {
        match self.0.is_empty() {
            true => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("`{name}` has no requests to send"),
            )),
            false => Ok(()),
        }
    }

    /// The classes by name, each with the places of its requests, in order. The times are those of the baseline
    /// in the warm-up, by place: the heaviest requests form a class beside their own one where they are clearly
    /// heavier than the request in the middle, unless that class would be another one once more.
    pub(super) fn classes(&self, times: &[Duration]) -> BTreeMap<String, Vec<usize>> {
        let mut classes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, slot) in self.0.iter().enumerate() {
            classes.entry(slot.class.clone()).or_default().push(place);
        }
        let mut by_time: Vec<usize> = (0..times.len()).collect();
        by_time.sort_by_key(|place| (times[*place], *place));
        let count = ((times.len() as f64 * HEAVIEST_PART).round() as usize).max(1);
        let mut heaviest = by_time.split_off(times.len().saturating_sub(count));
        heaviest.sort_unstable();
        if let (Some(middle), Some(lightest)) = (
            by_time.get(times.len().saturating_sub(1) / 2),
            heaviest.iter().map(|place| times[*place]).min(),
        ) && lightest >= times[*middle].mul_f64(HEAVIER)
            && !classes.values().any(|places| *places == heaviest)
        {
            classes.insert(HEAVIEST.to_owned(), heaviest);
        }
        classes
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|slot| &slot.class))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(targets: &[&str]) -> Requests {
        let mut requests = Requests::default();
        requests.extend(targets.iter().map(|target| Request::get(*target)));
        requests
    }

    fn ms(times: &[u64]) -> Vec<Duration> {
        times.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_class_is_the_method_and_the_path_unless_it_is_named() {
        let mut requests = requests(&["/a?page=1", "/a?page=2"]);
        requests.push("GET /orders/{id}", Request::get("/orders/1"));
        requests.push_generated("GET /orders/{id}", |round| {
            Request::get(format!("/orders/{round}"))
        });
        let classes = requests.classes(&ms(&[1, 1, 1, 1]));
        assert_eq!(
            classes.into_iter().collect::<Vec<_>>(),
            [
                ("GET /a".to_owned(), vec![0, 1]),
                ("GET /orders/{id}".to_owned(), vec![2, 3])
            ]
        );
        assert_eq!(requests.at(3, 7).target, "/orders/7");
    }

    #[test]
    fn the_heaviest_requests_are_a_class_where_there_are_such() {
        let heaviest = |targets: &[&str], times: &[u64]| {
            requests(targets).classes(&ms(times)).remove(HEAVIEST)
        };
        assert_eq!(
            heaviest(&["/a?1", "/a?2", "/a?3"], &[2, 9, 2]),
            Some(vec![1])
        );
        // None is heavier; there is one request; the heaviest one is a class already.
        assert_eq!(heaviest(&["/a?1", "/a?2", "/a?3"], &[10, 10, 14]), None);
        assert_eq!(heaviest(&["/a"], &[5]), None);
        assert_eq!(heaviest(&["/a", "/b", "/c"], &[1, 1, 9]), None);
        let many: Vec<String> = (0..100).map(|page| format!("/a?{page}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let times: Vec<u64> = (0..100)
            .map(|at| if at % 33 == 5 { 50 } else { 1 + at % 3 })
            .collect();
        assert_eq!(heaviest(&many, &times), Some(vec![5, 38, 71]));
    }
}
