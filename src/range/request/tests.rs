use std::collections::HashSet;
use std::ops::RangeInclusive;

use proptest::prelude::*;

use super::*;
use crate::near;

fn request(text: &str) -> PortRequest {
    text.parse().unwrap_or_else(|e| panic!("{e}"))
}

/// What the allocator tries, with the index at which it starts; none where the lane says.
fn tried(request: &PortRequest) -> Vec<(Vec<u16>, Option<usize>)> {
    let listed = |stretch| match stretch {
        Stretch::Kernel => panic!("the default range has room on this machine"),
        Stretch::Numbers { numbers, start } => {
            let all = (0..numbers.len()).map(|index| numbers.nth(index)).collect();
            (all, if let Start::At(index) = start { Some(index) } else { None })
        }
    };
    request.stretches().unwrap().into_iter().map(listed).collect()
}

/// Whether the allocator may pick the number.
fn wants(request: &PortRequest, port: u16) -> bool {
    request.stretches().unwrap().iter().any(|stretch| match stretch {
        Stretch::Numbers { numbers, .. } => numbers.contains(port),
        Stretch::Kernel => request.allows(port),
    })
}

#[test]
fn parts_are_stretches_in_their_order() {
    let stretches = tried(&request("9002,9001,8010-8012,9003,8013-8014"));
    assert_eq!(
        stretches,
        [
            (vec![9002, 9001], Some(0)),
            (vec![8010, 8011, 8012], None),
            (vec![9003], Some(0)),
            (vec![8013, 8014], None),
        ]
    );
}

#[test]
fn a_number_is_in_the_first_stretch_that_has_it() {
    let stretches = tried(&request("8012,8012,8010-8014,8013,8014-8016,8010-8016"));
    assert_eq!(
        stretches,
        [(vec![8012], Some(0)), (vec![8010, 8011, 8013, 8014], None), (vec![8015, 8016], None)]
    );
}

#[test]
fn well_known_numbers_are_left_out_of_ranges_alone() {
    assert_eq!(tried(&request("8079-8082,8081")), [(vec![8079, 8082], None), (vec![8081], Some(0))]);
    assert_eq!(tried(&request("8079-8082,+well-known")), [(vec![8079, 8080, 8081, 8082], None)]);
    assert_eq!(tried(&request("8079-8082,prefer=8081")), [(vec![8079, 8081, 8082], Some(1))]);
}

#[test]
fn excluded_numbers_are_left_out_everywhere() {
    assert_eq!(
        tried(&request("9002,9001,9003-9005,!9001,!9004-9010")),
        [(vec![9002], Some(0)), (vec![9003], None)]
    );
    assert_eq!(tried(&request("8000-8010,8015,!8000-8010")), [(vec![8015], Some(0))], "no empty stretch");
    let without = request("5430-5433,3306,27017,!databases,+well-known");
    assert_eq!(tried(&without), [(vec![5430, 5431, 5433], None)]);
}

#[test]
fn with_a_preference_the_search_goes_round_all_parts() {
    let stretches = tried(&request("8010-8012,9001,8005-8007,prefer=9001"));
    assert_eq!(stretches, [(vec![8010, 8011, 8012, 9001, 8005, 8006, 8007], Some(3))]);
    let up = tried(&request("prefer=65533,!65534"));
    assert_eq!(up, [(vec![65_533, 65_535], Some(0))], "never past 65535");
    let [(up, Some(0))] = &tried(&request("prefer=8080"))[..] else { panic!("one stretch") };
    assert_eq!((up[0], up[1], up.last()), (8080, 8082, Some(&u16::MAX)));
}

