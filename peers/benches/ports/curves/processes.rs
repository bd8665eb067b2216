//! Processes that all acquire their first port at the same moment.

use std::iter::successors;

use anyhow::Result;
use heldport_peers::figures::{Axis, Curve, Line};
use heldport_peers::peers;

use super::{line, micros, number, rounded};
use crate::at_once::{Crowd, Report, Who, with_shared_numbers};
use crate::effort::Effort;
use crate::many::room;
use crate::turns::{Contender, median, take_turns};

/// A level has at least so many processes in all its rounds, for a median.
const LEAST: usize = 64;

/// Files that a process needs here for another one.
const FILES: usize = 3;

/// By their places among the peers.
const PORTPICKER: usize = 1;
const BIND: usize = peers::ALL.len() - 1;

const CONTENDERS: [Who; 5] = [Who::Slots, Who::Raw, Who::Peer(PORTPICKER), Who::Peer(BIND), Who::Alone];

pub(crate) fn curves(effort: &Effort) -> Result<Vec<Curve>> {
    let levels = Levels::measured(effort)?;
    Ok(vec![time(&levels), conflicts(&levels)])
}

fn time(levels: &Levels) -> Curve {
    let time = |turns: &[Turn]| micros(median(turns.iter().flatten().map(|report| report.time)));
    Curve {
        name: "processes-time".into(),
        title: "The first port of a process, by how many start at once".into(),
        reading: "Median time of a process's first acquisition, on a scale of tenfold steps: where more processes want \
                  to run than there are processors, the system's turns are part of it; ours has to stay beside the bare \
                  sockets, which are told numbers that nobody else tries."
            .into(),
        x: Axis::log(RIGHT),
        y: Axis::log("time, µs"),
        lines: vec![
            levels.line("heldport, slots of a nextest run", Who::Slots, &time),
            levels.line("socket, bind (raw), told a free number", Who::Raw, &time),
            levels.line(peers::ALL[PORTPICKER].name, Who::Peer(PORTPICKER), &time),
        ],
    }
}

fn conflicts(levels: &Levels) -> Curve {
    let again = |turns: &[Turn]| {
        share(turns, |reports| reports.iter().filter(|report| report.tried_again > 0).count())
    };
    let shared = |turns: &[Turn]| share(turns, with_shared_numbers);
    let portpicker = format!("{}: the same number", peers::ALL[PORTPICKER].name);
    Curve {
        name: "processes-conflicts".into(),
        title: "Processes whose first number is somebody else's".into(),
        reading: "The share of processes for which the first number did not do: of heldport, where it was in use, which \
                  bind noticed, and the next one was taken; of the others, where two were given the same number and \
                  nobody noticed."
            .into(),
        x: Axis::log(RIGHT),
        y: Axis::even("processes, %"),
        lines: vec![
            levels.line("heldport, slots of a nextest run: took the next one", Who::Slots, &again),
            levels.line("heldport, told nothing: took the next one", Who::Alone, &again),
            levels.line(&portpicker, Who::Peer(PORTPICKER), &shared),
            levels.line("std, bind(0) and drop: the same number", Who::Peer(BIND), &shared),
        ],
    }
}

const RIGHT: &str = "processes at once, each with its first port";

/// What the processes of one round say.
type Turn = Vec<Report>;

/// How many at once, and the rounds of each contender.
struct Levels(Vec<(usize, Vec<Vec<Turn>>)>);

impl Levels {
    fn measured(effort: &Effort) -> Result<Self> {
        let most = effort.at_once.min(room() / FILES);
        let counts = successors(Some(1), |count| Some(count * 2)).take_while(|count| *count <= most);
        let level = |count: usize| {
            let turn = |who| -> Contender<'_, Turn> { Box::new(move || Crowd::start(who, count, 1)?.go()) };
            let rounds = effort.long_rounds.max(LEAST.min(effort.at_once) / count);
            Ok((count, take_turns(rounds, &mut CONTENDERS.map(turn))?))
        };
        counts.map(level).collect::<Result<_>>().map(Self)
    }

    fn line(&self, name: &str, who: Who, value: &dyn Fn(&[Turn]) -> f64) -> Line {
        let index = CONTENDERS.iter().position(|contender| *contender == who).expect("it was measured");
        line(name, self.0.iter().map(|(count, turns)| (number(*count), value(&turns[index]))))
    }
}

/// In percent of all processes of all rounds.
fn share(turns: &[Turn], of: impl Fn(&[Report]) -> usize) -> f64 {
    let some: usize = turns.iter().map(|reports| of(reports)).sum();
    let all: usize = turns.iter().map(Vec::len).sum();
    rounded(100.0 * number(some) / number(all))
}
