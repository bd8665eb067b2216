use super::*;
use std::time::Duration;

const LIVE: Style = Style::Live { colour: false };

fn trying(port: u16) -> PortEvent {
    PortEvent::Trying { port }
}

/// A number that is tried, and in use.
fn busy(port: u16) -> [PortEvent; 2] {
    [trying(port), PortEvent::Busy { port }]
}

fn bound(port: u16, attempts: u64) -> PortEvent {
    PortEvent::Bound { port, attempts, took: Duration::ZERO }
}

fn waiting() -> PortEvent {
    PortEvent::Waiting { pause: Duration::from_millis(10) }
}

fn exhausted() -> PortEvent {
    PortEvent::Exhausted { range: 7777..=7876, tried: 100, count: 1 }
}

/// What is written for these, each as a piece.
fn pieces(events: &[PortEvent], style: Style) -> Vec<String> {
    let mut line = Line::default();
    events.iter().filter_map(|event| line.on(event, style)).collect()
}

/// Fails unless the lines are these, each written at once; and on a terminal the same, over all that came before.
#[track_caller]
fn assert_lines<const N: usize>(events: impl AsRef<[PortEvent]>, lines: [&str; N]) {
    let lines = lines.map(|line| format!("{line}\n"));
    assert_eq!(pieces(events.as_ref(), Style::Plain), lines);
    let live = pieces(events.as_ref(), LIVE).concat();
    let complete = live.split_inclusive('\n').map(|line| line.rsplit("\r\x1b[K").next().unwrap());
    assert_eq!(complete.collect::<Vec<_>>(), lines);
}

#[test]
fn a_number_in_use_is_told_with_the_one_that_is_had() {
    let [tried, found] = busy(7777);
    assert_lines([trying(7777), bound(7777, 1)], ["Trying 7777… ✓"]);
    assert_lines([tried, found, trying(7778), bound(7778, 2)], ["Trying 7777… in use, trying next… 7778 ✓"]);
}

#[test]
fn a_number_that_only_closed_connections_were_on_is_had_after_all() {
    let [tried, found] = busy(7777);
    assert_lines([tried, found, bound(7777, 2)], ["Trying 7777… ✓"]);
}

#[test]
fn the_only_number_is_in_use_and_there_is_no_next() {
    let [tried, found] = busy(7777);
    let none = PortEvent::Exhausted { range: 7777..=7777, tried: 1, count: 1 };
    assert_lines([tried, found, none], ["Trying 7777… ✗ in use"]);
}

#[test]
fn several_together_that_are_not_to_be_had_are_told_as_such() {
    let none = PortEvent::Exhausted { range: 7777..=7790, tried: 7, count: 8 };
    let events: Vec<_> = [busy(7784), busy(7783)].concat().into_iter().chain([none]).collect();
    let line = "Trying 7784… in use, trying next… (1 more in use) ✗ no 8 free together in 7777..=7790";
    assert_lines(events, [line]);
}

#[test]
fn many_numbers_in_use_are_counted() {
    let mut events: Vec<_> = (7777..7876).flat_map(busy).collect();
    events.extend([trying(7876), bound(7876, 100)]);
    assert_lines(events, ["Trying 7777… in use, trying next… (98 more in use) 7876 ✓"]);
}

#[test]
fn a_full_range_is_told() {
    let events: Vec<_> = busy(7777).into_iter().chain([exhausted()]).collect();
    assert_lines(events, ["Trying 7777… in use, trying next… ✗ no port free in 7777..=7876"]);
    // Nothing was tried: all are this process's own.
    assert_lines([exhausted()], ["✗ no port free in 7777..=7876"]);
}

#[test]
fn a_wait_is_told_once() {
    let [tried, found] = busy(7777);
    let round = [tried, found, waiting()];
    let wait = [round.clone(), round.clone(), round.clone()].concat();
    let told = "Trying 7777… in use, trying next… waiting for a port…";
    let had = [wait.clone(), vec![trying(7777), bound(7777, 1)]].concat();
    assert_lines(&had, [told, "Trying 7777… ✓"]);
    assert_lines([wait, vec![exhausted()]].concat(), [told, "✗ no port free in 7777..=7876"]);
    // The next wait is another.
    assert_lines([&had[..], &round].concat(), [told, "Trying 7777… ✓", told]);
    assert_lines([waiting(), bound(7777, 1)], ["waiting for a port…", "Trying 7777… ✓"]);
}

#[test]
fn what_is_tried_in_a_wait_is_not_shown() {
    let [tried, found] = busy(7777);
    let wait = [waiting(), tried, found, waiting(), trying(7777)];
    assert_eq!(pieces(&wait, LIVE), ["\r\x1b[Kwaiting for a port…\n"]);
}