#[test]
fn any_is_the_default_range_without_what_was_tried() {
    let Some(default) = default_numbers().unwrap() else {
        panic!("the default range has room on this machine")
    };
    let all: HashSet<_> = (0..default.len()).map(|index| default.nth(index)).collect();
    let [(numbers, None)] = &tried(&PortRequest::any())[..] else { panic!("one stretch") };
    assert!(numbers.iter().all(|port| all.contains(port) && PortRequest::any().allows(*port)));
    let left = numbers.len();
    assert!(left + 100 > all.len() && left < all.len(), "{left} of {}", all.len());

    let [(first, Some(0)), (rest, None)] = &tried(&request("12345,any,!12346"))[..] else { panic!() };
    assert_eq!((&first[..], rest.len()), (&[12_345][..], left - 2));
    assert!(!rest.contains(&12_345) && !rest.contains(&12_346));
}

#[test]
fn where_nothing_is_left_of_the_default_range_the_kernel_picks() {
    let request = request("8002,any,!10000-65535");
    let stretches = request.stretches().unwrap();
    assert!(matches!(stretches[..], [Stretch::Numbers { .. }, Stretch::Kernel]), "{stretches:?}");
    for (port, wanted) in [(8002, true), (8003, true), (8080, false), (10_001, false), (0, false)] {
        assert_eq!((request.allows(port), wants(&request, port)), (wanted, wanted), "{port}");
    }
}

#[test]
fn what_is_wanted_is_what_is_tried() {
    let request = request("8079-8082,8081,9001,!9000-9001,8500");
    for (port, wanted) in
        [(8079, true), (8080, false), (8081, true), (8500, true), (9001, false), (9002, false)]
    {
        assert_eq!(wants(&request, port), wanted, "{port}");
    }
    assert!(!request.allows(9001) && !request.allows(8500) && request.allows(9002));
}

#[test]
fn what_is_set_in_any_order_is_checked_when_all_is_said() {
    let mut request = PortRequest::any();
    request.set_prefer(5432).unwrap();
    request.set_range(PortRange::new(5432..=5433).unwrap());
    request.add_excluded([5433]).unwrap();
    request.check().unwrap();
    assert_eq!(tried(&request), [(vec![5432], Some(0))]);
    request.set_range(PortRange::new(5433..=5433).unwrap());
    assert!(request.check().unwrap_err().to_string().contains("not in the range"));
    request.set_prefer(5433).unwrap();
    assert!(request.check().unwrap_err().to_string().contains("excluded"));
    assert!(request.set_prefer(0).is_err() && request.add_excluded([0]).is_err());
}

/// A request, as a model that knows nothing of runs.
#[derive(Debug, Clone)]
struct Model {
    /// A single number is marked.
    parts: Vec<(RangeInclusive<u16>, bool)>,
    excluded: Vec<RangeInclusive<u16>>,
    prefer: Option<u16>,
    well_known: bool,
}

impl Model {
    fn text(&self) -> String {
        let ends = |range: &RangeInclusive<u16>| format!("{}-{}", range.start(), range.end());
        let part = |(range, one): &(RangeInclusive<u16>, bool)| match one {
            true => range.start().to_string(),
            false => ends(range),
        };
        let mut tokens: Vec<_> = self.parts.iter().map(part).collect();
        tokens.extend(self.excluded.iter().map(|range| format!("!{}", ends(range))));
        tokens.extend(self.prefer.map(|port| format!("prefer={port}")));
        tokens.extend(self.well_known.then(|| "+well-known".to_owned()));
        tokens.join(",")
    }

    /// The numbers of each part, without those of the parts before.
    fn numbers(&self) -> Vec<Vec<u16>> {
        let well_known: HashSet<_> = WellKnown::ALL.iter().copied().flatten().collect();
        let mut seen: HashSet<_> = self.excluded.iter().cloned().flatten().collect();
        let of_part = |(range, one): &(RangeInclusive<u16>, bool)| {
            let may_be = |port: &u16| {
                *one || self.well_known || self.prefer == Some(*port) || !well_known.contains(port)
            };
            range.clone().filter(may_be).filter(|port| seen.insert(*port)).collect()
        };
        self.parts.iter().map(of_part).collect()
    }

