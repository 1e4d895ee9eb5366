//! Every order of events that a server, a network and a dying gateway can produce, walked through to the end.
//!
//! The model: one cut, one server. An INSERT may not arrive; lie in the queue; run late; fail before it did anything;
//! note its token and then fail, which poisons the token; commit and lose its answer. The server may be killed at any
//! moment, with or without its notes of tokens. The gateway may give up waiting, or die, at any moment, and goes on with
//! what it made durable: the cut's epoch. The space of these states is finite, and all of it is visited.

use std::collections::{HashMap, HashSet, VecDeque};

use super::*;

/// Attempts that may be under way at once; more wait for nothing that fewer do not.
const MOST_REQUESTS: usize = 3;
/// How often a token may be poisoned, which bounds the epochs.
const MOST_POISONED: u8 = 2;

/// How far the server got with an INSERT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage {
    /// In the socket's queue: in neither the count nor the list of processes.
    Queued,
    /// Its rows are read.
    Running,
    /// Its token is noted, its part is not there yet.
    Noted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Request {
    epoch: u8,
    stage: Stage,
    /// Whether the gateway still waits for its answer.
    awaited: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Gateway {
    /// About to ask what this state asks.
    Asks(State),
    /// Waits for the INSERT of this state.
    Waits(State),
    /// Was told that the cut is stored.
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    gateway: Gateway,
    /// The epoch that is durable in the gateway's log.
    epoch: u8,
    /// Sorted, so that equal worlds look the same.
    requests: Vec<Request>,
    /// Copies of the cut that are visible.
    copies: u8,
    /// Epochs whose token the server has noted, as bits.
    tokens: u8,
    poisoned: u8,
}

/// A protocol, and what a power loss does to questions.
#[derive(Clone, Copy)]
struct Rules {
    next: fn(State, Event) -> Next,
    power_loss: PowerLoss,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PowerLoss {
    /// Whatever was under way, or is asked meanwhile, ends in an error.
    EndsAll,
    /// A proxy keeps requests that it has not passed on yet.
    KeepsQueue,
    /// The server is back before the next question is asked.
    IsOverAtOnce,
}

#[derive(Debug, Default)]
struct Explored {
    worlds: usize,
    /// Worlds in which the gateway believes in a cut that is not there.
    lost: usize,
    /// Worlds with two copies.
    doubled: usize,
    /// Worlds from which no order of events leads to the end.
    stuck: usize,
    /// The highest epoch reached.
    epochs: u8,
}

impl World {
    fn new() -> Self {
        let gateway = Gateway::Asks(State::begin(true));
        Self { gateway, epoch: 0, requests: Vec::new(), copies: 0, tokens: 0, poisoned: 0 }
    }

    fn changed(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut world = self.clone();
        change(&mut world);
        world.requests.sort_unstable();
        world
    }

    /// The gateway is told something.
    fn told(&mut self, rules: Rules, event: Event) {
        let (Gateway::Asks(state) | Gateway::Waits(state)) = self.gateway else { return };
        self.gateway = match (rules.next)(state, event) {
            Next::Ask(state) => Gateway::Asks(state),
            Next::End(Outcome::Done) => Gateway::Done,
            Next::End(Outcome::Retry | Outcome::StillRunning) => Gateway::Asks(State::begin(false)),
            Next::End(Outcome::Lost) => {
                self.epoch += 1;
                Gateway::Asks(State::begin(true))
            }
            Next::End(outcome @ (Outcome::Refused | Outcome::Torn)) => unreachable!("{outcome:?}"),
        };
    }

    /// A request ends with this answer, which may get lost on its way.
    fn answered(&self, at: usize, rules: Rules, event: Event, change: impl Fn(&mut Self)) -> Vec<Self> {
        let ended = |event| {
            self.changed(|world| {
                change(world);
                if world.requests.remove(at).awaited {
                    world.told(rules, event);
                }
            })
        };
        vec![ended(event), ended(Event::Unknown)]
    }

    fn followers(&self, rules: Rules) -> Vec<Self> {
        let mut worlds = self.of_gateway(rules);
        for at in 0..self.requests.len() {
            worlds.extend(self.of_request(at, rules));
        }
        worlds.extend(self.of_death(rules));
        worlds
    }

    fn of_gateway(&self, rules: Rules) -> Vec<Self> {
        match self.gateway {
            Gateway::Done => Vec::new(),
            Gateway::Waits(_) => vec![self.changed(|world| {
                world.requests.iter_mut().for_each(|request| request.awaited = false);
                world.told(rules, Event::Unknown);
            })],
            Gateway::Asks(state) => {
                // It may die before it asks, or get no answer.
                let mut worlds = vec![
                    self.changed(|world| world.gateway = Gateway::Asks(State::begin(false))),
                    self.changed(|world| world.told(rules, Event::Unknown)),
                ];
                match state.question() {
                    Question::Insert if self.requests.len() < MOST_REQUESTS => {
                        worlds.push(self.changed(|world| {
                            let (epoch, stage) = (world.epoch, Stage::Queued);
                            world.requests.push(Request { epoch, stage, awaited: true });
                            world.gateway = Gateway::Waits(state);
                        }));
                    }
                    Question::Insert => {}
                    Question::Count => {
                        let rows = if self.copies == 0 { Rows::None } else { Rows::All };
                        worlds.push(self.changed(|world| world.told(rules, Event::Rows(rows))));
                    }
                    Question::Running => {
                        let running = self.requests.iter().any(|request| request.stage != Stage::Queued);
                        worlds.push(self.changed(|world| world.told(rules, Event::Running(running))));
                    }
                }
                worlds
            }
        }
    }

    fn of_request(&self, at: usize, rules: Rules) -> Vec<Self> {
        let Request { epoch, stage, .. } = self.requests[at];
        let token = 1 << epoch;
        match stage {
            Stage::Queued => vec![self.changed(|world| world.requests[at].stage = Stage::Running)],
            Stage::Running => {
                let mut worlds = self.answered(at, rules, Event::Unknown, |_| {});
                if self.tokens & token != 0 {
                    worlds.extend(self.answered(at, rules, Event::Answered(Answer::Stored), |_| {}));
                } else {
                    worlds.push(self.changed(|world| {
                        world.tokens |= token;
                        world.requests[at].stage = Stage::Noted;
                    }));
                }
                worlds
            }
            Stage::Noted => {
                let stored = Event::Answered(Answer::Stored);
                let mut worlds = self.answered(at, rules, stored, |world| world.copies += 1);
                if self.poisoned < MOST_POISONED {
                    worlds.extend(self.answered(at, rules, Event::Unknown, |world| world.poisoned += 1));
                }
                worlds
            }
        }
    }

    /// The server is killed, or loses its power and with it the notes of tokens.
    fn of_death(&self, rules: Rules) -> Vec<Self> {
        let noted = self.requests.iter().filter(|request| request.stage == Stage::Noted).count();
        let poisoned = self.poisoned + u8::try_from(noted).unwrap();
        let died = |tokens: u8, poisoned: u8, keep_queue: bool, fails: fn(Gateway) -> bool| {
            self.changed(|world| {
                (world.tokens, world.poisoned) = (tokens, poisoned);
                world.requests.retain(|request| keep_queue && request.stage == Stage::Queued);
                world.requests.iter_mut().for_each(|request| request.awaited = false);
                if fails(world.gateway) {
                    world.told(rules, Event::Unknown);
                }
            })
        };
        let mut worlds = Vec::new();
        let waits = |gateway| matches!(gateway, Gateway::Waits(_));
        if poisoned <= MOST_POISONED {
            worlds.push(died(self.tokens, poisoned, false, waits));
        }
        worlds.push(match rules.power_loss {
            PowerLoss::EndsAll => died(0, self.poisoned, false, |_| true),
            PowerLoss::KeepsQueue => died(0, self.poisoned, true, |_| true),
            PowerLoss::IsOverAtOnce => died(0, self.poisoned, false, waits),
        });
        worlds
    }
}

/// Visits every world that follows from the first one.
fn explore(rules: Rules) -> Explored {
    let mut explored = Explored::default();
    let mut leads_to: HashMap<World, Vec<World>> = HashMap::new();
    let mut seen: HashSet<World> = HashSet::from([World::new()]);
    let mut next: VecDeque<World> = VecDeque::from([World::new()]);
    while let Some(world) = next.pop_front() {
        explored.worlds += 1;
        explored.epochs = explored.epochs.max(world.epoch);
        explored.lost += usize::from(world.gateway == Gateway::Done && world.copies == 0);
        explored.doubled += usize::from(world.copies > 1);
        if world.copies > 1 || world.epoch > MOST_POISONED + 1 {
            continue;
        }
        for follower in world.followers(rules) {
            leads_to.entry(follower.clone()).or_default().push(world.clone());
            if seen.insert(follower.clone()) {
                next.push_back(follower);
            }
        }
    }
    let mut ends: HashSet<World> =
        seen.iter().filter(|world| world.gateway == Gateway::Done || world.copies > 1).cloned().collect();
    let mut back: Vec<World> = ends.iter().cloned().collect();
    while let Some(world) = back.pop() {
        for before in leads_to.get(&world).into_iter().flatten() {
            if ends.insert(before.clone()) {
                back.push(before.clone());
            }
        }
    }
    explored.stuck = seen.len() - ends.len();
    explored
}

fn rules(next: fn(State, Event) -> Next) -> Rules {
    Rules { next, power_loss: PowerLoss::EndsAll }
}

#[test]
fn no_order_of_events_loses_or_doubles_a_cut_or_leaves_it_undecided() {
    let explored = explore(rules(State::next));
    assert!(explored.worlds > 1_000, "{explored:?}");
    assert_eq!(explored.epochs, MOST_POISONED, "each poisoned token costs one epoch: {explored:?}");
    assert_eq!((explored.lost, explored.doubled, explored.stuck), (0, 0, 0), "{explored:?}");
}

/// What is usually done: the same token until the server says OK.
#[test]
fn trust_in_a_later_ok_loses() {
    let explored = explore(rules(|state, event| match (state, event) {
        (State::Again, Event::Answered(Answer::Stored)) => Next::End(Outcome::Done),
        _ => state.next(event),
    }));
    assert!(explored.lost > 0, "{explored:?}");
}

#[test]
fn a_new_token_without_an_ok_doubles() {
    let explored = explore(rules(|state, event| match (state, event) {
        (State::Before, Event::Rows(Rows::None)) => Next::Ask(State::Counting(Answer::Stored)),
        _ => state.next(event),
    }));
    assert!(explored.doubled > 0, "{explored:?}");
}

#[test]
fn a_new_token_while_something_runs_doubles() {
    let explored = explore(rules(|state, event| match (state, event) {
        (State::Quiet(answer), Event::Running(true)) => Next::Ask(State::Last(answer)),
        _ => state.next(event),
    }));
    assert!(explored.doubled > 0, "{explored:?}");
}

#[test]
fn a_new_token_without_a_second_count_doubles() {
    let explored = explore(rules(|state, event| match (state, event) {
        (State::Quiet(_), Event::Running(false)) => Next::End(Outcome::Lost),
        _ => state.next(event),
    }));
    assert!(explored.doubled > 0, "{explored:?}");
}

/// The limits that the module names.
#[test]
fn a_power_loss_may_double_what_it_does_not_end() {
    for power_loss in [PowerLoss::KeepsQueue, PowerLoss::IsOverAtOnce] {
        let explored = explore(Rules { next: State::next, power_loss });
        assert!(explored.lost == 0 && explored.doubled > 0, "{power_loss:?}: {explored:?}");
    }
}

#[test]
fn a_refusal_is_believed_only_without_rows_and_with_nothing_on_the_way() {
    let refused = Event::Answered(Answer::Refused);
    let counting = State::Counting(Answer::Refused);
    for state in [State::First, State::Again] {
        assert_eq!(state.next(refused), Next::Ask(counting));
    }
    assert_eq!(counting.next(Event::Rows(Rows::All)), Next::End(Outcome::Done));
    assert_eq!(counting.next(Event::Rows(Rows::None)), Next::Ask(State::Quiet(Answer::Refused)));
    let quiet = State::Quiet(Answer::Refused);
    assert_eq!(quiet.next(Event::Running(true)), Next::End(Outcome::StillRunning));
    assert_eq!(quiet.next(Event::Running(false)), Next::Ask(State::Last(Answer::Refused)));
    let last = State::Last(Answer::Refused);
    assert_eq!(last.next(Event::Rows(Rows::None)), Next::End(Outcome::Refused));
    assert_eq!(last.next(Event::Rows(Rows::All)), Next::End(Outcome::Done));
}

#[test]
fn a_part_of_the_rows_is_completed_once_and_then_named() {
    assert_eq!(State::Before.next(Event::Rows(Rows::Some)), Next::Ask(State::Again));
    for answer in [Answer::Stored, Answer::Refused] {
        for state in [State::Counting(answer), State::Last(answer)] {
            assert_eq!(state.next(Event::Rows(Rows::Some)), Next::End(Outcome::Torn));
        }
    }
}

#[test]
fn an_unknown_answer_decides_nothing() {
    let counted = [State::Counting, State::Quiet, State::Last];
    let answers = [Answer::Stored, Answer::Refused];
    let all = answers.iter().flat_map(|&answer| counted.map(|state| state(answer)));
    for state in all.chain([State::First, State::Before, State::Again]) {
        assert_eq!(state.next(Event::Unknown), Next::End(Outcome::Retry), "{state:?}");
    }
}