#[test]
fn a_block_is_a_line_for_each_port() {
    let far_end_first = [trying(7779), trying(7778), trying(7777), bound(7777, 1), bound(7778, 1)];
    assert_lines(far_end_first, ["Trying 7777… ✓", "Trying 7778… ✓"]);
    let [tried, found] = busy(7778);
    let behind = [trying(7779), tried, found, trying(7781), trying(7780), bound(7780, 2), bound(7781, 2)];
    assert_lines(behind, ["Trying 7778… in use, trying next… 7780 ✓", "Trying 7781… ✓"]);
}

#[test]
fn what_an_error_left_is_not_the_next_ones() {
    // Refused at the first number; at the second, and then from the start again; of one exact number.
    assert_lines([trying(80), trying(7777), bound(7777, 1)], ["Trying 7777… ✓"]);
    let [tried, found] = busy(7777);
    let twice = [tried.clone(), found.clone(), trying(7778), tried.clone(), found.clone(), bound(7778, 2)];
    assert_lines(twice, ["Trying 7777… in use, trying next… 7778 ✓"]);
    assert_lines([tried, found, trying(20_000), bound(20_000, 1)], ["Trying 20000… ✓"]);
}

#[test]
fn what_becomes_of_a_port_is_not_shown() {
    let port = 7777;
    let life = [
        PortEvent::Lent { port },
        PortEvent::Borrowed { port, pid: None, program: None },
        PortEvent::Stolen { port, pid: None, program: None },
        PortEvent::Reclaimed { port },
        PortEvent::HandedOver { port, to: "a listener" },
        PortEvent::Released { port },
    ];
    assert_lines(&life, []);
    // Nor does it end a line: a thread may drop its ports in between.
    let [tried, found] = busy(7776);
    let events = [&[tried, found][..], &life, &[bound(7777, 2)]].concat();
    assert_lines(events, ["Trying 7776… in use, trying next… 7777 ✓"]);
}

#[test]
fn threads_have_lines_of_their_own() {
    let next = |event: PortEvent| next(&event, Style::Plain).unwrap_or_default();
    let [tried, found] = busy(7777);
    assert_eq!(next(tried) + &next(found), "");
    let other = std::thread::spawn(move || next(bound(20_001, 2)));
    assert_eq!(other.join().unwrap(), "Trying 20001… ✓\n");
    assert_eq!(next(bound(7778, 2)), "Trying 7777… in use, trying next… 7778 ✓\n");
}

#[test]
fn a_terminal_shows_the_line_as_it_grows() {
    let mut events: Vec<_> = (7777..7779).flat_map(busy).collect();
    events.extend([trying(7779), bound(7779, 3)]);
    assert_eq!(
        pieces(&events, LIVE),
        [
            "\r\x1b[KTrying 7777… ",
            "\r\x1b[KTrying 7777… in use, trying next… ",
            "\r\x1b[KTrying 7777… in use, trying next… (1 more in use) ",
            "\r\x1b[KTrying 7777… in use, trying next… (1 more in use) 7779 ✓\n",
        ]
    );
}

#[test]
fn good_is_green_and_bad_is_red() {
    let colours = Style::Live { colour: true };
    assert_eq!(
        pieces(&[bound(7777, 1), exhausted(), waiting()], colours),
        [
            "\r\x1b[K\x1b[2mTrying 7777… \x1b[0m\x1b[32m✓\x1b[0m\n",
            "\r\x1b[K\x1b[31m✗ no port free in 7777..=7876\x1b[0m\n",
            "\r\x1b[K\x1b[2mwaiting for a port…\x1b[0m\n",
        ]
    );
}

#[test]
fn a_line_fits_a_terminal_until_it_is_complete() {
    let mut line = Line { first: Some(u16::MAX), busy: u16::MAX.into(), waiting: false };
    assert!(line.so_far().chars().count() < 80);
    assert!(line.on(&waiting(), Style::Plain).unwrap().chars().count() < 80);
}

#[test]
fn the_terminal_and_two_variables_decide_the_style() {
    let colours = Style::Live { colour: true };
    for (terminal, term, no_color, style) in [
        (true, Some("xterm"), None, colours),
        (true, None, None, colours),
        (true, Some("xterm"), Some(""), colours),
        (true, Some("xterm"), Some("1"), LIVE),
        (true, Some("dumb"), None, Style::Plain),
        (false, Some("xterm"), None, Style::Plain),
    ] {
        let var = |name: &str| if name == "TERM" { term } else { no_color }.map(OsString::from);
        assert_eq!(Style::new(terminal, var), style, "{terminal} {term:?} {no_color:?}");
    }
}
