use super::*;
use crate::near;
use proptest::prelude::*;
use std::cell::Cell;

fn var<'a>(vars: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
    move |name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
}

/// The parts of a process in this environment, in no container.
fn parts_of(vars: &[(&str, &str)]) -> Result<(Part, Part)> {
    parts(var(vars), |_| "")
}

fn nextest(run: &str, slot: &str, threads: &str) -> Part {
    let vars =
        [("NEXTEST_RUN_ID", run), ("NEXTEST_TEST_GLOBAL_SLOT", slot), ("NEXTEST_TEST_THREADS", threads)];
    parts_of(&vars).unwrap().1
}

#[test]
fn a_slot_of_nextest_is_a_part() {
    let turn = turn_of("a run");
    assert_eq!(nextest("a run", "3", "8"), Part { index: 3, of: 8, turn });
    assert_eq!(nextest("a run", "70", "8").index, 6);
    assert_eq!(nextest("a run", "70", "0"), Part { index: 6, of: SLOTS, turn });
    assert_eq!(nextest("a run", "1", "x").of, SLOTS);
    assert_eq!(nextest("a run", "many", "8"), Part::whole(turn), "an older nextest says its run alone");
    assert_eq!(parts_of(&[("NEXTEST_TEST_GLOBAL_SLOT", "3")]).unwrap(), (Part::WHOLE, Part::WHOLE));
}

#[test]
fn the_variable_is_the_outer_part_and_the_slot_is_inside_of_it() {
    let vars = [
        ("HELDPORT_LANE", " 1/ 4"),
        ("NEXTEST_RUN_ID", "a run"),
        ("NEXTEST_TEST_GLOBAL_SLOT", "3"),
        ("NEXTEST_TEST_THREADS", "8"),
        // It counts for less.
        ("GITLAB_CI", "true"),
        ("CI_NODE_INDEX", "3"),
        ("CI_NODE_TOTAL", "3"),
    ];
    let (outer, inner) = parts_of(&vars).unwrap();
    assert_eq!(outer, Part { index: 1, of: 4, turn: 0 });
    assert_eq!(inner, Part { index: 3, of: 8, turn: turn_of("a run") });
    assert_eq!(parts_of(&vars[3..]).unwrap().0.of, 3, "without the variable");
}

#[test]
fn a_lane_in_code_is_what_it_says() {
    let spot = Lane::Fixed { index: 2, of: 3 }.spot().unwrap();
    assert_eq!((spot.outer, spot.inner), (Part { index: 2, of: 3, turn: 0 }, Part::WHOLE));
}

#[test]
fn a_variable_that_makes_no_sense_is_an_error_that_says_what_to_write() {
    for (given, next) in [
        ("4/4", "3/4` for the last"),
        ("0/0", "`0/1` for the whole range"),
        ("3", "or unset it"),
        ("-1/4", "or unset it"),
        ("a/b", "or unset it"),
        ("1/4/2", "or unset it"),
        ("/", "or unset it"),
        ("\u{fffd}", "or unset it"),
        ("0/4294967296", "or unset it"),
    ] {
        let error = parts_of(&[(VARIABLE, given)]).unwrap_err();
        assert!(matches!(error, Error::InvalidVariable { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("HELDPORT_LANE={given},")) && text.contains("\nnext: "), "{text}");
        assert!(text.ends_with(next), "{text}");
    }
    for empty in ["", " "] {
        assert_eq!(parts_of(&[(VARIABLE, empty)]).unwrap(), (Part::WHOLE, Part::WHOLE));
    }
}

#[test]
fn jobs_and_containers_start_elsewhere_and_nobody_looks_for_them_under_nextest() {
    let asked = Cell::new(None);
    let turn = |vars: &[(&str, &str)], container: &'static str| {
        asked.set(None);
        let parts = parts(var(vars), |surely| {
            asked.set(Some(surely));
            container
        });
        let (outer, inner) = parts.unwrap();
        assert_eq!((outer, inner.of), (Part::WHOLE, 1));
        inner.turn
    };
    let job = [("CI_JOB_ID", "1"), ("KUBERNETES_SERVICE_HOST", "10.96.0.1")];
    let turns = [
        turn(&[], ""),
        turn(&[], "a container"),
        turn(&job[..1], ""),
        turn(&job, "a container"),
        turn(&job, "another"),
        turn(&[("CI_JOB_ID", "2")], ""),
    ];
    assert_eq!(turns[0], 0);
    for (index, one) in turns.iter().enumerate() {
        assert!(!turns[index + 1..].contains(one), "{turns:?}");
    }
    assert_eq!(asked.get(), Some(false));
    turn(&job, "a container");
    assert_eq!(asked.get(), Some(true), "a pod is a container for sure");
    turn(&[job[0], job[1], ("NEXTEST_RUN_ID", "a run")], "a container");
    assert_eq!(asked.get(), None);
}

proptest! {
    #[test]
    fn a_part_is_one_of_those_there_are_whatever_the_environment_says(
        lane in prop::option::of(near::text(&["0/4", " 1/ 4", "3/4"])),
        run in prop::option::of(near::text(&["c8b9e3"])),
        numbers in prop::collection::vec(prop::option::of(near::text(&["1", "8"])), 4),
        (gitlab, names) in any::<(Option<String>, [Option<String>; 3])>(),
    ) {
        let names = names.into_iter().chain([lane.clone(), run, gitlab]).chain(numbers.iter().cloned());
        let said: Vec<_> = [
            "GITHUB_RUN_ID", "CI_JOB_ID", "KUBERNETES_SERVICE_HOST", VARIABLE, "NEXTEST_RUN_ID", "GITLAB_CI",
            "NEXTEST_TEST_GLOBAL_SLOT", "NEXTEST_TEST_THREADS", "CI_NODE_INDEX", "CI_NODE_TOTAL",
        ].into_iter().zip(names).collect();
        let parts = parts(|name| said.iter().find(|(key, _)| *key == name)?.1.clone(), |_| "a container");
        match parts {
            Ok((outer, inner)) => prop_assert!(outer.index < outer.of && inner.index < inner.of),
            Err(e) => prop_assert!(matches!(e, Error::InvalidVariable { .. }) && lane.is_some(), "{e}"),
        }
    }

    #[test]
    fn a_part_is_read_as_it_is_written(index: u32, of: u32) {
        let expected = (index < of).then_some(Part { index, of, turn: 0 });
        prop_assert_eq!(parse(&format!("{index}/{of}")).ok(), expected);
    }
}