    /// What its author could not have meant.
    fn is_refused(&self) -> bool {
        let excluded = |port| self.excluded.iter().any(|range| range.contains(&port));
        let missing = |port| !self.parts.iter().any(|(range, _)| range.contains(&port));
        self.prefer.is_some_and(|port| excluded(port) || missing(port))
            || self.numbers().iter().all(Vec::is_empty)
    }
}

/// Few numbers, so that they meet; 8000, 8001, 8080 and 8081 are well-known.
fn number() -> impl Strategy<Value = u16> {
    prop_oneof![7996..8006_u16, 8078..8084_u16]
}

fn run() -> impl Strategy<Value = RangeInclusive<u16>> {
    (number(), 0..5_u16).prop_map(|(first, more)| first..=first + more)
}

fn model() -> impl Strategy<Value = Model> {
    let part =
        prop_oneof![run().prop_map(|range| (range, false)), number().prop_map(|one| (one..=one, true))];
    let (parts, excluded) = (prop::collection::vec(part, 1..8), prop::collection::vec(run(), 0..3));
    let prefer = prop_oneof![Just(None), number().prop_map(Some)];
    (parts, excluded, prefer, any::<bool>()).prop_map(|(parts, excluded, prefer, well_known)| Model {
        parts,
        excluded,
        prefer,
        well_known,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_numbers_are_those_of_a_naive_model(model in model()) {
        let request = model.text().parse::<PortRequest>();
        prop_assert_eq!(request.is_err(), model.is_refused(), "{:?}", request);
        let Ok(request) = request else { return Ok(()) };
        let all: Vec<u16> = model.numbers().concat();
        let stretches = tried(&request);
        let (numbers, _): (Vec<_>, Vec<_>) = stretches.iter().cloned().unzip();
        prop_assert_eq!(numbers.concat(), &all[..], "in this order");
        for port in 7990..8090 {
            prop_assert_eq!(wants(&request, port), all.contains(&port));
        }
        if let Some(port) = model.prefer {
            let [(numbers, Some(start))] = &stretches[..] else { panic!("{stretches:?}") };
            prop_assert_eq!(numbers[*start], port);
        }
    }
}

const WRITTEN: [&str; 4] = [
    "8000-8100,9000,any",
    "8000..8101, 9000, !8013",
    "7000..,prefer=8050,!databases,+well-known",
    "8000..=8100",
];

proptest! {
    #[test]
    fn what_is_understood_is_written_so_that_it_is_understood_again(text in near::text(&WRITTEN)) {
        if let Ok(request) = text.parse::<PortRequest>() {
            prop_assert_eq!(request.to_string().parse::<PortRequest>().unwrap(), request);
        }
        let parts: Vec<_> = text.split(',').map(str::trim).collect();
        for part in parts {
            let port = part.parse::<Port>().ok().map(Port::get);
            prop_assert_eq!(port, part.parse::<u16>().ok().filter(|number| *number != 0));
            if let Ok(set) = part.parse::<WellKnown>() {
                prop_assert!(WellKnown::ALL.contains(&set));
            }
        }
    }
}

#[cfg(feature = "serde")]
proptest! {
    #[test]
    fn in_settings_a_request_is_what_it_is_as_text(
        texts in prop::collection::vec(near::text(&WRITTEN), 0..3),
        number: i64,
        json in near::text(&[r#"["8000-8100",9000]"#, "8000", r#""any""#, "[[1]]"]),
    ) {
        let read = |json: serde_json::Value| serde_json::from_value::<PortRequest>(json).ok();
        prop_assert_eq!(read(number.into()), number.to_string().parse().ok());
        prop_assert_eq!(read(texts.clone().into()), texts.join(",").parse().ok());
        let _ = serde_json::from_str::<PortRequest>(&json);
    }
}
